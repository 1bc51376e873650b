# shellcheck shell=bash
# The keys that compose.yaml's bastion-keygen made: in a folder of somebody's, as root.

keys_owner() {
    local project=$WORK/project data=$WORK/project/openclaw-data key
    for key in pomerium_user_ca_key sandbox_ca_key ssh_host_{ed25519,rsa,ecdsa}_key; do
        says "^$(stat -c '%u %g' "$project") 600$" stat -c '%u %g %a' "$project/$key"
        says "^$(stat -c '%u %g' "$project") 644$" stat -c '%u %g %a' "$project/$key.pub"
    done
    says "^$(stat -c '%u' "$project")$" stat -c '%u' "$data"
    # Whom bastion trusts is root's once the stack has run.
    says '^0 644$' stat -c '%u %a' "$data/pomerium-ssh/pomerium_user_ca_key.pub"
    says '^0 644$' stat -c '%u %a' "$data/sandbox/ca/sandbox_ca_key.pub"
    # The containers have taken over what is theirs; what is lost of it comes back as theirs.
    rm "$data/sandbox/client/known_hosts"
    says '^made .*/known_hosts$' compose run --rm bastion-keygen
    says '^1001 644$' stat -c '%u %a' "$data/sandbox/client/known_hosts"
    not grep -c . <(compose run --rm bastion-keygen 2>/dev/null | grep '^made ')
    says '^-----BEGIN OPENSSH PRIVATE KEY-----' compose run --rm bastion-keygen bastion-keygen show
    says '^sandbox$' sandbox_ssh sandbox@sandbox id -un
}
