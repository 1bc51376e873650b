# The shim reaches bastion by TCP, so that SSH_CONNECTION has addresses.
s/"\$SSH_CONNECTION" != "UNKNOWN 65535 UNKNOWN 65535"/"`echo $SSH_CONNECTION | tr -d "0-9 "`" != "......"/
# There are no styles of authentication (login.conf(5)) to choose from.
s/\$\{USER\}:style@/${USER}@/
