#!/usr/bin/perl
# Slots that lie: frames that are none, answers that were not asked for, desks full of nonsense. The slot ends, the runner never; a message
# that makes it happen alone, twice, is charged. Slots are t/lib/fake-slot.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::FakeSlot;

# What the message's body makes its slot do => what the log says of it.
my %lie = (
	'garbage' => qr/it sent what is no frame/,
	'huge' => qr/it sent what is no frame/,
	'type 99' => qr/it sent a frame of type 99/,
	'type 2' => qr/it sent a frame of type 2/,
	'type 4' => qr/its answer to SETUP is malformed/,
	'short' => qr/its answer is malformed/,
	'other' => qr/it answered what it was not asked/,
	'count' => qr/it answered what it was not asked/,
	'many' => qr/its answer is malformed/,
	'outcome' => qr/its answer is malformed/,
	'offset' => qr/its answer is malformed/,
	'no-end' => qr/its answer is malformed/,
	'fewer' => qr/it is ready with 0 handlers of 2/,
	'deaf' => qr/it closed its socket and lives on/,
	'desk' => qr/killed by SIGKILL/,
);
my $vhost = new_vhost();
my $fake = Pawl::FakeSlot->new;
my $config = write_file('pawl.conf', $fake->config($vhost, queue => 'slots = 1;'));
my $serial = 0;

sub send_one
{
	my ($body) = @_;
	my $id = 'm' . ++$serial;
	$vhost->publish(routing_key => 'work', type => 'Some', message_id => $id, body => $body);
	return $id;
}

# A runner for each, so that no pause after the deaths of one delays the next.
for my $body (sort keys %lie) {
	my $worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--queue', 'work');
	$worker->allow_log(qr/becomes a dead letter/, qr/slot 0 is killed: /, qr/slot 0 \(pid \d+\) was killed by/);
	wait_consumer($vhost, 'work') if $serial == 0;
	my ($before, $id, $after) = map { send_one($_) } 'done', $body, 'done';
	my $letter;
	wait_for { $letter = $vhost->get('work.dead') } "$body: a dead letter";
	my $last = send_one('done');
	wait_for { scalar $fake->handled($last) } "$body: the next messages are handled";
	is($letter->{message_id}, $id, "$body: of that message");
	is($letter->{headers}{'x-pawl-reason'}, 'crashed', "$body: its reason");
	like($worker->log, $lie{$body}, "$body: the log says what was wrong");
	$worker->stop;
	is($vhost->count('work'), 0, "$body: the others are done");
}

# An answer that comes twice counts once; a desk cannot be shrunk under the runner's eyes.
my $worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--queue', 'work');
$worker->allow_log(qr/slot 0 is killed: /);
send_one('twice');
my $last = send_one('done');
wait_for { scalar $fake->handled($last) } 'after an answer that came twice the next message is handled';
send_one('shrink');
$last = send_one('done');
wait_for { scalar $fake->handled($last) } 'after a slot that shrank its desk, too';
$worker->stop;
is($vhost->count('work') + $vhost->count('work.dead'), 0, 'all are done');

# A handler that began in the future, or before anything did, gets no more time than others.
$config = write_file('short.conf', $fake->config($vhost, queue => 'slots = 1;  timeout = "500ms";'));
for my $since ('9223372036854775807', '-9223372036854775808', '0') {
	$worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--queue', 'work');
	$worker->allow_log(qr/becomes a dead letter/, qr/slot 0 is killed: /);
	my $id = send_one("since $since");
	my $letter;
	wait_for { $letter = $vhost->get('work.dead') } "a handler since $since is killed";
	is($letter->{message_id}, $id, 'the message becomes a dead letter');
	is($letter->{headers}{'x-pawl-reason'}, 'timeout', 'its reason');
	is(scalar $fake->handled($id), 2, 'after two tries');
	$worker->stop;
}
done_testing;
