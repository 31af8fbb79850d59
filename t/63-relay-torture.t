#!/usr/bin/perl
# Two relays, killed and stopped at random in the middle of it (bench/relay-torture.pl is the long version).
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::RelayTorture;

seed();
my $result = Pawl::RelayTorture::run(events => 6000, aggregates => 100, acts => 4, note => sub { note($_[0]) });
is($result->{acts}, 4, 'four times one of two relays is killed or stopped');
ok($result->{emptied}, 'all is published');
is_deeply($result->{lost}, [], 'nothing is lost');
is_deeply($result->{disordered}, [], 'the first sight of each aggregate is in order');
cmp_ok($result->{longest_s}, '<', 3 * ($ENV{PAWL_TEST_SLOW} || 1), 'the next one takes over in less than 3 s');
note("$result->{duplicates} duplicates");
done_testing;
