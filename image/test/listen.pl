# A service that says where it is: perl listen.pl ADDRESS PORT
use strict;
use warnings;
use IO::Socket::INET;

my $server = IO::Socket::INET->new(
    LocalAddr => $ARGV[0], LocalPort => $ARGV[1], Listen => 8, ReuseAddr => 1,
) or die "$@\n";
while (my $client = $server->accept) {
    print $client "here\n";
    close $client;
}
