#!/usr/bin/perl
# latency.pl - how long an event takes from its commit to whoever consumes it, and what a relay costs that has nothing to do.
#
#   PAWL_BUILD_DIR=BUILD perl -It/lib bench/latency.pl
#
# The clock starts when the writer has the answer to its commit and stops when a consumer on the other side of the broker has the message: a
# little more than commit to confirm. Environment: LATENCY_SECONDS of load (20), LATENCY_SILENCES (10), LATENCY_RATE (200).
use strict;
use warnings;
use List::Util qw(max);
use Pawl::Outbox;
use Pawl::Test;
use POSIX ();
use Time::HiRes qw(time);

my ($seconds, $silences, $rate) = ($ENV{LATENCY_SECONDS} || 20, $ENV{LATENCY_SILENCES} || 10, $ENV{LATENCY_RATE} || 200);
my $o = Pawl::Outbox->new;
my $relay = $o->relay;
my $writer = $o->db->session;
my $consumer = $o->vhost->connect;
$consumer->consume('all', 1000, 1);
$relay->wait_log(qr/leading: /);
my $n = 0;

sub emit { $writer->query("insert into pawl.outbox (aggregatetype, aggregateid, type, payload) values ('order', 'a' || $n % 100, 'T', jsonb_build_object('n', " . ++$n . '))'); return time }
sub percentile { my ($p, @sorted) = @_; return $sorted[ POSIX::ceil($p / 100 * @sorted) - 1 ] }

sub tell_of
{
	my ($what, @ms) = @_;
	@ms = sort { $a <=> $b } @ms;
	printf "%-44s p50 %6.1f ms  p99 %6.1f ms  max %6.1f ms  (%d events)\n", $what, percentile(50, @ms), percentile(99, @ms), $ms[-1], scalar @ms;
	return;
}

# Waits until then, or for a message that comes earlier: its n and when it came.
sub next_until
{
	my ($until) = @_;
	my $left = $until - time;
	my $message = $consumer->next_delivery($left > 0 ? $left : 0) or return;
	return ($message->{body} =~ /"n": ?(\d+)/, time);
}

my (%sent, @took);
my $begun = time;
for my $i (0 .. $rate * $seconds - 1) {
	my $due = $begun + $i / $rate;
	while (time < $due) {
		my ($number, $at) = next_until($due) or last;
		push @took, ($at - delete $sent{$number}) * 1000;
	}
	my $at = emit();
	$sent{$n} = $at;
}
while (%sent) {
	my ($number, $at) = next_until(time + 10) or die "an event did not arrive\n";
	push @took, ($at - delete $sent{$number}) * 1000;
}
tell_of("$rate events a second", @took);

@took = ();
for (1 .. $silences) {
	my $until = time + 2;
	next_until($until) while time < $until;
	my $at = emit();
	my (undef, $came) = next_until(time + 10) or die "an event did not arrive\n";
	push @took, ($came - $at) * 1000;
}
tell_of('the first event after 2 s of silence', @took);

my $until = time + 1;
next_until($until) while time < $until;
my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());
my $used = sub { open(my $f, '<', "/proc/$_[0]/stat") or die; my @f = split(' ', (readline($f) =~ /\) (.*)/)[0]); return ($f[11] + $f[12]) / $ticks };
my $queries = sub { $writer->query('select pg_stat_clear_snapshot()'); return $writer->value("select xact_commit from pg_stat_database where datname = current_database()") };
my $mine = 2;	# transactions of the question itself
my ($cpu, $before, $from) = ($used->($relay->pid), $queries->(), time);
$until = time + 10;
next_until($until) while time < $until;
my ($after, $spent, $over) = ($queries->(), $used->($relay->pid) - $cpu, time - $from);
printf "%-44s %.1f queries/s, %.2f %% of a core\n", 'nothing to do', ($after - $before - $mine) / $over, 100 * $spent / $over;
$relay->stop;
done_testing;
