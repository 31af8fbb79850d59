#!/usr/bin/perl
# What one message's statements, or the environment, must not do to other messages: settings, locks, commits that are not durable.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my ($SUSPECT, $ALONE) = (4, 1);
my $server = own_postgres();
my $db = migrated_db($server);
$db->do(<<'EOS');
create table effects (n bigserial, key text);
create schema elsewhere;
create table elsewhere.effects (n bigserial, key text);
create table at_commit (key text);
create table seen (key text, value text);
create function look() returns trigger language plpgsql as $$
begin insert into seen values (new.key, current_setting('synchronous_commit')); return null; end $$;
create constraint trigger look after insert on at_commit deferrable initially deferred for each row execute function look();
EOS
my $driver = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 's', timeout_ms => 2000)->handler(script => Pawl::Slot::script_handler());
my $slot = $driver->ready;
sub good { my ($id, @more) = @_; return Pawl::Slot::script($id, @more, [ sql => 'insert into effects (key) values ($1)', $id ]) }
sub outcomes { return join(' ', map { $_->{outcome} . ($_->{flags} ? "+$_->{flags}" : '') } @_) }

# Settings of a transaction belong to the message that makes them.
for my $set ('set local search_path to elsewhere', '/* x */ SET LOCAL search_path = elsewhere', q(select set_config('search_path', 'elsewhere', true))) {
	$db->do('truncate effects, elsewhere.effects');
	my $id = length $set;
	is(outcomes($driver->batch($slot, good("a$id"), good("b$id", [ sql => $set ]), good("c$id"))), 'done done done', "$set: all are done");
	is($db->value("select string_agg(key, ' ' order by key) from effects"), "a$id c$id", 'the others are where they belong');
	is($db->value('select key from elsewhere.effects'), "b$id", 'and so is the one that said so');
}
is(outcomes($driver->batch($slot, good('r1', [ sql => q(set local statement_timeout = '50ms') ]), Pawl::Slot::script('r2', [ sql => 'select pg_sleep(0.2)' ]))), 'done done',
    'a time limit of one message is none for the next');

# What is acked is on disk, whatever happened to synchronous_commit.
my $at_commit = [ sql => 'insert into at_commit values ($1)', 'x' ];
$driver->batch($slot, Pawl::Slot::script('d1', [ sql => q(select set_config('synchronous_commit', 'off', true)) ], $at_commit));
is($db->value('select value from seen'), 'on', 'a statement that switches synchronous_commit off changes nothing at the commit');
$db->do('truncate seen');
$driver->batch($slot, Pawl::Slot::script('d2', [ sql => q(select set_config('synchronous_commit', 'off', false)) ]));
$driver->batch($slot, Pawl::Slot::script('d3', $at_commit));
is($db->value('select value from seen'), 'on', 'nor does one that would outlive its transaction');
$db->do('truncate seen');
$db->do(q(alter system set synchronous_commit = off));
$db->do('select pg_reload_conf()');
wait_for { $db->value('show synchronous_commit') eq 'off' } 'the server is told to be lax';
$driver->batch($slot, Pawl::Slot::script('d4', $at_commit));
is($db->value('select value from seen'), 'on', 'nor does a reload of the server');
$db->do('alter system reset synchronous_commit');
$db->do('select pg_reload_conf()');

# A commit of ours may be there, and not yet replicated: that it is there is told only when it is.
is(outcomes($driver->batch($slot, good('w'))), 'done', 'a message is done');
$db->do(q(alter system set synchronous_standby_names = 'nobody'));
$db->do('select pg_reload_conf()');
wait_for { $db->value('show synchronous_standby_names') eq 'nobody' } 'a standby is asked for, and there is none';
$driver->send($slot, $ALONE, good('w'));
wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot s' and wait_event = 'SyncRep'") == 1 }
    'the same message alone once more waits for the standby as well';
$db->do('set synchronous_commit = local; alter system reset synchronous_standby_names');
$db->do('select pg_reload_conf()');
is(outcomes(@{ $driver->wait_until($slot, 'result')->{outcomes} }), 'duplicate', 'and is a duplicate afterwards');

# Locks that others hold on the inbox are the environment's.
my $session = $db->session;
$session->query('begin');
$session->query('lock table pawl.inbox in share mode');
$driver->send($slot, 0, map { good("l$_") } 1 .. 3);
is(outcomes(@{ $driver->wait_until($slot, 'result', 60)->{outcomes} }), 'unapplied+4 unapplied+4 unapplied', 'a locked inbox is charged to nobody');
$session->query('rollback');
$driver->wait_until($slot, 'ready');
is(outcomes($driver->batch($slot, map { good("l$_") } 1 .. 3)), 'done done done', 'and all are done when the lock is gone');
$session->close;

# Texts that go on behind a NUL
is(outcomes($driver->batch($slot, { id => 'n1', type => "a\0b", body => '' }, good('n2'))), 'reject done', 'a type with a NUL is rejected');
$driver->finish;
done_testing;
