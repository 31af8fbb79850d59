#!/usr/bin/perl
# Slots that die: one message is charged at most, the others of its batch are not, and nothing is lost. Slots are t/lib/fake-slot.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::FakeSlot;

my $vhost = new_vhost();
my $fake = Pawl::FakeSlot->new;
my $config = write_file('pawl.conf', $fake->config($vhost, queue => 'slots = 1;  batch = 200;  timeout = "2s";'));
my $serial = 0;
my $worker;

sub start
{
	$worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--queue', 'work');
	$worker->allow_log(qr/becomes a dead letter/, qr/slot 0 is killed: /, qr/slot 0 \(pid \d+\) (was killed by|exited with)/);
	return;
}

my $gate = tmp_dir() . '/gate';

# Published before anybody consumes: so that they come in one batch.
sub send_all
{
	my (@bodies) = @_;
	my @ids = map { 'm' . ++$serial } @bodies;
	my $at = 0;
	$vhost->amqp->publish(routing_key => 'work', type => 'Some', message_id => $ids[$at++], body => $_) for @bodies;
	$vhost->amqp->confirm;
	return @ids;
}

# Acked, all of it: nothing comes back to the queue when the worker is gone. A last message shows that those before it were answered.
sub settled
{
	my ($what) = @_;
	my ($last) = send_all('done');
	wait_for { scalar $fake->handled($last) } 'the last one is handled';
	$worker->stop;
	is($vhost->count('work'), 0, $what);
	return;
}
# The first message waits until all others are in the runner.
# A message that the slot is busy with; what comes then gathers behind it, and is a batch.
sub behind_a_gate
{
	my (@bodies) = @_;
	my ($first) = send_all("until $gate");
	start();
	wait_handled($first, 1, 'a slot is busy');
	return ($first, send_all(@bodies));
}

sub open_gate
{
	wait_for { $vhost->count('work') == 0 && $fake->handled } 'all are delivered while the first takes its time';
	write_file('gate', '');
	return;
}
sub wait_handled { my ($id, $times, $what, $seconds) = @_; wait_for { $fake->handled($id) >= $times } $what, $seconds; return }
sub flags_of { my ($id) = @_; return join(' ', map { $_->{flags} & 1 } $fake->handled($id)) }
sub mates { my ($id) = @_; my ($batch) = map { $_->{batch} } ($fake->handled($id))[-1]; return scalar grep { $_->{batch} == $batch } $fake->handled }

# A first run declares the queue.
start();
wait_consumer($vhost, 'work');
$worker->stop;

# In a handler, by a signal, in a batch of 200.
my @ids = behind_a_gate(('done') x 49, 'die SEGV', ('done') x 149);
open_gate();
wait_handled($ids[199], 1, 'the last of a batch with a killer in it is handled');
my $letter;
wait_for { $letter = $vhost->get('work.dead') } 'the killer becomes a dead letter';
settled('and all others are done');
is($letter->{message_id}, $ids[50], 'the one that the slot was handling');
is($letter->{headers}{'x-pawl-reason'}, 'crashed', 'its reason');
is($letter->{headers}{'x-pawl-crashes'}, 2, 'after two deaths');
like($letter->{headers}{'x-pawl-text'}, qr/killed by SIGSEGV.* handler "some" \(version 1\.0\)/, 'its text names signal, handler and version');
is(flags_of($ids[50]), '0 1', 'first in the batch, then alone');
is(mates($ids[50]), 1, 'quite alone');
my ($first) = $fake->handled($ids[50]);
my $before = grep { $_->{batch} == $first->{batch} } $fake->handled;
cmp_ok($before, '>=', 10, 'first with many others, that had gathered while the first took its time');
is(flags_of($ids[49]), '0 0', 'those before it were handled again, not alone');
is(flags_of($ids[199]), '0', 'those after it once, not alone');
is($vhost->count('work.dead'), 0, 'no other was charged');
$fake->forget;
unlink $gate;

# By the timeout.
start();
@ids = send_all('done', 'hang', 'done');
wait_handled($ids[2], 1, 'what follows a handler that does not return is handled');
wait_for { $letter = $vhost->get('work.dead') } 'a message whose handler does not return becomes a dead letter';
settled('and the others are done');
is($letter->{message_id}, $ids[1], 'that one');
is($letter->{headers}{'x-pawl-reason'}, 'timeout', 'its reason');
like($letter->{headers}{'x-pawl-text'}, qr/did not return within 2000 ms/, 'its text');
$fake->forget;

# In the database phase nobody is charged; all of the batch go out alone; who kills its slot alone, twice, is charged.
@ids = behind_a_gate(('done') x 100, 'database', ('done') x 99);
open_gate();
wait_handled($ids[200], 1, 'what follows a killer in the database phase is handled');
wait_for { $letter = $vhost->get('work.dead') } 'who kills its slot alone becomes a dead letter';
settled('and the others are done');
is($letter->{message_id}, $ids[101], 'that one');
is($letter->{headers}{'x-pawl-reason'}, 'crashed', 'its reason');
like($letter->{headers}{'x-pawl-text'}, qr/while this message .* was alone in it/, 'its text');
is(flags_of($ids[101]), '0 1 1', 'once among others, twice alone');
is(flags_of($ids[100]), '0 1', 'the others of its batch went out alone');
is(mates($ids[100]), 1, 'quite alone');
$fake->forget;

# A session that is lost without a word.
start();
@ids = send_all('lost');
wait_for { $letter = $vhost->get('work.dead') } 'who loses its session alone becomes a dead letter';
like($letter->{headers}{'x-pawl-text'}, qr/session ended without a word/, 'its text');
is(flags_of($ids[0]), '0 1 1', 'once in a batch, twice alone');
@ids = send_all('suspect 3');
wait_handled($ids[0], 4, 'whom the slot suspects goes out again');
is(flags_of($ids[0]), '0 1 1 1', 'alone');
settled('until it is done');
$fake->forget;

# Whom the environment fails alone, each time: as long as nothing else is done, nobody is to blame.
start();
@ids = send_all('suspect 99');
wait_handled($ids[0], 6, 'without others it is tried again and again', 60);
$worker->stop;
is($vhost->count('work'), 1, 'and kept');
is($vhost->count('work.dead'), 0, 'it was not given up');
$vhost->get('work');
$fake->forget;

# When others are done in between, it is.
start();
@ids = send_all('suspect 99');
for my $times (2 .. 6) {
	wait_handled($ids[0], $times, "among others, time $times", 60);
	my ($other) = send_all('done');
	wait_handled($other, 1, 'they are done meanwhile');
}
wait_for { $letter = $vhost->get('work.dead') } 'it becomes a dead letter';
settled('and is done with');
is($letter->{message_id}, $ids[0], 'that one');
is($letter->{headers}{'x-pawl-reason'}, 'environment', 'its reason');
like($letter->{headers}{'x-pawl-text'}, qr/^failed 5 times, alone in its transaction, while other messages were done/, 'its text');
is($letter->{headers}{'x-pawl-crashes'}, 0, 'it is not charged with a crash');
$fake->forget;

# A slot that leaves.
@ids = send_all('done', 'exit 0', 'done');
start();
wait_handled($ids[2], 1, 'what follows a handler that exits is handled');
wait_for { $letter = $vhost->get('work.dead') } 'a handler that calls exit() is a crash';
like($letter->{headers}{'x-pawl-text'}, qr/exited with 0/, 'its text');
settled('the others are done');

# More killers in a row than a growing pause between slots would leave time for.
my @killers = send_all(('die') x 8);
my @good = send_all(('done') x 3);
start();
wait_for { $vhost->count('work.dead') == 8 } 'eight killers in a row become dead letters';
wait_handled($good[2], 1, 'what follows them is handled');
settled('the others are done');
my %reason = map { $_->{message_id} => $_->{headers}{'x-pawl-reason'} } map { $vhost->get('work.dead') } @killers;
is_deeply(\%reason, { map { $_ => 'crashed' } @killers }, 'each of the killers once, charged');
is(scalar $fake->handled($_), 2, "$_ was tried twice") for @killers;
$fake->forget;

# SIGKILL from outside, while idle: nobody is charged, a new slot comes.
start();
@ids = send_all('done');
wait_handled($ids[0], 1, 'a slot works');
my ($slot) = $worker->slots;
kill('KILL', $slot->{pid});
wait_for { my ($new) = $worker->slots; $new && $new->{pid} != $slot->{pid} } 'killed, it is replaced';
@ids = send_all(('done') x 3);
wait_handled($ids[2], 1, 'by one that works');
settled('all are done');
is($vhost->count('work.dead'), 0, 'nobody was charged');
done_testing;
