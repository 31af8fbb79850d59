#!/usr/bin/perl
# pawlctl status: what runs, what does not and why; numbers that are right. pawlctl check with slots.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use JSON::PP ();
use Pawl::Slot;

my ($db, $vhost) = (migrated_db(), new_vhost());
my $run_dir = tmp_dir() . '/run';
mkdir($run_dir);
my $text = <<'END';
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  view: {
    queue = "orders.view";
    bind = ( { exchange = "orders"; key = "#"; } );
    handlers: {
      placed: { type = "OrderPlaced"; use = "sql"; config: { statement = "insert into seen (id) values (:/id)"; }; };
      rest: { type = "Ignored"; use = "ignore"; };
    };
  };
};
outboxes: { orders: { exchange = "orders"; }; };
END
my @pairs = (run => $run_dir, uri => $vhost->uri, conninfo => $db->conninfo);
my $file = write_config('s.conf', $text, @pairs);
$db->do('create table seen (id text)');

sub look
{
	my $run = run_program('pawlctl', 'status', '-c', $file, '--json');
	my $status = JSON::PP->new->utf8->decode($run->{out});
	$status->{exit} = $run->{status};
	return $status;
}
sub why { my ($part) = @_; my $p = look()->{$part}; return $p->{running} ? 'running' : $p->{why} }
sub publish { return run_program('pawlctl', 'publish', '-c', $file, @_) }

# check, with a slot for the queue.
{
	my $good = run_program('pawlctl', 'check', '-c', $file);
	is("$good->{status} $good->{out}$good->{err}", "0 $file: good: 1 queue, 2 handlers, 1 outbox\n", 'check: good');
	my $worker = run_program('pawl-worker', '-t', '-c', $file);
	is("$worker->{status} $worker->{err}", '0 ', 'pawl-worker -t: the same');

	my $bad = write_config('bad.conf', $text =~ s/statement = "[^"]+"/statement = "insert into nosuch (id) values (:\/id)"; nosuch = 1/r, @pairs);
	my $run = run_program('pawlctl', 'check', '-c', $bad);
	is($run->{status}, 78, 'check: errors of a handler: 78');
	like($run->{err}, qr/^\Q$bad\E:9: queues\.view\.handlers\.placed\.config\.nosuch: /m, 'a key that the handler does not read, with its line') or diag($run->{err});
	like($run->{err}, qr/^\Q$bad\E:9: queues\.view\.handlers\.placed\.config\.statement: .*relation "nosuch" does not exist/m, 'a statement that the database refuses')
	    or diag($run->{err});

	# What a handler says is one line, and nothing that a terminal obeys.
	my $loud = write_config('loud.conf', $text =~ s/use = "sql"; +config: \{[^}]*\}/use = "{script}"; config: { fail = "red\\x1b[31m\\nand \\xc2\\x9b1m \\xff \\xc3\\xa9"; }/r, @pairs, script => Pawl::Slot::script_handler());
	$run = run_program('pawlctl', 'check', '-c', $loud);
	is($run->{err}, "$loud:9: queues.view.handlers.placed.config.fail: red\\x1b[31m and \\xc2\\x9b1m \\xff \xc3\xa9\n", 'an error with control characters');

	my $away = write_config('away.conf', $text, @pairs, conninfo => 'host=/nonexistent password=geheim');
	$run = run_program('pawlctl', 'check', '-c', $away);
	is($run->{status}, 0, 'check without a database: what can be told is good');
	like($run->{err}, qr/^\Q$away\E:5: queues\.view: statements were not checked: /m, 'and what was not checked is said') or diag($run->{err});
	unlike($run->{err}, qr/geheim/, 'without the password');
	is(run_program('pawlctl', 'check', '--strict', '-c', $away)->{status}, 69, '--strict: that is an error');
	is(run_program('pawlctl', 'check', '--strict', '-c', $file)->{status}, 0, 'and with a database it is good');

	$run = run_program({ env => { PAWL_LIBEXECDIR => '/nonexistent' } }, 'pawlctl', 'check', '-c', $file);
	is($run->{status}, 69, 'no pawl-slot: 69');
	like($run->{err}, qr{could not start /nonexistent/pawl-slot: exec: No such file}, 'and said');

	$run = run_program('pawlctl', 'check', '-c', write_config('conninfo.conf', $text, @pairs, conninfo => 'password=geheim x'));
	is($run->{status}, 78, 'a connection string that is none: 78');
	like($run->{err}, qr/:5: queues\.view\.conninfo: is no connection string/, 'with its queue');
	unlike($run->{err}, qr/geheim/, 'without the password');
}

# Nothing runs yet.
{
	my $s = look();
	is($s->{exit}, 69, 'nothing runs: 69');
	is_deeply([ @$s{qw(name)}, map { @{ $s->{$_} }{qw(configured running why)} } qw(worker relay) ],
		[ 's', map { (JSON::PP::true(), JSON::PP::false(), "no s.$_.stats in $run_dir") } qw(worker relay) ], 'and said');
	my $run = run_program('pawlctl', 'status', '-c', $file);
	is($run->{out}, join('', map { "pawl-$_ \"s\": not running: no s.$_.stats in $run_dir\n" } qw(worker relay)), 'in words');
}

my $worker = start_program('pawl-worker', '-c', $file)->allow_log(qr/becomes a dead letter in .*: unknown_type: /);
wait_for { my ($q) = @{ look()->{worker}{queues} }; $q && $q->{state} eq 'consuming' } 'the worker consumes';
my $relay = start_program('pawl-relay', '-c', $file);
wait_for { my ($o) = @{ look()->{relay}{outboxes} }; $o && $o->{state} eq 'leading' } 'the relay leads';
is(look()->{exit}, 0, 'both run: 0');

publish('-t', 'OrderPlaced', '--id', "id-$_", 'view', qq({"id":"$_"})) for 1, 2, 2, 3;
publish('-t', 'Ignored', 'view', 'x');
publish('-t', 'Unknown', 'view', 'x');
$db->do(q{select pawl.emit('order', '7', 'OrderPlaced', '{"id":"7"}')});
wait_for { $db->value('select count(*) from seen') == 4 } 'four orders were seen';
wait_for { my $q = look()->{worker}{queues}[0]; $q->{done} == 4 && $q->{ignored} == 1 && $q->{dead} == 1 && $q->{duplicate} == 1 } 'and counted';
{
	my $s = look();
	my $q = $s->{worker}{queues}[0];
	is_deeply([ @$q{qw(name slots slots_ready in_flight waiting retried crashed timeout connected)} ], [ 'view', 2, 2, 0, 0, 0, 0, 0, JSON::PP::true() ], 'the queue');
	my %handler = map { $_->{name} => $_ } @{ $q->{handlers} };
	is_deeply([ map { $handler{$_}{done} + $handler{$_}{ignored} + $handler{$_}{dead} } 'placed', 'rest', '' ], [ 4, 1, 1 ], 'its handlers');
	ok($handler{placed}{handle}{count} >= 4 && $q->{lag}{count} >= 4 && $q->{lag}{p95_us} > 0, 'distributions');
	is($s->{worker}{pid}, $worker->pid, 'the process');
	my $o;
	wait_for { $o = look()->{relay}{outboxes}[0]; $o->{deleted} == 1 } 'the relay deleted the event';
	is_deeply([ @$o{qw(name published confirmed returned refused held_aggregates leader)} ], [ 'orders', 1, 1, 0, 0, 0, JSON::PP::true() ], 'the outbox');

	my $run = run_program('pawlctl', 'status', '-c', $file);
	my @lines = split(/\n/, $run->{out});
	like($lines[0], qr/^pawl-worker "s": running for \d+ s, process ${\ $worker->pid }, version \d/, 'the table: the worker');
	like($lines[2], qr{^  view +consuming +2/2 +0 +0 +4 +1 +1 +0 +0 +1 +0 +0 +- }, 'its queue');
	like($lines[3], qr/^pawl-relay "s": running for/, 'the relay');
	like($lines[5], qr/^  orders +leading +0 /, 'its outbox');
}

# --watch: rates from the second look on. The reader that goes away ends it.
{
	my $watch = start_program('pawlctl', 'status', '-c', $file, '--watch', '--json');
	wait_for { () = $watch->log =~ /\n/g } 'a first look';
	publish('-t', 'Ignored', 'view', 'x') for 1 .. 3;
	wait_for { grep { /^\{/ && (JSON::PP->new->utf8->decode($_)->{worker}{queues}[0]{per_second} // 0) > 0 } split(/\n/, $watch->log) } 'a rate';
	is(JSON::PP->new->utf8->decode((split(/\n/, $watch->log))[0])->{worker}{queues}[0]{per_second}, undef, 'the first look has none');
	$watch->signal('TERM');
	$watch->wait(10);
}

# Orderly end, kill, silence.
$relay->stop;
is(why('relay'), 'it has ended in order', 'stopped');
is(look()->{exit}, 69, 'one of two: 69');
$worker->kill;
is(why('worker'), 'process ' . $worker->pid . ' is gone without an orderly end', 'killed');
is(look()->{worker}{queues}[0]{state}, 'down', 'its queue is down');
is(look()->{worker}{queues}[0]{done}, 4, 'its numbers are still there');
$relay = start_program('pawl-relay', '-c', $file)->allow_log(qr/lost the database session: .*idle-session timeout/);	# it is stopped
wait_for { my ($o) = @{ look()->{relay}{outboxes} }; why('relay') eq 'running' && $o->{state} eq 'leading' } 'the relay again';
$relay->signal('STOP');
wait_for { why('relay') =~ /^process \d+ has given no sign of life for 1\d s$/ } 'stopped by a signal: it is noticed', 30;
$relay->signal('CONT');
wait_for { why('relay') eq 'running' } 'and that it goes on';

# pawl-worker --queue is a program of its own.
my $alone = start_program('pawl-worker', '-c', $file, '--queue', 'view');
wait_for { my ($single) = @{ look()->{single} }; $single && $single->{running} && $single->{queues}[0]{state} eq 'consuming' } 'a worker of one queue';
is_deeply([ map { @$_{qw(name running)}, $_->{queues}[0]{name} } @{ look()->{single} } ], [ 's.view', JSON::PP::true(), 'view' ], 'is shown');
is(look()->{exit}, 0, 'all queues are worked for: 0');
like(run_program('pawlctl', 'status', '-c', $file)->{out}, qr/^pawl-worker "s\.view": running for \d+ s/m, 'in the table as well');
{
	my $lock = $db->session;
	$lock->query('begin; lock table seen');
	publish('-t', 'OrderPlaced', 'view', '{"id":"late"}');
	wait_for { look()->{single}[0]{queues}[0]{in_flight} == 1 } 'a message waits for a lock';
	$alone->signal('TERM');
	wait_for { look()->{single}[0]{queues}[0]{state} eq 'ending' } 'told to stop, it is ending';
	$lock->close;
	$alone->wait(30);
}
is_deeply([ look()->{exit}, map { $_->{why} } @{ look()->{single} } ], [ 69, 'it has ended in order' ], 'when it is gone: 69');

# What keeps a queue or an outbox from working is named.
{
	my $migrated = migrated_db();
	my $away = write_config('mute.conf', $text, @pairs, uri => 'amqp://127.0.0.1:1', conninfo => $migrated->conninfo);
	$migrated->do('create table seen (id text)');
	my ($mute, $deaf) = map { start_program($_, '-c', $away)->allow_log(qr/could not connect to 127\.0\.0\.1:1/) } qw(pawl-relay pawl-worker);
	my $state = sub { my ($program, $kind) = @_; return (JSON::PP->new->utf8->decode(run_program('pawlctl', 'status', '-c', $away, '--json')->{out})->{$program}{$kind}[0] // {})->{state} // '' };
	wait_for { $state->(qw(worker queues)) eq 'no broker' } 'a worker without a broker';
	wait_for { $state->(qw(relay outboxes)) eq 'no broker' } 'a relay without a broker';
	$_->stop for $mute, $deaf;

	$worker = start_program('pawl-worker', '-c', $file)->allow_log(qr/becomes a dead letter in .*: sql_42P01: |20 messages in a row failed/);
	wait_for { look()->{worker}{queues}[0]{state} eq 'consuming' } 'a worker again';
	$db->do('drop table seen');
	publish('-t', 'OrderPlaced', 'view', '{"id":"x"}') for 1 .. 20;
	wait_for { look()->{worker}{queues}[0]{state} eq 'paused' } 'a table is missing: paused';
	$worker->stop;
}

# A file that is none.
write_file('run/s.worker.stats', 'x' x 5000);
like(why('worker'), qr/is no statistics file/, 'a foreign file');
done_testing;
