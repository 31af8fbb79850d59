#!/usr/bin/perl
# Handlers that crash, hang, exit, close or scribble on what is not theirs, fork, in a batch of 200: one dead letter each if it does harm, and every other message
# has its effect exactly once.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Time::HiRes ();

my $asan = read_file(Pawl::Program::build_dir() . '/pawl-slot') =~ /__asan_init/;	# it takes all of the address space
my ($db, $vhost) = (migrated_db(), new_vhost());
$db->do('create table effect (id text)');
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir(), build => Pawl::Program::build_dir(), limit => $asan ? 'none' : '256MiB');
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  work: {
    slots = 2;  batch = 200;  timeout = "1s";  memory_limit = "{limit}";
    handlers: { all: { type = "*";  use = "{build}/t/handlers/.libs/misbehave.so"; }; };
  };
};
END

sub start
{
	# A sanitizer shall leave the signal alone.
	my $asan = join(':', $ENV{ASAN_OPTIONS} // (), 'handle_segv=0');
	my $worker = start_program({ env => { ASAN_OPTIONS => $asan } }, 'pawl-worker', '-c', $config);
	$worker->allow_log(qr/becomes a dead letter/, qr/slot \d is killed: /, qr/slot \d \(pid \d+\) (was killed by|exited with)/,
		qr/left behind by a handler/, qr/could not allocate \d+ bytes: out of memory/);
	wait_consumer($vhost, 'work');
	return $worker;
}

my %how = (
	Segv => [ 'crashed', qr/the slot was killed by SIGSEGV.*: SIGSEGV; #0 / ],
	Null => [ 'crashed', qr/killed by SIGSEGV.*: SIGSEGV at address 0x8; #0 misbehave\.so\+0x[0-9a-f]+.*; #1 / ],
	Recurse => [ 'crashed', qr/killed by SIGSEGV.*: SIGSEGV at address 0x[0-9a-f]+; #0 misbehave\.so\+0x[0-9a-f]+/ ],
	Blocked => [ 'crashed', qr/killed by SIGSEGV/ ],
	Abort => [ 'crashed', qr/killed by SIGABRT.*: SIGABRT; #0 .* abort; #\d+ misbehave\.so\+0x/ ],
	Exit => [ 'crashed', qr/exited with 3.*: called exit\(3\); #0 .* misbehave\.so\+0x/ ],
	QuickExit => [ 'crashed', qr/exited with 4/ ],
	Hang => [ 'timeout', qr/did not return within 1000 ms.*: stopped; #0 .*; #\d+ misbehave\.so\+0x/ ],
	DeafHang => [ 'timeout', qr/did not return within 1000 ms/ ],
	CloseAll => [ 'crashed', qr/the slot exited with 70 while handler .*: the handler closed its slot's socket/ ],
	CloseDb => [ 'crashed', qr/exited with 70 while this message .*: the handler closed its slot's socket to the database/ ],
	ForkDie => [ 'crashed', qr/exited with 5/ ],
	# No harm: all 200 have their effect.
	OwnSegv => [ 'crashed', qr/exited with 9/ ],
	Jump => undef, Thread => undef, Elsewhere => undef,
	Close => undef, Scribble => undef, Noise => undef, ForkReturn => undef, ForkLive => undef,
);
if (!$asan) {
	$how{FreeTwice} = [ 'crashed', qr/killed by SIGABRT.*: SIGABRT; #0 .* abort; #\d+ .*misbehave\.so\+0x/ ];
	$how{Memory} = [ 'crashed', qr/killed by SIGSEGV .*memory_limit is 256 MiB.*: SIGSEGV at address 0x0; #0 .*misbehave\.so\+0x/ ];
	$how{OurMemory} = [ 'crashed', qr/exited with 71 .*memory_limit is 256 MiB.*: called exit\(71\); #0 .*misbehave\.so\+0x/ ];
}
my $good = 0;
my $harmless = join(', ', map { "'$_'" } grep { !$how{$_} } keys %how);
sub effects { return $db->value("select count(*) from effect where id like '%-%' or id in ($harmless)") }
my $worker = start();
for my $type (sort keys %how) {
	my ($reason, $text) = @{ $how{$type} // [] };
	for my $i (1 .. 200) {
		my $bad = $i == 100;
		$vhost->amqp->publish(routing_key => 'work', type => $bad ? $type : 'Good', message_id => $bad ? $type : "$type-$i", body => '{}', headers => { aggregateid => $i % 7 });
		$good += !$bad || !$reason;
	}
	$vhost->amqp->confirm;
	if (!$reason) {
		wait_settled($config, $vhost, 'work');
		is(effects(), $good, "$type: all have their effect");
		next;
	}
	my $letter;
	wait_for { $letter = $vhost->get('work.dead') } "$type: a dead letter";
	is($letter->{message_id}, $type, "$type: that message");
	is($letter->{headers}{'x-pawl-reason'}, $reason, "$type: its reason");
	like($letter->{headers}{'x-pawl-text'}, $text, "$type: its text");
	like($letter->{headers}{'x-pawl-text'}, qr/handler "all" \(version 0\.9\)/, "$type: names handler and version");
	wait_settled($config, $vhost, 'work');
	is(effects(), $good, "$type: all others have their effect");
}
is($db->value('select count(distinct id) from effect'), $db->value('select count(*) from effect'), 'once each');
is($db->value("select string_agg(id, ' ') from effect where id in ('Abort', 'Blocked', 'CloseAll', 'CloseDb', 'DeafHang', 'ForkDie', 'FreeTwice', 'OwnSegv', 'Exit', 'Hang', 'Memory', 'Null', 'OurMemory', 'QuickExit', 'Recurse', 'Segv')"), undef, 'who died in the handler has no effect');
is($vhost->count('work.dead'), 0, 'there are no other dead letters');
like($worker->log, qr/process \d+, left behind by a handler of a slot that has ended, is killed/, 'a child that outlives its slot is killed');
my $deadly = grep { $_ } values %how;
my ($counted) = grep { $_->{name} eq 'all' } @{ queue_status($config, 'work')->{handlers} };
is($counted->{dead}, $deadly, 'the statistics count the dead letters');
cmp_ok($counted->{timeout}, '>=', 4, 'the kills after a timeout');
cmp_ok($counted->{crashed} + $counted->{timeout}, '>=', 2 * $deadly, 'and the deaths that were charged');
cmp_ok($counted->{done}, '>=', $good, 'and what was done');

# Ctrl-C: everybody in the process group gets SIGINT; slots do not die of it.
$vhost->amqp->publish(routing_key => 'work', type => 'Slow', message_id => "slow-$_", body => '{}') for 1 .. 100;
$vhost->amqp->confirm;
wait_for { (queue_status($config, 'work')->{in_flight} // 0) > 0 } 'in the middle of work';
$worker->{sent}{INT} = 1;
kill('INT', -$worker->pid);
is($worker->wait(40), 0, 'Ctrl-C ends the worker with status 0');
my $done = $db->value(q(select count(*) from effect where id like 'slow-%'));
is($vhost->count('work'), 100 - $done, 'what was not done is in the queue');
is($vhost->count('work.dead'), 0, 'and nobody was charged');
$worker = start();
wait_settled($config, $vhost, 'work');
is($db->value(q(select count(*) from effect where id like 'slow-%')), 100, 'another worker does it');
$worker->stop;

# A handler that cannot start: found before anything is consumed, and later.
my $file = tmp_dir() . '/crash';
my $starting = write_config('starting.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir(), build => Pawl::Program::build_dir(), file => $file);
run_dir = "{run}";  name = "starting";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  starting: { slots = 1;  handlers: { all: { type = "*";  use = "{build}/t/handlers/.libs/misbehave.so";  config: { crash_file = "{file}"; }; }; }; };
};
END
write_file($file, '');
my $check = run_program('pawlctl', 'check', '-c', $starting);
isnt($check->{status}, 0, 'check finds a handler that crashes in start()');
like($check->{err} . $check->{out}, qr/SIGSEGV at address 0x8; #0 misbehave\.so\+0x/, 'and says where') or diag($check->{out}, $check->{err});
unlink $file;
$worker = start_program('pawl-worker', '-c', $starting);
$worker->allow_log(qr/slot \d \(pid \d+\) (was killed by|exited with)/);
wait_consumer($vhost, 'starting');
write_file($file, '');
kill('KILL', $_->{pid}) for $worker->slots;
wait_for { $worker->log =~ /slot 0 \(pid \d+\) was killed by SIGSEGV before it had finished anything: SIGSEGV at address 0x8; #0 misbehave\.so\+0x/ } 'later it is named as well';
$vhost->publish(routing_key => 'starting', type => 'Good', message_id => 'started', body => '{}');
my $deaths = sub { my $s = queue_status($starting, 'starting'); return ref $s->{slot_deaths} ? $s->{slot_deaths}{crash} : $s->{slot_deaths} };
wait_for { $deaths->() >= 4 } 'it is tried again';
my ($before, $since) = ($deaths->(), Time::HiRes::time());
wait_for { $deaths->() > $before } 'and again';
cmp_ok(Time::HiRes::time() - $since, '>', 0.4, 'with pauses that grow');
my @said = $worker->log =~ /before it had finished anything/g;
cmp_ok(scalar @said, '<', $deaths->(), 'and less said each time');
is($db->value("select count(*) from effect where id = 'started'"), 0, 'meanwhile nothing is done');
unlink $file;
wait_for { $db->value("select count(*) from effect where id = 'started'") == 1 } 'mended, it goes on by itself', 60;
is($vhost->exists('starting.dead') ? $vhost->count('starting.dead') : 0, 0, 'and nobody was charged');
$worker->stop;
done_testing;
