# Only certificates log in: those of the kind that is tested.
s/echo PubkeyAcceptedAlgorithms \$user_type/echo PubkeyAcceptedAlgorithms `echo $user_type | sed 's\/,\/-cert-v01@openssh.com,\/g'`-cert-v01@openssh.com/
