#!/usr/bin/perl
# Runs the C units of the build tree (t/unit/*) and tells each of their tests as one of its own.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my $dir = Pawl::Program::build_dir() . '/t/unit';
my @units = grep { -f && -x && !m{\.[^/]*$} } glob("$dir/*");
ok(@units > 0, 'there are units') or diag("nothing in $dir: make check builds them");
for my $unit (@units) {
	my ($name) = $unit =~ m{([^/]+)$};
	my $run = run_program({ seconds => 120 }, $unit);
	my ($planned, $told) = (undef, 0);
	for my $line (split(/\n/, $run->{out})) {
		if ($line =~ /^(not )?ok\b(?: \d+)?(?: -)? ?(.*)/) {
			$told++;
			ok(!$1, "$name: $2");
		} elsif ($line =~ /^1\.\.(\d+)/) {
			$planned = $1;
		} elsif ($line =~ /^#/) {
			diag($line);
		}
	}
	is($told, $planned // 'a plan', "$name: all planned tests ran");
	is($run->{status}, 0, "$name: exit status") or diag($run->{err});
}
done_testing;
