# shellcheck shell=bash disable=SC2034,SC2119,SC2120 # its variables are for those that source it
# How the checks get in: as users do, past the stand-in, and with certificates of their own.

door_prepare() {
    ssh-keygen -q -t ed25519 -N '' -f "$WORK/user" -C 'a user'
    GATEWAY=$(address_in "${PROJECT}_main" openclaw-gateway)
    DOOR_OPTIONS=()
}

# door COMMAND…: as users do, through the stand-in.
door() {
    "${ENGINE_NET[@]}" timeout 180 ssh -F none -o IdentitiesOnly=yes -i "$WORK/user" \
        -o UserKnownHostsFile="$WORK/known_hosts" -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR \
        "${DOOR_OPTIONS[@]}" -p 2200 "${LOGIN:-claw}@openclaw@127.0.0.1" "$@"
}

# door_with OPTION…: the same with options of ssh, and without a command.
door_with() {
    DOOR_OPTIONS+=("$@")
    door
}

# straight KEY COMMAND…: past the stand-in, with a certificate beside KEY, or none.
straight() {
    local key=$1
    shift
    "${ENGINE_NET[@]}" timeout 60 ssh -F none -o IdentitiesOnly=yes -o BatchMode=yes -i "$key" \
        -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no "${LOGIN:-claw}@$GATEWAY" "$@"
}

# certified NAME ARGUMENTS…: a fresh key in $WORK/NAME with a certificate; prints its path.
certified() {
    local name=$1
    shift
    "$WORK/bastion-keygen" issue --out "$WORK/$name" --key-id "$name" "$@" >/dev/null
    echo "$WORK/$name"
}

# Arguments of `certified`, for what Pomerium itself would sign.
CA_KEYS=()
pomerium_ca() {
    CA_KEYS=(--ca "$WORK/project/pomerium_user_ca_key")
}

# The newest line of bastion's log that has this event and this text.
logged() {
    compose logs --no-color --no-log-prefix openclaw-gateway |
        jq -Rc --arg event "$1" --arg text "$2" 'fromjson? | objects
            | select(.event == $event) | select(tojson | contains($text))' | tail -n 1
}
