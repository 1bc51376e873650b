# shellcheck shell=bash
# Who is refused, and why.

refuse_root() {
    LOGIN=root refuses 'no account for the login name "root"' door id
    says '"verdict":"refused".*"code":"unknown_login"' logged login '"login":"root"'
}

refuse_plain_key() {
    refuses 'Permission denied' straight "$WORK/user" id
}

refuse_expired() {
    pomerium_ca
    local key
    key=$(certified expired "${CA_KEYS[@]}" --principal claw --validity 20200101Z:20200102Z)
    refuses 'expired|valid' straight "$key" id
    logged login '"key_id":"expired"' | jq -e '.verdict == "refused" and .reason.code == "expired"' >/dev/null
    logged login '"key_id":"expired"' | jq -r .reason.detail
}

refuse_sandbox_ca() {
    local key
    key=$(certified other --ca "$WORK/project/sandbox_ca_key" --principal claw)
    refuses 'Permission denied' straight "$key" id
    # Whose authority is not trusted is not even asked for a signature: there is no login to speak of.
    [[ -z $(logged login '"key_id":"other"') ]]
}

refuse_principal() {
    pomerium_ca
    local key
    key=$(certified dobby "${CA_KEYS[@]}" --principal dobby)
    refuses 'dobby|principal|claw' straight "$key" id
    logged login '"key_id":"dobby"' | jq -r .reason.detail
    key=$(certified good "${CA_KEYS[@]}" --principal claw)
    says '^claw$' straight "$key" id -un
}
