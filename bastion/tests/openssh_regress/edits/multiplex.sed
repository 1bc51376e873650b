# sshd tells a stranger what is wrong with the identification string; bastion sends its own and hangs up.
s/"Invalid SSH identification string"/"SSH-2.0-bastion"/
