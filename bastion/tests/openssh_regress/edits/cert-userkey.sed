# All kinds of user keys that bastion takes, not only those that it has for itself.
s/\$SSH -Q key-plain \|/\/usr\/bin\/ssh -Q key-plain | grep -v dss |/
# No SHA-1.
s/;s\/\^rsa\/ssh-rsa\//;s\/^rsa\/rsa-sha2-512\//
# A certificate logs in under the names in it: there is no second list of names to map them.
/^# Test explicitly-specified principals/,/^basic_tests\(\)/{
    /^basic_tests\(\)/!d
}
/^test_one "AuthorizedPrincipalsFile/,/^    TrustedUserCAKeys/d
/^# principals= key option/,/^# command= options/d
# A certificate without principals is refused, whoever signed it.
s/^(test_one "empty principals"\t)success/\1failure/
# What a key's line in authorized_keys forces is no part of a certificate.
/^test_one "force-command mismatch 2"/,/command="false"/d
