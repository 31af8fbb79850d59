#!/usr/bin/perl
# Each way in which a message can fail in the database, in the middle of a batch of 200: it is taken out, the others are done.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my $db = migrated_db();
$db->do(<<'EOS');
create table effects (n bigserial, key text);
create table u (id int primary key, note text check (note <> 'bad'));
create table parent (id int primary key);
create table child (id int, parent int references parent deferrable initially deferred);
create table locked (id int primary key, n int default 0);
insert into u values (1), (2);
insert into locked values (1), (2);
create function raise_it(code text) returns void language plpgsql as $$ begin raise exception 'raised on purpose' using errcode = code; end $$;
EOS
my $driver = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'f', timeout_ms => 3000)->handler(script => Pawl::Slot::script_handler());
$driver->allow_log(qr/deadlock detected/);
my $slot = $driver->ready;
my $serial = 0;
sub good { my ($id, @more) = @_; return Pawl::Slot::script($id, [ sql => 'insert into effects (key) values ($1)', $id ], @more) }

# 200 messages, these at 70, 71 ...: what became of those; the others have to be done, each with one effect.
sub in_the_middle
{
	my ($name, @bad) = @_;
	my $round = 'r' . ++$serial;
	my @messages = map { good("$round-$_") } 0 .. 199;
	splice(@messages, 70, scalar @bad, map { good("$round-bad$_", @{ $bad[$_] }) } 0 .. $#bad);
	my $result = $driver->result($slot, 0, @messages);
	my @outcomes = @{ $result->{outcomes} };
	my @taken = splice(@outcomes, 70, scalar @bad);
	my @wrong = grep { $_->{outcome} ne 'done' } @outcomes;
	is(scalar(@wrong), 0, "$name: all others are done") or diag(map { "$_->{outcome} $_->{code} $_->{text}\n" } @wrong[0 .. ($#wrong > 3 ? 3 : $#wrong)]);
	my $done = 200 - grep { $_->{outcome} ne 'done' } @taken;
	$done -= @wrong;
	is($db->value("select count(*), count(distinct key) from effects where key like '$round-%'"), "$done\x1f$done", "$name: one effect each");
	is($db->value("select count(*) from pawl.inbox where message_id like '$round-%'"), $done, "$name: one key each");
	return wantarray ? (\@taken, $result) : \@taken;
}

sub ends
{
	my ($name, $lines, $outcome, $code, $text) = @_;
	my ($o) = @{ in_the_middle($name, $lines) };
	is("$o->{outcome} $o->{code}", "$outcome $code", "$name: the message ends as it should") or diag $o->{text};
	like($o->{text}, $text, "$name: the text says why") if $text;
	return;
}

ends('22 data', [ [ sql => 'insert into u values ($1)', 'x' ] ], 'reject', 'sql_22P02', qr/invalid input syntax for type integer: "x"; let the publisher send a value that fits, or mend the statement; in: insert into u/);
ends('23 duplicate key', [ [ sql => 'insert into u values ($1)', 1 ] ], 'retry', 'sql_23505', qr/Key \(id\)=\(1\) already exists.*constraint "u_pkey"; mend the data, or let the statement allow for it; in: /);
ends('23 check', [ [ sql => 'update u set note = $1 where id = 2', 'bad' ] ], 'retry', 'sql_23514', qr/u_note_check/);
ends('42 no such table', [ [ sql => 'insert into nowhere values ($1)', 1 ] ], 'retry', 'sql_42P01', qr/nowhere.*; run the migration that is missing, or mend the statement; in: /);
ends('42 when it runs', [ [ sql => q(select raise_it('42703')) ] ], 'retry', 'sql_42703');
ends('42601 syntax', [ [ sql => 'insrt into u' ] ], 'reject', 'bad_statement', qr/insrt/);
ends('P0 raise', [ [ sql => q(select raise_it('P0001')) ] ], 'retry', 'sql_P0001', qr/raised on purpose; mend the statement, or what it calls; in: /);
ends('own class', [ [ sql => q(select raise_it('QQ123')) ] ], 'retry', 'sql_QQ123');
ends('57014 too slow', [ [ sql => 'select pg_sleep(20)' ] ], 'retry', 'timeout', qr/statement timeout/);
ends('40001 five times', [ [ sql => q(select raise_it('40001')) ] ], 'retry', 'sql_40001', qr/; make the transactions that are in its way shorter; in: /);
ends('40P01 again and again', [ [ sql => q(select raise_it('40P01')) ] ], 'retry', 'sql_40P01');
ends('25P02 and the like', [ [ sql => q(select raise_it('54000')) ] ], 'retry', 'sql_54000');
ends('wrong number of rows', [ [ sql => 'update u set note = $1 where id = 77', 'x' ], [ expect => 1, 3, 'no_row' ] ], 'reject', 'no_row', qr/expected 1 rows, and the statement touched 0; in: update u/);
ends('wrong number of rows, retry', [ [ sql => 'update u set note = $1', 'x' ], [ expect => 1, 1, 'many' ] ], 'retry', 'many', qr/touched 2/);
is($db->value('select count(*) from u where note is not null'), 0, 'and what they touched is as it was');
{
	my ($o) = @{ in_the_middle('right number of rows', [ [ sql => 'update u set note = $1 where id = 1', 'x' ], [ expect => 1, 3, 'no_row' ] ]) };
	is($o->{outcome}, 'done', 'a number that is right is done');
}

# More than three: message by message.
{
	my $bad = [ sql => 'insert into u values ($1)', 'x' ];
	my $taken = in_the_middle('three failures', ([ $bad ]) x 3);
	is(join(' ', map { $_->{outcome} } @$taken), 'reject reject reject', 'three are taken out');
	$taken = in_the_middle('eight failures', ([ $bad ]) x 4, ([ [ sql => 'insert into u values ($1)', 1 ] ]) x 4);
	is(join(' ', map { "$_->{outcome}" } @$taken), 'reject reject reject reject retry retry retry retry', 'eight, message by message');
	# The same key in a batch that goes message by message.
	my @messages = (map { good("mm$_", $bad) } 1 .. 5);
	my @out = $driver->batch($slot, @messages, good('mm-a'), good('mm-a', $bad), good('mm-a'), good('mm-b', $bad), good('mm-b'), good('mm-b'));
	is(join(' ', map { $_->{outcome} } @out[5 .. 10]), 'done duplicate duplicate reject done duplicate', 'duplicates, message by message');
	is($db->value(q(select count(*) from effects where key in ('mm-a', 'mm-b'))), 2, 'one effect each');
}

# What shows only at COMMIT.
{
	my ($taken, $result) = in_the_middle('deferred constraint', [ [ sql => 'insert into child values (1, $1)', 99 ] ]);
	is("$taken->[0]{outcome} $taken->[0]{code}", 'retry sql_23503', 'a failure at COMMIT is found, message by message');
	is($db->value('select count(*) from child'), 0, 'and nothing of it stays');
}

# 55P03: repeated, and then done when the lock goes.
{
	my $session = $db->session;
	$session->query('begin');
	$session->query('select * from locked where id = 1 for update');
	my @messages = map { good("lock-$_") } 0 .. 199;
	$messages[70] = good('lock-70', [ sql => 'update locked set n = n + 1 where id = 1' ]);
	$driver->send($slot, 0, @messages);
	my $waits = "select xact_start from pg_stat_activity where application_name = 'pawl-slot f' and wait_event_type = 'Lock'";
	my $first = wait_for { $db->value($waits) } 'the message waits for a lock';
	wait_for { my $again = $db->value($waits); $again && $again ne $first } 'until its lock_timeout; then it is tried again';
	$session->query('rollback');
	my @out = @{ $driver->wait_until($slot, 'result')->{outcomes} };
	is(scalar(grep { $_->{outcome} eq 'done' } @out), 200, '55P03 is repeated, until the lock is gone');
	is($db->value('select n from locked where id = 1'), 1, 'and done once');
	$session->close;
}

# 40P01, provoked with a session that is not of ours.
{
	my $session = $db->session;
	$session->query(q(set deadlock_timeout = '10min'));
	$session->query('begin');
	$session->query('update locked set n = 0 where id = 2');
	my @messages = map { good("dead-$_") } 0 .. 199;
	$messages[70] = good('dead-70', [ sql => 'update locked set n = n + 1 where id = 1' ], [ sql => 'update locked set n = n + 1 where id = 2' ]);
	$driver->send($slot, 0, @messages);
	wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot f' and wait_event_type = 'Lock'") } 'the slot waits for the other';
	$session->query('update locked set n = 10 where id = 1');	# the slot is the victim: its deadlock_timeout is the shorter one
	$session->query('commit');
	my $result = $driver->wait_until($slot, 'result');
	is(scalar(grep { $_->{outcome} eq 'done' } @{ $result->{outcomes} }), 200, '40P01: again at once, all are done');
	cmp_ok($result->{deadlocks}, '>=', 1, 'the runner learns of it');	# more if it was quicker than the other after its rollback
	is($db->value(q(select string_agg(n::text, ' ' order by id) from locked)), '11 1', 'each effect once');
	$session->close;
	$session = $db->session;
	$session->query('begin');
	$session->query(q(select pg_advisory_xact_lock(hashtextextended('pawl.serialize:f', 0))));
	$driver->send($slot, 0, good('after'));
	wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot f' and wait_event = 'advisory'") } 'for a while batches take the lock of the queue first';
	$session->query('commit');
	is($driver->wait_until($slot, 'result')->{outcomes}[0]{outcome}, 'done', 'and go on when it is theirs');
	my $other = $driver->ready;
	$session->query('begin');
	$session->query(q(select pg_advisory_xact_lock(hashtextextended('pawl.serialize:f', 0))));
	is(($driver->batch($other, good('other1')))[0]{outcome}, 'done', 'a slot that knows of no deadlock does not');
	$driver->command('serialize', $other, 60000);
	$driver->send($other, 0, good('other2'));
	wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot f' and wait_event = 'advisory'") } 'until the runner says so on the desk';
	$session->query('commit');
	is($driver->wait_until($other, 'result')->{outcomes}[0]{outcome}, 'done', 'and goes on');
	$session->close;
}
{
	# A claim that cannot be had: its holder never ends. The message fails, the others do not.
	my $session = $db->session;
	$session->query('begin');
	$session->query("insert into pawl.inbox (consumer, message_id) values ('quick', 'held')");
	$driver->set(consumer => 'quick', timeout_ms => 200);
	my $quick = $driver->ready;
	my @out = $driver->batch($quick, good('q1'), good('held'), good('q2'));
	is(join(' ', map { $_->{outcome} } @out), 'done unapplied done', 'a key that somebody holds for ever stops nobody else');
	is($out[1]{flags}, 4, 'and its message is not charged for it: it goes out again, alone');
	$session->query('rollback');
	$session->close;
}

$driver->finish;
done_testing;
