#!/usr/bin/perl
# relay-torture.pl - two relays are killed and stopped 20 times while 100,000 events of 500 aggregates are written.
#
#   PAWL_BUILD_DIR=BUILD perl -It/lib bench/relay-torture.pl
#
# Environment: TORTURE_EVENTS, TORTURE_AGGREGATES, TORTURE_ACTS, PAWL_TEST_SEED. Exit status 1 if anything is lost or out of order, or
# when no relay takes over in less than 3 s.
use Pawl::Test;
use Pawl::RelayTorture;

seed();
my $result = Pawl::RelayTorture::run(events => $ENV{TORTURE_EVENTS} || 100_000, aggregates => $ENV{TORTURE_AGGREGATES} || 500,
	acts => $ENV{TORTURE_ACTS} || 20, note => sub { note($_[0]) });
is_deeply($result->{lost}, [], "$result->{written} events, $result->{acts} kills and stops: nothing is lost");
is_deeply($result->{disordered}, [], 'the first sight of each aggregate is in order');
cmp_ok($result->{longest_s}, '<', 3 * ($ENV{PAWL_TEST_SLOW} || 1), sprintf('the next one takes over in less than 3 s: %.2f s at most', $result->{longest_s}));
note("$result->{duplicates} duplicates, dropped by whoever consumes with keys");
done_testing;
