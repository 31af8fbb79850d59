# Two relays for one outbox that are killed and stopped at random while events are written: is anything lost, and is the first sight of
# each aggregate's events in order?
#
#   my $result = Pawl::RelayTorture::run(events => N, aggregates => N, acts => N, note => sub { ... });
#       lost (list of n), disordered (list of aggregates), duplicates, longest_s (from an act until an event that was written after it is out), acts
#
# Half of the acts kill the leader, a quarter stop it for longer than its lease and let it go on, a quarter do that to the one that
# stands by. Who was killed is started again.
package Pawl::RelayTorture;
use strict;
use warnings;
use Pawl::Outbox;
use Pawl::Process;
use Pawl::Test ();
use Time::HiRes ();

my @expected = (qr/lost the database session/, qr/could not get a database session/, qr/takes no answers: its session was ended/, qr/late/);

sub one { my ($o, $serial) = @_; return $o->relay({ name => 'relay-' . ++$$serial })->allow_log(@expected) }

# The last of these that a relay said is what it is.
sub leads { my ($relay) = @_; my ($last) = $relay->log =~ /.*(?:msg="?|: )(leading: |standing by: |no longer leading)/s; return ($last // '') eq 'leading: ' }

sub write_events
{
	my ($db, $from, $count, $aggregates) = @_;
	$db->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload)"
	    . " select 'order', 'a' || i % $aggregates, 'T', jsonb_build_object('n', i, 'a', 'a' || i % $aggregates, 'x', repeat('x', 300))"
	    . " from generate_series($from, $from + $count - 1) i");
	return;
}

sub run
{
	my (%option) = @_;
	my $say = $option{note} // sub { };
	my $slow = Pawl::Process::slow_factor();
	my $o = Pawl::Outbox->new(outbox => 'window = 200;', %{ $option{servers} // {} });
	my ($serial, $written, $longest, $per_act, $acts) = (0, 0, 0, int($option{events} / ($option{acts} + 1)), 0);
	my @relay = map { one($o, \$serial) } 1 .. 2;
	Pawl::Process::poll(sub { grep { leads($_) } @relay }, 20) or die "no relay leads\n";
	for my $act (1 .. $option{acts} + 1) {
		my $count = $act > $option{acts} ? $option{events} - $written : $per_act;
		for (my $left = $count; $left > 0; $left -= 500) {
			write_events($o->db, $written + 1, $left > 500 ? 500 : $left, $option{aggregates});
			$written += $left > 500 ? 500 : $left;
		}
		last if $act > $option{acts};
		my $mark = $o->count;	# in the middle of it
		Pawl::Process::poll(sub { $o->count > $mark || $o->left == 0 }, 20);
		my $leader = leads($relay[0]) ? 0 : 1;
		my $what = rand;
		my $victim = $relay[ $what < 0.75 ? $leader : 1 - $leader ];
		my $begun = Time::HiRes::time();
		$victim->signal($what < 0.5 ? 'KILL' : 'STOP');
		# What is written only now goes out through whoever leads then.
		my $after = $option{events} - $written < 100 ? $option{events} - $written : 100;
		write_events($o->db, $written + 1, $after, $option{aggregates});
		$written += $after;
		my $moved = Pawl::Process::poll(sub { $o->db->value("select count(*) from pawl.outbox where (payload ->> 'n')::int > $written - $after") < $after }, 30);
		my $took = Time::HiRes::time() - $begun;
		$longest = $took if $took > $longest;
		$say->(sprintf('act %d at %d events: %s %s, the next event is out after %.2f s', $act, $written, $what < 0.5 ? 'killed' : 'stopped',
			$what < 0.75 ? 'the leader' : 'the other', $moved ? $took : -1));
		if ($what < 0.5) {
			$victim->wait(10);
			$relay[ $victim == $relay[0] ? 0 : 1 ] = one($o, \$serial);
		} else {
			# Longer than its lease, so that it wakes up as a zombie.
			my $until = Time::HiRes::time() + 2 * $slow;
			Pawl::Process::poll(sub { Time::HiRes::time() > $until }, 10 * $slow);
			$victim->signal('CONT');
		}
		$acts++;
		Pawl::Process::poll(sub { grep { leads($_) } @relay }, 20) or die "no relay leads\n";
	}
	my $emptied = Pawl::Process::poll(sub { $o->left == 0 }, 120);
	$_->stop for @relay;
	my @all = $o->take;
	my ($seen) = first_seen(@all);
	my %seen = map { $_ => 1 } @$seen;
	return { written => $written, emptied => $emptied, lost => [ grep { !$seen{$_} } 1 .. $written ], disordered => [ map { s/:.*//r } order_errors(@all) ],
		duplicates => @all - @$seen, longest_s => $longest, acts => $acts };
}

1;
