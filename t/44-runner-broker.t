#!/usr/bin/perl
# A runner and what brokers do to it: lost connections, deleted queues, a restart, an alarm, messages that came back too often or waited
# too long. Slots are t/lib/fake-slot.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::FakeSlot;
use Time::HiRes qw(time);

my $broker = own_rabbit();
my $vhost = $broker->create_vhost('runner');
my $fake = Pawl::FakeSlot->new;
my $serial = 0;

sub configure { my ($name, $settings, $queue) = @_; return write_file("$name.conf", $fake->config($vhost, queues => $fake->queue($queue // 'work', $settings))) }

sub start
{
	my ($config, $queue) = @_;
	my $worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--queue', $queue // 'work');
	$worker->allow_log(qr/becomes a dead letter/);
	return $worker;
}

sub send_to
{
	my ($queue, @bodies) = @_;
	my @ids = map { 'm' . ++$serial } @bodies;
	my $at = 0;
	$vhost->amqp->publish(routing_key => $queue, type => 'Some', message_id => $ids[$at++], body => $_) for @bodies;
	$vhost->amqp->confirm;
	return wantarray ? @ids : $ids[0];
}

sub all_handled { my (@ids) = @_; my %seen = map { $_->{id} => 1 } $fake->handled; return @ids == grep { $seen{$_} } @ids }
sub connections_of { my ($name) = @_; return grep { ($_->{client_properties}{connection_name} // '') =~ /^pawl-worker .*\/\Q$name\E$/ } $vhost->connections }

# One that takes 20 s is begun now: a message waits behind one that takes longer than a third of consumer_timeout.
my $patient = start(configure('patient', 'slots = 1;  batch = 1;  prefetch = 10;  consumer_timeout = "1m";  timeout = "50s";  shutdown_timeout = "1s";', 'late'), 'late');
$patient->allow_log(qr/gave 1 messages back that had waited for 20 s/, qr/were not finished within 1 s/);
wait_consumer($vhost, 'late');
my $slow = send_to('late', 'sleep 40000');
wait_for { scalar $fake->handled($slow) } 'a slot is busy';
my @waiting = send_to('late', 'done', 'done');	# the first is sent ahead, the second waits in the runner
my $waiting_since = time();

# In the management console.
my $config = configure('pawl', 'slots = 2;  batch = 5;  prefetch = 20;');
my $worker = start($config);
$worker->allow_log(qr/level=warning .*(closed|lost|cancelled|connection|refused|reset)/i);
wait_consumer($vhost, 'work');
my ($connection) = wait_for { (connections_of('work'))[0] } 'the connection has its name in the management console';
is($connection->{client_properties}{product}, 'Pawl', 'and its product');
like($connection->{client_properties}{version}, qr/^\d+\.\d/, 'and its version');

# A lost connection: reconnects, goes on, loses nothing.
my @ids = send_to('work', ('sleep 10') x 100);
wait_for { $fake->handled >= 20 } 'in the middle of work';
my $lost_at = time();
$vhost->close_connection($_) for connections_of('work');
$worker->wait_log(qr/connecting, was consuming/);
$worker->wait_log(qr/consuming, was connecting/);
cmp_ok(time() - $lost_at, '<', 10, 'a closed connection is made again soon');
wait_for { all_handled(@ids) } 'all messages are handled nevertheless';

# The queue is deleted: declared again.
wait_for { $vhost->count('work') == 0 } 'the queue is empty';
$vhost->amqp->delete_queue('work');
wait_for { $vhost->exists('work') && ($vhost->count('work'))[1] } 'a deleted queue is declared and consumed again';
@ids = send_to('work', 'done');
wait_for { all_handled(@ids) } 'and worked on';

# There is no queue for dead letters: kept, complained of, tried again.
$worker->allow_log(qr/does not take dead letters: 312/);
$vhost->amqp->delete_queue('work.dead');
@ids = send_to('work', 'reject');
$worker->wait_log(qr/does not take dead letters: 312 NO_ROUTE.*declare that queue/);
is((($vhost->count('work'))[0]), 0, 'a dead letter that nobody takes is kept by the runner');
$vhost->api('PUT', 'queues', 'work.dead', { durable => JSON::PP::true(), arguments => {
	'x-queue-type' => 'quorum', 'x-delivery-limit' => 1000000 } });
my $letter;
wait_for { $letter = $vhost->get('work.dead') } 'and arrives when there is a queue';
is($letter->{message_id}, $ids[0], 'that one');
$worker->wait_log(qr/takes dead letters again/);

# A queue that is another one already: what it should be is said in full, to compare.
$vhost->amqp->declare_queue('alike', arguments => { 'x-queue-type' => 'classic' });
my $other = start(configure('other', 'slots = 1;', 'alike'), 'alike');
$other->allow_log(qr/could not declare queue/);
like($other->wait_log(qr/(could not declare queue .*)/), qr/queue \\"alike\\".*inequivalent arg.*declare it alike \(durable, x-queue-type=quorum, x-delivery-limit=1000000,/,
	'of a queue that cannot be declared it is said what it should be');
like($other->log, qr/, x-dead-letter-exchange=\\"\\", x-dead-letter-routing-key=alike\.dead, x-dead-letter-strategy=at-least-once, x-overflow=reject-publish\)"/, 'to the last argument');
$other->stop;

# Came back 21 times: alone; 1001 times: dead letter.
$worker->stop;
@ids = send_to('work', 'done', 'done', 'done');
my $returns = 0;
sub bounce
{
	my ($id, $times) = @_;
	my $amqp = $vhost->connect;
	for (1 .. $times) {
		my @all;
		while (my $m = $amqp->get('work', ack => 0)) {
			push @all, $m;
			last if $m->{message_id} eq $id;
		}
		$amqp->requeue(@all);
	}
	$amqp->close;
	return;
}
bounce($ids[0], 22);
$fake->forget;
$worker = start($config);
wait_for { all_handled(@ids) } 'a message that came back 21 times is handled';
my ($first) = $fake->handled($ids[0]);
is($first->{flags} & 1, 1, 'alone');
is(scalar(grep { $_->{batch} == $first->{batch} } $fake->handled), 1, 'quite alone');
$worker->stop;
@ids = send_to('work', 'done');
bounce($ids[0], 1002);
$worker = start($config);
wait_for { $letter = $vhost->get('work.dead') } 'one that came back 1001 times is a dead letter';
is($letter->{headers}{'x-pawl-reason'}, 'redelivered', 'for this reason');
is(scalar $fake->handled($ids[0]), 0, 'no slot got it');

# An alarm at the broker stops dead letters, not the acks.
@ids = send_to('work', 'reject');
wait_for { $letter = $vhost->get('work.dead') } 'there is a connection for dead letters';
$worker->allow_log(qr/the broker has an alarm/);
my @good = send_to('work', ('done') x 50, 'reject', ('done') x 50);
wait_for { $vhost->count('work.dead') } 'so far all is well';
$vhost->get('work.dead');
@good = send_to('work', ('sleep 20') x 40, 'reject', ('done') x 100);
$broker->ctl('set_vm_memory_high_watermark', 'absolute', '1MB');
wait_for { all_handled(@good) } 'with an alarm messages are handled';
wait_for { $vhost->count('work') == 0 } 'and delivered, beyond the prefetch: so they are acked';
$broker->ctl('set_vm_memory_high_watermark', 'absolute', '1GB');
wait_for { $letter = $vhost->get('work.dead') } 'after the alarm the dead letter goes out';
$worker->stop;

# Waited too long in the runner: given back before the broker takes the channel away.
$patient->wait_log(qr/gave 1 messages back/, 40);
cmp_ok(time() - $waiting_since, '>', 15, 'what waits for a third of consumer_timeout is given back');
$patient->stop(10);
is($vhost->count('late'), 3, 'nothing is lost');

# The broker restarts.
$worker = start($config);
$worker->allow_log(qr/level=(warning|error) /);
wait_consumer($vhost, 'work');
@ids = send_to('work', ('sleep 20') x 40);
wait_for { all_handled($ids[5]) } 'in the middle of work';
$broker->stop;
$worker->wait_log(qr/connecting, was consuming/);
$broker->up;
wait_for { all_handled(@ids) } 'after a restart of the broker all are handled', 60;
$worker->stop;
$vhost->{amqp} = undef;
is($vhost->count('work'), 0, 'nothing is left');
done_testing;
