#!/usr/bin/perl
# The test library itself: servers come up, answer, and go away; a program's log is watched.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use utf8;
use POSIX ();
use Time::HiRes ();

my $db = new_db();
is($db->value('select 1 + 1'), 2, 'a value comes back');
is_deeply([ $db->query(q(values (1, null, E'a\nb|c'), (2, '', 'x'))) ], [ [ 1, undef, "a\nb|c" ], [ 2, '', 'x' ] ],
	'rows keep nulls, empty texts and line feeds');
is_deeply([ $db->query('select 1 where false') ], [], 'no rows are no rows');
like($db->error('select * from nowhere'), qr/nowhere/, 'an error is told');
ok(!eval { $db->do('select * from nowhere'); 1 }, 'an error dies');

$db->do('create table t (i int)');
my $session = $db->session;
$session->query('begin');
$session->query('insert into t values (1)');
is($db->value('select count(*) from t'), 0, 'a session holds its transaction open');
is($session->value('select count(*) from t'), 1, 'and sees it');
$session->query('commit');
is($db->value('select count(*) from t'), 1, 'until it commits');
$session->close;

my $vhost = new_vhost();
my $amqp = $vhost->amqp;
$amqp->declare_queue('work');
is($vhost->publish(routing_key => 'work', body => 'hello', message_id => 'm1', type => 'T', timestamp => 1700000000,
	headers => { text => 'ü', number => [ 'I', -5 ], yes => [ t => 1 ], list => [ A => [ 'a', [ l => 7 ] ] ], table => { in => 'side' } }),
	'ack', 'a message is confirmed');
is($vhost->publish(routing_key => 'nowhere', mandatory => 1), 'return', 'a mandatory one without a queue is returned');
is($vhost->count('work'), 1, 'the queue has one message');
my $message = $vhost->get('work');
is($message->{body}, 'hello', 'its body');
is("$message->{message_id} $message->{type} $message->{timestamp}", 'm1 T 1700000000', 'its properties');
delete $message->{headers}{'x-delivery-count'};	# RabbitMQ 3.10 counts from the first
is_deeply($message->{headers}, { text => "\xc3\xbc", number => -5, yes => 1, list => [ 'a', 7 ], table => { in => 'side' } }, 'its headers');
is($vhost->get('work'), undef, 'then the queue is empty');

my $big = join('', map { chr($_ % 251) } 1 .. 400_000);
$vhost->publish(routing_key => 'work', body => $big);
ok($vhost->get('work')->{body} eq $big, 'a large body comes back as it went');
$amqp->publish(routing_key => 'work', body => $_) for 1 .. 500;
is(scalar(grep { $_ eq 'ack' } $amqp->confirm), 500, 'many are confirmed at once');
is(scalar($vhost->drain('work')), 500, 'and all are there');
ok(!$vhost->exists('nowhere'), 'a queue that is not there is not there');
ok($vhost->exists('work'), 'and the channel is usable again');
wait_for { $vhost->queue('work')->{type} } 'the management API knows the queue';

my $program = Pawl::Program->start({ name => 'shell' }, '/bin/sh', '-c', 'echo level=info msg=ready pid=$$; echo level=warning msg=oops; exec tail -f /dev/null');
is($program->wait_log(qr/ready pid=(\d+)/), $program->pid, 'a log line is waited for');
$program->wait_log(qr/oops/);
is_deeply([ $program->complaints ], [ 'level=warning msg=oops' ], 'a warning in a log is a complaint');
$program->allow_log(qr/oops/);
is_deeply([ $program->complaints ], [], 'unless it is allowed');
$program->kill;
is($program->status & 127, 9, 'a program can be killed');

my $crash = Pawl::Program->start({ name => 'crash' }, '/bin/sh', '-c', 'kill -SEGV $$');
$crash->wait(10);
is_deeply([ $crash->complaints ], [ 'ended by SIGSEGV' ], 'a crash is told apart');
$crash->{sent}{SEGV} = 1;
is(run_program('/bin/sh', '-c', 'echo out; echo err >&2; exit 3')->{status}, 3, 'a run gives its exit status');

my $own = own_postgres();
my $other = $own->create_db;
$other->do('create table t as select 1 as i');
$own->crash;
ok(!eval { $other->value('select 1'); 1 }, 'a private server can be stopped');
$own->up;
is($other->value('select i from t'), 1, 'and started again');
# What make bench reads of a process: all of its time, to the nanosecond.
{
	require "$FindBin::Bin/../bench/Cost.pm";
	my $before = Cost::cpu_s($$);
	my $own = Time::HiRes::clock_gettime(Time::HiRes::CLOCK_PROCESS_CPUTIME_ID());
	cmp_ok($own, '>=', $before, 'the time on a processor that a process has had');
	my $sum = 0;
	$sum += $_ for 1 .. 200_000;
	cmp_ok(Cost::cpu_s($$) - $own, '>', 0.001, 'goes on with it');
	cmp_ok(Cost::cpu_s($$), '<=', Time::HiRes::clock_gettime(Time::HiRes::CLOCK_PROCESS_CPUTIME_ID()), 'and is its own clock\'s');
	my $child = fork() // die "fork: $!\n";
	POSIX::_exit(0) if $child == 0;
	waitpid($child, 0);
	ok(!eval { Cost::cpu_s($child); 1 }, 'of one that is gone there is none');
}
done_testing;
