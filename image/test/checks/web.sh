# shellcheck shell=bash
# The gateway behind Pomerium's web route.

# browser ADDRESS ORIGIN HEADER…: a browser's WebSocket from that address of the network.
browser() {
    local address=$1
    shift
    docker_ run --rm --init -u claw --network "${PROJECT}_main" --ip "$address" \
        -v "$WORK/browser:/browser" -v "$ROOT/image/test/browser.mjs:/browser.mjs:ro" \
        "$(image openclaw-gateway)" node /browser.mjs /browser/key "$@"
}

POMERIUM_HEADERS=(x-forwarded-for=198.51.100.7 x-forwarded-proto=https
    x-pomerium-claim-email=somebody@example.com x-pomerium-jwt-assertion=none)
WEB_ORIGIN=https://openclaw.fox-1.pomerium.app

device_pairing() {
    install -d -m 777 "$WORK/browser"
    local answer request
    answer=$(browser 172.30.0.10 "$WEB_ORIGIN" "${POMERIUM_HEADERS[@]}")
    request=$(jq -re 'select(.details.code == "PAIRING_REQUIRED").details.requestId' <<<"$answer") || {
        echo "$answer"
        return 1
    }
    says "$request" door openclaw devices list
    says . door openclaw devices approve "$request"
    answer=$(browser 172.30.0.10 "$WEB_ORIGIN" "${POMERIUM_HEADERS[@]}")
    jq -e .ok <<<"$answer" >/dev/null || {
        echo "$answer"
        return 1
    }
}

web_refusals() {
    says 'CONTROL_UI_ORIGIN_NOT_ALLOWED' \
        browser 172.30.0.10 https://elsewhere.example "${POMERIUM_HEADERS[@]}"
    says 'trusted_proxy_missing_header_x-pomerium-jwt-assertion' \
        browser 172.30.0.10 "$WEB_ORIGIN" "${POMERIUM_HEADERS[@]:0:3}"
    # Refused before there is a WebSocket.
    says '"error":"' \
        browser 172.30.0.99 "$WEB_ORIGIN" "${POMERIUM_HEADERS[@]}"
}
