#!/usr/bin/perl
# A runner alone (pawl-worker --queue), with slots that do what each message says (t/lib/fake-slot): what becomes of a message after each
# answer, and after each way in which a slot can die or lie.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::FakeSlot;

my $vhost = new_vhost();
my $fake = Pawl::FakeSlot->new;
my $text = $fake->config($vhost, queue => 'slots = 1;  batch = 200;  timeout = "400ms";  max_body = "1KiB";');
$text =~ s<//(\w+):\w+\@><"//$1:\${BROKER_SECRET}\@">e or die "no password in the URI\n";
my $config = write_file('pawl.conf', $text);
my $worker = start_program({ env => { $fake->env, BROKER_SECRET => rabbit()->{password}, OTHER => 'seen' } }, 'pawl-worker', '-c', $config, '--queue', 'work');
$worker->allow_log(qr/becomes a dead letter/, qr/slot 0 is killed: /, qr/slot 0 \(pid \d+\) (was killed by|exited with)/);
wait_consumer($vhost, 'work');

my $serial = 0;
sub send_some { my (@bodies) = @_; my @ids; for my $body (@bodies) { push @ids, 'm' . ++$serial; $vhost->amqp->publish(routing_key => 'work', type => 'Some', message_id => $ids[-1], body => $body) } $vhost->amqp->confirm; return wantarray ? @ids : $ids[0] }
sub next_dead { my ($what) = @_; my $letter; wait_for { $letter = $vhost->get('work.dead') } $what; return $letter }
sub wait_handled { my ($id, $times, $what, $seconds) = @_; wait_for { $fake->handled($id) >= $times } $what, $seconds; return }

# Slots get the environment, but not what names the broker's password.
my $slot;
wait_for { ($slot) = $worker->slots } 'there is a slot';
my %env = map { split(/=/, $_, 2) } split(/\0/, read_file("/proc/$slot->{pid}/environ"));
is($env{OTHER}, 'seen', 'a slot has the environment');
is($env{BROKER_SECRET}, undef, 'but not the variable of the broker URI');

# Answers.
send_some('done', 'duplicate', 'done');
my $id = send_some('reject it says nothing new');
my $letter = next_dead('what a handler rejects is a dead letter');
is($letter->{message_id}, $id, 'that message');
is($letter->{body}, 'reject it says nothing new', 'with its body');
is($letter->{type}, 'Some', 'and its properties');
my %h = %{ $letter->{headers} };
is($h{'x-pawl-reason'}, 'no_good', 'header: reason');
is($h{'x-pawl-text'}, 'it says nothing new', 'header: text');
is($h{'x-pawl-queue'}, 'work', 'header: queue');
is($h{'x-pawl-handler'}, 'some 1.0', 'header: handler and its version');
ok(length $h{'x-pawl-host'}, 'header: host');
is($h{'x-pawl-exchange'}, '', 'header: where it was published');
is($h{'x-pawl-routing-key'}, 'work', 'header: and with which key');
cmp_ok(abs($h{'x-pawl-last'} - time() * 1000), '<', 60_000, 'header: when, in Unix milliseconds');
cmp_ok($h{'x-pawl-first'}, '<=', $h{'x-pawl-last'}, 'header: and when first');

send_some('retry');
is(next_dead('there are no retries yet: a dead letter at once')->{headers}{'x-pawl-reason'}, 'retry', 'with its verdict for a reason, if it gave none');
send_some('long');
$letter = next_dead('a reason that is too long');
is(length $letter->{headers}{'x-pawl-reason'}, 64, 'is cut, the code');
is(length $letter->{headers}{'x-pawl-text'}, 4096, 'and the text');
like($letter->{headers}{'x-pawl-text'}, qr/^(\xc3\xa4)*$/, 'between characters');

# Before a slot.
$vhost->publish(routing_key => 'work', type => 'Nobody', message_id => 'u1', body => 'x');
$letter = next_dead('a type without a handler');
is($letter->{headers}{'x-pawl-reason'}, 'unknown_type', 'is a dead letter');
like($letter->{headers}{'x-pawl-text'}, qr/type = "Nobody"/, 'with the cure in its text');
ok(!exists $letter->{headers}{'x-pawl-handler'}, 'and no handler in its headers');
$vhost->publish(routing_key => 'work', message_id => 'u2', body => 'x');
$letter = next_dead('no type at all');
like($letter->{headers}{'x-pawl-text'}, qr/without a type property: set it/, 'says so');
$vhost->publish(routing_key => 'work', type => 'Some', message_id => 'u3', body => 'x' x 1025);
$letter = next_dead('a body over max_body');
is($letter->{headers}{'x-pawl-reason'}, 'too_large', 'is a dead letter');
is(length $letter->{body}, 1025, 'with all of its body');
$vhost->publish(routing_key => 'work', type => 'Ignored', message_id => 'u4', body => 'x');
is(scalar(grep { $_->{id} =~ /^u/ } $fake->handled), 0, 'no slot got any of these');
$vhost->publish(routing_key => 'work', type => 'Some', message_id => 'u5', body => 'reject', headers => { 'x-pawl-reason' => 'forged', 'x-pawl-attempt' => 7, mine => 1 });
$letter = next_dead('a message with headers of ours');
is($letter->{headers}{'x-pawl-reason'}, 'no_good', 'gets the true ones');
is($letter->{headers}{'x-pawl-attempt'}, 1, 'all of them');
is($letter->{headers}{mine}, 1, 'and keeps its own');

# Again.
my $snoozed = send_some('snooze 150 2');
my $unapplied = send_some('unapplied 3');
my $maybe = send_some('maybe');
my @ids = send_some('done', 'done', 'unapplied 1', 'done', 'done');
wait_handled($snoozed, 3, 'a snoozed message is handed out again, and again');
wait_handled($unapplied, 4, 'what could not be applied goes out again until it can');
wait_handled($maybe, 2, 'a commit of unknown end is tried again');
wait_handled($ids[2], 2, 'one of a batch comes back');
wait_handled($ids[4], 1, 'those behind it are done');
like($worker->log, qr/becomes a dead letter in .*: $_: /, "the log has a line about the reason $_, however many letters there were before") for qw(no_good unknown_type too_large);
$worker->stop;
is($vhost->count('work'), 0, 'all is acked');
is(scalar(my @times = $fake->handled($snoozed)), 3, 'the snoozed one was done at the third time');
is(scalar(@times = $fake->handled($unapplied)), 4, 'the unapplied one at the fourth');
is($vhost->count('work.dead'), 0, 'nobody was charged for this');

# The breaker: statements that do not fit the database are no message's fault.
$worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', write_file('breaker.conf', $fake->config($vhost, queue => 'slots = 1;')), '--queue', 'work');
$worker->allow_log(qr/becomes a dead letter/, qr/20 messages in a row failed because statements do not fit the database/, qr/21 messages in a row failed/);
wait_consumer($vhost, 'work');
send_some(('code sql_42P01') x 19, 'done', ('code sql_42P01') x 19);
wait_for { $vhost->count('work.dead') == 38 } 'one less than 20 in a row are dead letters, twice';
send_some('reject', 'done');
wait_for { $vhost->count('work.dead') == 39 } 'another code is counted as another';
@ids = send_some(('code sql_42P01') x 30);
wait_for { ($vhost->count('work'))[1] == 0 } 'after 20 in a row nothing is consumed';
wait_for { $vhost->count('work') == 10 } 'what was not tried, or was in the same batch, is in the queue';
is($vhost->count('work.dead'), 59, 'the 20 are dead letters');
like($worker->log, qr/20 messages in a row .* the last one: sql_42P01: because: after 30 s one message is tried/, 'the log says why');
$vhost->get('work') for 1 .. 9;
$id = send_some('done');
is(scalar $fake->handled($id), 0, 'good ones wait as well');
wait_for { $vhost->count('work.dead') == 60 } 'after a while one message is tried', 45;
wait_for { ($vhost->count('work'))[1] == 0 } 'it fails, and nothing is consumed';
is($vhost->count('work'), 1, 'the next was not tried');
like($worker->log, qr/21 messages in a row .* after 60 s/, 'the pause grows');
wait_handled($id, 1, 'the next that is tried is done', 75);
@ids = send_some(('done') x 5);
wait_handled($ids[4], 1, 'and all others are');
like($worker->log, qr/statements fit the database again/, 'the log says that it is over');
$worker->stop;
is($vhost->count('work'), 0, 'all are done');
done_testing;
