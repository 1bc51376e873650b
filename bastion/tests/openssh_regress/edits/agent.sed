# Only certificates log in: those in the agents are for the user, and their CA is trusted from the start.
s/-n estragon/-n ${USER}/
s/^printf '' > (.*)/(printf 'cert-authority '; cat $OBJ\/user_ca_key.pub) > \1/
s/cert-authority,principals="estragon" /cert-authority /
s/^\tcat \$OBJ\/\$t-agent.pub >> .*/\t:/
s/-i \$OBJ\/\$t-agent.pub -oIdentitiesOnly=yes/& -oCertificateFile=$OBJ\/$t-agent-cert.pub/
