#!/usr/bin/perl
# How many messages of handlers that read (READS) go to a slot together: ever more while they are quick, fewer when they are slow, one after
# a deadlock. Slots are t/lib/fake-slot.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::FakeSlot;

my $vhost = new_vhost();
my $fake = Pawl::FakeSlot->new;
my $serial = 0;

# The sizes of the batches of messages that are all in the worker's hands before the first one is done: 200 of one kind, or as many as there
# are bodies.
sub sizes
{
	my ($settings, %env) = @_;
	my @bodies = @{ delete $env{bodies} // [ ('done') x 200 ] };
	my $config = write_file('pawl.conf', $fake->config($vhost, queue => "slots = 1;  prefetch = 1000;  $settings"));
	my $name = 'm' . ++$serial;
	if ($serial == 1) {		# declares the queue
		my $worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--queue', 'work');
		wait_consumer($vhost, 'work');
		$worker->stop;
	}
	my $gate = tmp_dir() . "/$name";
	$vhost->amqp->publish(routing_key => 'work', type => 'Some', message_id => "$name-$_", body => $_ ? $bodies[$_] : "until $gate") for 0 .. $#bodies;
	$vhost->amqp->confirm;
	my $worker = start_program({ env => { $fake->env, %env } }, 'pawl-worker', '-c', $config, '--queue', 'work');
	wait_for { $vhost->count('work') == 0 } 'all are given to it';
	write_file($name, '');
	my @handled;
	wait_for { @handled = grep { $_->{id} =~ /^$name-/ } $fake->handled; @handled == @bodies } "run $serial";
	$worker->stop;
	my %size;
	$size{ $_->{batch} }++ for @handled;
	my @sizes = map { $size{$_} } sort { $a <=> $b } keys %size;
	return @sizes;
}
sub most { my ($most) = sort { $b <=> $a } @_; return $most }
my %reads = (FAKE_KIND => 1);

my @sizes = sizes('', %reads);
is($sizes[0], 1, 'quick ones begin with one');
is(most(@sizes), 32, 'and come to 32');
is(most(sizes('batch = 5;', %reads)), 5, 'but to no more than a batch');
is(most(sizes('', %reads, FAKE_US => 30_000)), 1, 'slow ones go alone');
is(most(sizes('', %reads, FAKE_US => 6_000)), 8, 'others in between');
# Ten milliseconds each from the 200th to the 400th: 32 of them are far too long a wait for those behind them, and so are 16 and 8.
my @with = map { ($_) x $_ } sizes('', %reads, bodies => [ ('done') x 200, ('took 10000') x 200, ('took 100') x 200 ]);
is(most(@with[0 .. 199]), 32, 'quick ones come to 32');
is(most(@with[300 .. 399]), 4, 'when they get slow fewer go together');
is(most(@with[400 .. 599]), 32, 'and more again when they are quick again');
is(most(sizes('', FAKE_KIND => 2)), 1, 'those that act outside are always alone');
@sizes = sizes('', %reads, FAKE_DEADLOCKS => 1);
cmp_ok(most(@sizes), '<=', 2, 'after a deadlock they do not grow');
cmp_ok(scalar(grep { $_ > 1 } @sizes), '<=', 2, 'but go alone');
done_testing;
