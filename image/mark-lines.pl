# perl mark-lines.pl NAME: copies its input to its output, each line with "NAME: " before it.
#
# The agent decides what comes in, and what goes out shares a pipe with bastion's log. So each
# piece is written at once and is no longer than a pipe takes undivided (PIPE_BUF): were it cut in
# two by somebody else's line, its end would stand at the beginning of a line, and could pass for
# bastion's. And no control character goes through, or a terminal would show something else.
use strict;
use warnings;

my $mark = "$ARGV[0]: ";
my $longest = 4096 - length("$mark\n");
my $pending = '';

sub put {
    my ($line) = @_;
    $line =~ tr/\x00-\x08\x0a-\x1f\x7f/?/;
    $line =~ s/\xc2[\x80-\x9f]/?/g;
    syswrite(STDOUT, "$mark$line\n") // exit 1;
}

while (sysread(STDIN, $pending, 65536, length $pending)) {
    while ($pending =~ s/\A([^\n]{0,$longest})\n// or $pending =~ s/\A([^\n]{$longest})//) {
        put($1);
    }
}
put($pending) if length $pending;
