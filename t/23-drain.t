#!/usr/bin/perl
# How a runner ends: TERM in the middle of work, twice, after shutdown_timeout; --drain; and what it does while no slot can work.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::FakeSlot;

my $vhost = new_vhost();
my $fake = Pawl::FakeSlot->new;
my $config = write_file('pawl.conf', $fake->config($vhost, queue => 'slots = 2;  batch = 10;  prefetch = 100;  shutdown_timeout = "2s";'));
my $serial = 0;

sub send_all
{
	my (@bodies) = @_;
	my @ids = map { 'm' . ++$serial } @bodies;
	my $at = 0;
	$vhost->amqp->publish(routing_key => 'work', type => 'Some', message_id => $ids[$at++], body => $_) for @bodies;
	$vhost->amqp->confirm;
	return @ids;
}
sub start { return start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--queue', 'work', @_) }

# Idle.
my $worker = start();
wait_consumer($vhost, 'work');
$worker->signal('INT');
wait_for { !$worker->running } 'an idle runner ends at once';
is($worker->status, 0, 'with status 0');

# TERM: what is in the slots is finished, the rest is given back.
my @ids = send_all(('sleep 20') x 100);
$worker = start();
wait_for { $fake->handled >= 15 } 'it works';
$worker->stop;
my $handled = $fake->handled;
cmp_ok($handled, '<', 100, 'not all was done');
is($vhost->count('work'), 100 - $handled, 'what was begun is acked, the rest is given back');
$fake->forget;

# --drain: the rest, then the end.
$worker = start('--drain');
is($worker->wait(30), 0, '--drain ends with status 0');
is($vhost->count('work'), 0, 'when the queue is empty');
is(scalar $fake->handled, 100 - $handled, 'having done what was there');
$fake->forget;

# A handler that does not return: shutdown_timeout.
send_all('sleep 60000');
$worker = start();
$worker->allow_log(qr/were not finished within 2 s/);
wait_for { $fake->handled >= 1 } 'a slot is busy for a minute';
send_all('done');
wait_for { $fake->handled >= 2 } 'the other one is not';
$worker->stop(10);
is($vhost->count('work'), 1, 'after shutdown_timeout its message is given back, the other is acked');
is($vhost->count('work.dead'), 0, 'and not charged');
$fake->forget;

# Twice: at once.
$worker = start();
$worker->allow_log(qr/told to end at once/);
wait_for { $fake->handled >= 1 } 'again';
my @slots = $worker->slots;
$worker->signal('TERM');
$worker->wait_log(qr/draining/);
$worker->signal('TERM');
wait_for { !$worker->running } 'a second TERM ends it at once', 1.5;
is($worker->status, 0, 'with status 0');
wait_for { !grep { Pawl::Process::lives($_->{pid}) } @slots } 'and its slots';
$vhost->amqp->purge('work');
$fake->forget;

# The database is down: after 10 s everything goes back to the broker, and comes again when it is up.
$fake->database_down;
@ids = send_all(('done') x 150);
$worker = start();
$worker->allow_log(qr/waits for the database: the fake database is down/);
$worker->wait_log(qr/msg="consuming, was/);
$worker->wait_log(qr/msg="paused, was consuming/, 20);
wait_for { $vhost->count('work') == 150 } 'with the database down for 10 s all is given back';
is(($vhost->count('work'))[1], 0, 'and not consumed any more');
is(scalar $fake->handled, 0, 'nothing was handled');
$fake->database_up;
wait_for { $fake->handled >= 150 } 'with the database up it goes on by itself';
$worker->stop;
is($vhost->count('work') + $vhost->count('work.dead'), 0, 'all are done');
$fake->forget;

# It goes down in the middle of the work: uncharged, in order.
@ids = send_all(('sleep 2') x 1000);
$worker = start('--drain');
$worker->allow_log(qr/waits for the database: the fake database is down/);
wait_for { $fake->handled >= 20 } 'it works';
$fake->database_down;
$worker->wait_log(qr/waits for the database/);
$fake->database_up;
is($worker->wait(30), 0, 'after a short time without a database it goes on, to the end');
is($vhost->count('work') + $vhost->count('work.dead'), 0, 'all are done');
done_testing;
