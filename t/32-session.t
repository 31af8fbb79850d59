#!/usr/bin/perl
# What happens to the database is charged to nobody: slots say so, wait, come back, and nothing is lost or done twice.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Proxy;
use Pawl::Slot;

my ($SUSPECT, $MAYBE, $LOST_SESSION, $ALONE) = (4, 1, 2, 1);
my $server = own_postgres();
my $db = migrated_db($server);
$db->do(<<'EOS');
create table effects (n bigserial, key text);
create table seen (n bigserial, key text, what text, value text);
create table wide (a int);
create sequence once;
create table nap (seconds int);
insert into nap values (60);
create function raise_it(code text) returns void language plpgsql as $$ begin raise exception 'raised on purpose' using errcode = code; end $$;
create function slow_commit() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return null; end $$;
create table slow (key text);
create constraint trigger slow after insert on slow deferrable initially deferred for each row execute function slow_commit();
create function forget_once() returns void language plpgsql as $$ begin if nextval('once') = 1 then execute 'deallocate all'; end if; end $$;
create function forget() returns void language plpgsql as $$ begin execute 'deallocate all'; end $$;
EOS
my $driver = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 's')->handler(script => Pawl::Slot::script_handler());
sub good { my ($id, @more) = @_; return Pawl::Slot::script($id, [ sql => 'insert into effects (key) values ($1)', $id ], @more) }
sub outcomes { return join(' ', map { $_->{outcome} . ($_->{flags} ? "+$_->{flags}" : '') } @_) }
sub effects { my ($like) = @_; return $db->value("select count(*), count(distinct key) from effects where key like '$like'") =~ s/\x1f/ /r }
sub waiting_then_result
{
	my ($slot, $name) = @_;
	my $waiting = $driver->wait($slot);
	is($waiting->{is}, 'waiting', "$name: the slot says that it waits for the database");
	my $result = $driver->wait($slot);
	is($result->{is}, 'result', "$name: and what became of the batch");
	return ($waiting->{text}, @{ $result->{outcomes} });
}
my $nap = [ sql => 'select pg_sleep(seconds) from nap' ];
sub backend { return $db->value("select pid from pg_stat_activity where application_name = 'pawl-slot s'") }

# Down at the start, and up again
$server->stop;
my $slot = $driver->spawn;
my $answer = $driver->wait($slot);
is($answer->{is}, 'waiting', 'without a database a slot waits');
like($answer->{text}, qr/connection to server.*failed: Connection refused/, 'and says why');
is(outcomes($driver->batch($slot, good('early'))), 'unapplied', 'a batch that comes nevertheless is given back');
$server->up;
is($driver->wait_until($slot, 'ready')->{handlers}[0]{name}, 'script', 'it is ready when the database is there');
is(outcomes($driver->batch($slot, good('early'))), 'done', 'and works');

# Settings
$driver->batch($slot, Pawl::Slot::script('settings', map { [ sql => 'insert into seen (what, value) values ($1, current_setting($1))', $_ ] }
	qw(statement_timeout lock_timeout idle_session_timeout idle_in_transaction_session_timeout client_connection_check_interval synchronous_commit transaction_isolation application_name client_encoding)));
my %value = map { $_->[0] => $_->[1] } $db->query('select what, value from seen');
is_deeply(\%value, { statement_timeout => '27s', lock_timeout => '15s', idle_session_timeout => 0, idle_in_transaction_session_timeout => '30s', client_connection_check_interval => '1s',
	synchronous_commit => 'on', transaction_isolation => 'read committed', application_name => 'pawl-slot s', client_encoding => 'UTF8' }, 'settings of the session');

# Idle, and gone
$db->value('select pg_terminate_backend(' . backend() . ')');
is($driver->wait($slot)->{is}, 'waiting', 'a session that ends while nothing is to be done is noticed');
is($driver->wait($slot)->{is}, 'ready', 'and replaced');

# Terminated in the middle of a batch
my @messages = map { good("t$_") } 0 .. 9;
$messages[5] = good('t5', $nap);
$driver->send($slot, 0, @messages);
wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot s' and wait_event = 'PgSleep'") } 'a batch is being applied';
$db->value('select pg_terminate_backend(' . backend() . ')');
my ($text, @out) = waiting_then_result($slot, 'terminated');
$db->do('update nap set seconds = 0');
like($text, qr/terminating connection due to administrator command/, 'terminated: the reason is told');
is(outcomes(@out), join(' ', ("unapplied+" . ($SUSPECT | $MAYBE)) x 10), 'terminated: nothing is applied, nobody is charged');
is(effects('t%'), '0 0', 'terminated: so it is');
$driver->wait_until($slot, 'ready');
is(outcomes(@{ $driver->result($slot, $ALONE, @messages)->{outcomes} }), join(' ', ('done') x 10), 'terminated: done later, each alone');
is(effects('t%'), '10 10', 'terminated: once');

# A backend that crashes says nothing
$db->do('update nap set seconds = 60');
@messages = map { good("c$_") } 0 .. 4;
$messages[2] = good('c2', $nap);
$driver->send($slot, 0, @messages);
wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot s' and wait_event = 'PgSleep'") } 'a batch is being applied';
kill('KILL', backend());
($text, @out) = waiting_then_result($slot, 'crashed backend');
is(outcomes(@out), join(' ', ("unapplied+" . ($SUSPECT | $MAYBE | $LOST_SESSION)) x 5), 'crashed backend: all are under suspicion');
$driver->wait_until($slot, 'ready');
# Alone, and its session goes again: only that one is to blame, those before it are done, those behind it are not begun.
$driver->send($slot, $ALONE, @messages);
wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot s' and wait_event = 'PgSleep'") } 'they are applied one by one';
kill('KILL', backend());
($text, @out) = waiting_then_result($slot, 'crashed backend, alone');
is(outcomes(@out), 'done done unapplied+' . ($SUSPECT | $MAYBE | $LOST_SESSION) . ' unapplied unapplied', 'crashed backend, alone: it is plain who it was');
$driver->wait_until($slot, 'ready');
$db->do('update nap set seconds = 0');
is(outcomes($driver->batch($slot, @messages)), 'duplicate duplicate done done done', 'crashed backend: the rest is done');
is(effects('c%'), '5 5', 'crashed backend: once');

# The server is restarted
$db->do('update nap set seconds = 60');
@messages = map { good("r$_") } 0 .. 9;
$messages[5] = good('r5', $nap);
$driver->send($slot, 0, @messages);
wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot s' and wait_event = 'PgSleep'") } 'a batch is being applied';
$driver->send($slot, 0, good('behind'));
$server->stop;
($text, @out) = waiting_then_result($slot, 'restart');
is(outcomes(@out), join(' ', ("unapplied+" . ($SUSPECT | $MAYBE)) x 10), 'restart: nothing is applied');
is(outcomes(@{ $driver->wait_until($slot, 'result')->{outcomes} }), 'unapplied', 'restart: a batch that was on its way is given back untouched');
$server->up;
$db->do('update nap set seconds = 0');
$driver->wait_until($slot, 'ready');
is(outcomes($driver->batch($slot, @messages, good('behind'))), join(' ', ('done') x 11), 'restart: all is done afterwards');
is(effects('r%'), '10 10', 'restart: once');

# Errors of the environment, with the session alive
for my $code (qw(XX000 53100 57P05 58030 08006)) {
	@messages = map { good("$code-$_") } 0 .. 4;
	$messages[2] = good("$code-2", [ sql => "select raise_it('$code')" ]);
	$driver->send($slot, 0, @messages);
	($text, @out) = waiting_then_result($slot, $code);
	is(outcomes(@out), "unapplied unapplied unapplied+$SUSPECT unapplied unapplied", "$code: nobody is charged, one is to be tried alone");
	$driver->wait_until($slot, 'ready');
	$driver->batch($slot, good("calm$code"));
}
is(effects('%-0'), '0 0', 'nothing of these is applied');
my @times;
for my $i (1 .. 4) {
	my $start = Time::HiRes::time();
	$driver->send($slot, 0, good('full', [ sql => "select raise_it('53100')" ]));
	$driver->wait_until($slot, 'ready');
	push @times, Time::HiRes::time() - $start;
}
cmp_ok($times[-1], '>', 0.5, 'a database that comes back and fails again is left alone for longer and longer') or diag("@times");

# Prepared statements that are gone, or whose result changed
$db->do("select setval('once', 1, false)");
is(outcomes($driver->batch($slot, map { good("p$_", $_ == 3 ? [ sql => 'select forget_once()' ] : ()) } 0 .. 9)), join(' ', ('done') x 10), '26000: prepared again, uncharged');
is(effects('p%'), '10 10', '26000: once');
@out = $driver->batch($slot, map { good("q$_", $_ == 3 ? [ sql => 'select forget()' ] : ()) } 0 .. 9);
is(outcomes(@out), 'done done done retry done done done done done done', '26000 again and again: the message that does it fails');
is($out[3]{code}, 'sql_26000', 'with that code');
is(outcomes($driver->batch($slot, good('w0', [ sql => 'select * from wide where a = $1', 1 ]))), 'done', 'a statement with a result');
$db->do('alter table wide add column b text');
is(outcomes($driver->batch($slot, good('w1'), good('w2', [ sql => 'select * from wide where a = $1', 1 ]), good('w3'))), 'done done done', '0A000: prepared again, uncharged');
$db->do('alter table wide rename to narrow');
@out = $driver->batch($slot, good('w4'), good('w5', [ sql => 'select * from wide where a = $1', 1 ]), good('w6'));
is(outcomes(@out), 'done retry done', 'a table that is gone');
is($out[1]{code}, 'sql_42P01', 'is the message\'s failure');
@out = $driver->batch($slot, good('w5', [ sql => 'select * from wide where a = $1', 1 ]));
is("$out[0]{outcome} $out[0]{code}", 'retry sql_42P01', 'again, when it cannot be prepared');
$db->do('alter table narrow rename to wide');
is(outcomes($driver->batch($slot, good('w5', [ sql => 'select * from wide where a = $1', 1 ]))), 'done', 'and works when it is there again');

# The inbox itself
$db->do('alter table pawl.inbox rename to gone');
$driver->send($slot, 0, good('i1'));
($text, @out) = waiting_then_result($slot, 'inbox gone');
is(outcomes(@out), 'unapplied', 'inbox gone: nobody is charged');
like($text, qr/inbox/, 'inbox gone: it is told');
$db->do('alter table pawl.gone rename to inbox');
$driver->wait_until($slot, 'ready');
is(outcomes($driver->batch($slot, good('i1'))), 'done', 'inbox back');

# A connection that is lost without the server noticing: the old backend is terminated, its claims are decided, then the batch is done.
my $proxy = Pawl::Proxy->start('127.0.0.1', $server->port);
$driver->set(conninfo => $db->conninfo(port => $proxy->port), consumer => 'proxied');
my $far = $driver->ready;
$db->do('update nap set seconds = 60');
@messages = (good('x1'), good('x2', $nap), good('x3'));
$driver->send($far, 0, @messages);
my $sleeper = wait_for { $db->value("select pid from pg_stat_activity where application_name = 'pawl-slot proxied' and wait_event = 'PgSleep'") } 'a batch is being applied';
$proxy->cut;
($text, @out) = waiting_then_result($far, 'cut off');
is(outcomes(@out), join(' ', ("unapplied+" . ($SUSPECT | $MAYBE | $LOST_SESSION)) x 3), 'cut off: unapplied, perhaps');
$driver->wait_until($far, 'ready');
is($db->value("select count(*) from pg_stat_activity where pid = $sleeper"), 0, 'cut off: the old backend is ended first');
like($driver->log, qr/terminated the backend of the lost session \(pid $sleeper\)/, 'cut off: and that is logged');
$db->do('update nap set seconds = 0');
is(outcomes(@{ $driver->result($far, $ALONE, @messages)->{outcomes} }), 'done done done', 'cut off: done afterwards');
is(effects('x%'), '3 3', 'cut off: once');

# The commit is done, its answer is lost.
$driver->batch($far, good('y0', [ sql => 'insert into wide values (1)' ]));	# prepared now
my $lock = $db->session;
$lock->query('begin');
$lock->query('lock table wide');
$driver->send($far, 0, good('y1', [ sql => 'insert into wide values (1)' ]));
wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot proxied' and wait_event_type = 'Lock'") } 'a batch is about to be committed';
$proxy->mute;
$lock->query('rollback');
$lock->close;
wait_for { effects('y1') eq '1 1' } 'it is committed, and the answer does not come';
$proxy->cut;
($text, @out) = waiting_then_result($far, 'answer lost');
is(outcomes(@out), 'unapplied+' . ($SUSPECT | $MAYBE | $LOST_SESSION), 'answer lost: unapplied, perhaps');
$driver->wait_until($far, 'ready');
is(outcomes($driver->batch($far, good('y1'))), 'duplicate', 'answer lost: it was done');
is(effects('y1'), '1 1', 'answer lost: once');

# The connection is lost while the server is at the commit: it is terminated there, or has done it.
$driver->send($far, 0, good('z1', [ sql => 'insert into slow values (1)' ]));
wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot proxied' and wait_event = 'PgSleep'") } 'a batch is being committed';
$proxy->refuse;
$proxy->cut;
($text, @out) = waiting_then_result($far, 'lost at commit');
is(outcomes(@out), 'unapplied+' . ($SUSPECT | $MAYBE | $LOST_SESSION), 'lost at commit: unapplied, perhaps');
$proxy->allow;
$driver->wait_until($far, 'ready');
is(outcomes($driver->batch($far, good('z1'))), 'done', 'lost at commit: not committed, so it is done now');
is(effects('z1'), '1 1', 'lost at commit: once');

# Read-only, not migrated, wrong password
my $other = $server->create_db;
$driver->set(conninfo => $other->conninfo, consumer => 'other');
my $bare = $driver->spawn;
$answer = $driver->wait($bare);
is($answer->{is}, 'waiting', 'a database without our schema is waited for');
like($answer->{text}, qr/pawlctl migrate/, 'with the cure');
run_program('pawlctl', 'migrate', $other->conninfo);
is($driver->wait_until($bare, 'ready')->{is}, 'ready', 'until it is migrated');
$other->do('alter database "' . $other->name . '" set default_transaction_read_only = on');
$other->do('set default_transaction_read_only = off; alter database "' . $other->name . '" set synchronous_commit = off');
my $read_only = $driver->spawn;
like($driver->wait($read_only)->{text}, qr/read-only/, 'a database that is read-only is waited for');
$other->do('set default_transaction_read_only = off; alter database "' . $other->name . '" reset default_transaction_read_only');
is($driver->wait_until($read_only, 'ready')->{is}, 'ready', 'until it is not');
$other->do('create table seen (key text, what text, value text)');
$driver->batch($read_only, Pawl::Slot::script('m', [ sql => q(insert into seen (value) values (current_setting('synchronous_commit'))) ]));
is($other->value('select value from seen'), 'on', 'synchronous_commit is on where the database says off');

# Old keys
$driver->set(consumer => 'clean', retention_ms => 3600 * 1000);
$other->do(q(insert into pawl.inbox select c, 'old' || i, now() - interval '2 hours' from generate_series(1, 2500) i, (values ('clean'), ('else')) v (c)));
$other->do(q(insert into pawl.inbox select 'clean', 'new' || i, now() - interval '30 min' from generate_series(1, 10) i));
my $cleaner = $driver->ready;
wait_for { $other->value(q(select count(*) from pawl.inbox where consumer = 'clean')) == 10 } 'old keys of the consumer are deleted';
is($other->value(q(select count(*) from pawl.inbox where consumer = 'else')), 2500, 'those of others are not');

$driver->finish;
$proxy->stop;

# A handler closes stdout and stderr: the next session's socket is not where it prints to.
{
	my $build = Pawl::Program::build_dir();
	$db->do('create table effect (id text)');
	my $d = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'closed')->handler(misbehave => "$build/t/handlers/.libs/misbehave.so");
	my $slot = $d->ready;
	is(outcomes($d->batch($slot, { id => 'closed', type => 'CloseStd', body => '{}' })), 'done', 'closed');
	$db->value("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pawl-slot closed'");
	$d->wait_until($slot, 'ready');
	is(outcomes($d->batch($slot, map { { id => $_, type => $_, body => '{}' } } qw(Noise Count Good))), 'done done done', 'what is printed later goes nowhere');
	$d->finish;
}
done_testing;
