#!/usr/bin/perl
# Handlers that read (READS), several in one transaction: each sees what those before it did, one that fails takes back itself alone, and
# whatever takes back the whole is done again one by one, with nobody charged.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my $db = migrated_db();
$db->do(q(alter database ") . $db->name . q(" set deadlock_timeout = '100ms'));
$db->do('create table effects (n bigserial, key text); create table seen (n bigserial, key text, what text, value text);'
	. ' create table account (id text primary key, balance int not null check (balance >= 0));'
	. ' create table late (id text, constraint once unique (id) deferrable initially deferred)');
sub driver { my ($name, %more) = @_; return Pawl::Slot->new(conninfo => $db->conninfo, consumer => $name, %more)->handler(script => Pawl::Slot::script_handler(), { kind => 'reads' }) }
sub script { my ($id, @lines) = @_; return Pawl::Slot::script($id, @lines) }
sub effect { my ($id) = @_; return [ sql => 'insert into effects (key) values ($1)', $id ] }
sub effects { my ($like) = @_; return join(' ', map { $_->[0] } $db->query("select key from effects where key like '$like' order by n")) }
sub keys_of { my ($consumer) = @_; return join(' ', map { $_->[0] } $db->query("select message_id from pawl.inbox where consumer = '$consumer' order by 1")) }
sub values_of { my ($id) = @_; return join(' ', map { $_->[0] // 'null' } $db->query("select value from seen where key = '$id' and what = 'value' order by n")) }
sub outcomes { return join(' ', map { $_->{outcome} . ($_->{code} ? ":$_->{code}" : '') } @_) }
sub transactions { my ($like) = @_; return $db->value("select count(distinct value) from seen where key like '$like' and what = 'value'") }
sub idle { my ($consumer) = @_; is($db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot $consumer' and state <> 'idle'"), 0, "$consumer: no transaction is left"); return }
my @which = ([ rows => 'select txid_current()' ]);		# the transaction that a message is in

# Good ones, bad ones, a duplicate.
{
	my $d = driver('mixed');
	my $slot = $d->ready;
	is(outcomes($d->batch($slot, script('m-known', effect('m-known')))), 'done', 'one that will come again');
	$db->do("insert into account values ('ada', 100)");
	my $spend = 'update account set balance = balance - $1::int where id = $2 returning balance';
	my @out = $d->batch($slot,
		script('m-01', @which, effect('m-01')),
		script('m-02', [ rows => $spend, 30, 'ada' ], effect('m-02')),
		script('m-03', effect('m-03'), [ rows => 'select 1 / $1::int', 0 ]),			# a query fails
		script('m-04', [ rows => 'select count(*) from effects where key like $1', 'm-0%' ]),	# sees two, and not the third
		script('m-05', [ sql => 'insert into account values ($1, -1)', 'm' ], effect('m-05')),	# an effect fails, when the next one asks
		script('m-06', [ rows => $spend, 30, 'ada' ], effect('m-06')),
		script('m-known', effect('m-known')),
		script('m-07', [ rows => $spend, 30, 'ada' ], [ fail => 3, 'no', 'never' ]),		# wrote, and says no
		script('m-08', [ rows => $spend, 30, 'ada' ], [ fail => 1, 'later', '' ]),
		script('m-09', effect('m-09'), [ sql => 'update account set balance = 0 where id = $1', 'bob' ], [ expect => 1, 3, 'no_account' ]),
		script('m-10', effect('m-10'), [ sql => 'update account set balance = 0 where id = $1', 'bob' ], [ expect => 1, 3, 'no_account' ], [ rows => 'select 1' ]),
		script('m-11', [ rows => 'select no_such_column' ], effect('m-11')),
		script('m-12', [ sql => 'insert into no_such_table values (1)' ], effect('m-12')),
		script('m-13', [ rows => 'select 1', 'x' ]),
		script('m-14', [ rows => 'commit' ]),
		script('m-15', [ rows => $spend, 100, 'ada' ]),						# more than there is
		script('m-16', [ rows => 'select balance from account where id = $1', 'ada' ], @which, [ emit => 'a', 'b', 'M', '{}' ]),
		script('m-17'),
		script('m-18', effect('m-18')),
		script('m-19', [ sql => 'insert into account values ($1, -1)', 'm' ]));			# an effect fails at the commit
	is(outcomes(@out), 'done done reject:sql_22012 done retry:sql_23514 done duplicate reject:no retry:later reject:no_account reject:no_account'
		. ' retry:sql_42703 retry:sql_42P01 reject:bad_statement reject:bad_statement retry:sql_23514 done done done retry:sql_23514', 'each its own outcome');
	like($out[2]{text}, qr/division by zero; let the publisher send a value that fits, or mend the statement; in: select 1/, 'and reason');
	like($out[4]{text}, qr/account_balance_check"; mend the data, or let the statement allow for it; in: insert into account/, 'of what was sent with another message\'s query');
	is(effects('m-%'), 'm-known m-01 m-02 m-06 m-18', 'effects of those that are done');
	is(keys_of('mixed'), 'm-01 m-02 m-04 m-06 m-16 m-17 m-18 m-known', 'and their keys');
	is(values_of('m-04'), 2, 'a message sees the effects of those before it, but of those that failed');
	is(values_of('m-02') . ' ' . values_of('m-06'), '70 40', 'payments add up');
	is((split(/ /, values_of('m-16')))[0], 40, 'and those that were taken back are');
	is(outcomes($d->batch($slot, script('o-1', @which), script('o-2', [ fail => 3, 'no', '' ]), script('o-3', @which), script('o-4', [ sql => 'update account set balance = 0 where id = $1', 'bob' ], [ expect => 1, 3, 'no_account' ]),
		script('o-5', [ rows => 'select no_such_column' ]), script('o-6', @which))), 'done reject:no done reject:no_account retry:sql_42703 done', 'verdicts and bad statements');
	is(transactions('o-%'), 1, 'leave the others in one transaction');
	# What cannot be done twice in a transaction can be done alone, and in order.
	my @temporary = ([ sql => 'create temporary table once (a int) on commit drop' ], [ query => 'select 1' ]);
	is(outcomes($d->batch($slot, map { script("t-$_", @temporary, effect("t-$_")) } 1 .. 3)), 'done done done', 'temporary tables of one name');
	is(effects('t-%'), 't-1 t-2 t-3', 'in order');
	is($db->value("select count(*) from pawl.outbox where type = 'M'"), 1, 'an event');
	idle('mixed');
	is(outcomes($d->batch($slot, map { script($_, effect($_)) } qw(m-03 m-05 m-01))), 'done done duplicate', 'those that failed can be done');

	is(outcomes($d->batch($slot, map { script("n-$_", [ rows => $spend, 30, 'ada' ], [ fail => 3, 'no', '' ]) } 1 .. 3)), 'reject:no reject:no reject:no', 'nobody is done');
	is($db->value("select balance from account where id = 'ada'") . keys_of('mixed') =~ /n-/, '40', 'nothing has happened');
	idle('mixed');

	# Of two with one key the second is a duplicate only if the first is done.
	is(outcomes($d->batch($slot, script('k-1', effect('k-1')), script('k-1', effect('k-1')), script('k-2', [ fail => 1, 'later', '' ]), script('k-2', effect('k-2')), script('k-3', effect('k-3')))),
		'done duplicate retry:later done done', 'the same key twice');
	is(effects('k-%'), 'k-1 k-2 k-3', 'once each');
	is(outcomes($d->batch($slot, map { script($_, effect($_)) } qw(k-1 k-2 k-3))), 'duplicate duplicate duplicate', 'all of them known');
	$d->finish;
}

# What ends a transaction early, or keeps a message out of it.
{
	my $d = driver('apart');
	my $slot = $d->ready;
	is(outcomes($d->batch($slot, script('a-1', @which), script('a-2', [ query => 'select pg_sleep(0.15)' ], @which), script('a-3', @which, effect('a-3')), script('a-4', @which))), 'done done done done', 'a slow one');
	isnt(values_of('a-2'), values_of('a-3'), 'ends the transaction');
	is(values_of('a-1') . values_of('a-3'), values_of('a-2') . values_of('a-4'), 'for those behind it there is another one');
	is(keys_of('apart'), 'a-1 a-2 a-3 a-4', 'each has its key');

	my @many = map { script("many-$_", @which) } 1 .. 70;
	is(scalar(grep { $_->{outcome} eq 'done' } $d->batch($slot, @many)), 70, 'a large batch');
	is(transactions('many-%'), 3, 'is done in three transactions: 64 savepoints in one would cost all the others');

	my @setting = ([ rows => "select current_setting('lock_timeout')" ]);
	is(outcomes($d->batch($slot, script('s-1', @setting), script('s-2', [ sql => "set local lock_timeout = '7s'" ], @setting), script('s-3', @setting), script('s-4', [ sql => "set local lock_timeout = '8s'" ]), script('s-5', @setting))),
		'done done done done done', 'settings of the transaction');
	is(join(' ', map { values_of("s-$_") } 1 .. 5), '15s 7s 15s  15s', 'concern their message alone');

	# A failure at the commit names nobody: one by one then.
	is(outcomes($d->batch($slot, map { my $id = $_; script("c-$id", [ sql => 'insert into late values ($1)', $id == 3 ? 'c-2' : "c-$id" ], @which) } 1 .. 4)), 'done done retry:sql_23505 done', 'a constraint that is looked at in the end');
	is($db->value("select string_agg(id, ' ' order by id) from late"), 'c-1 c-2 c-4', 'effects of the others');
	is(transactions('c-%'), 3, 'each in its own transaction');

	# What the schema made stale is prepared again for all.
	$db->do('create table wide (a int); insert into wide values (1)');
	my @wide = map { script("w-$_", [ rows => 'select * from wide' ], effect("w-$_")) } 1 .. 6;
	is(outcomes($d->batch($slot, @wide[0 .. 2])), 'done done done', 'a query');
	$db->do('alter table wide add b int default 7');
	is(outcomes($d->batch($slot, @wide[3 .. 5])), 'done done done', 'after the schema changed');
	is(join('|', values_of('w-3'), values_of('w-4'), effects('w-%')), '1|1 7|w-1 w-2 w-3 w-4 w-5 w-6', 'each once');
	idle('apart');

	# A handler that is called again may answer again.
	$db->do('create sequence tries; create function failing(code text) returns int language plpgsql as'
		. q( $$ begin if nextval('tries') % 3 <> 0 then raise exception 'again' using errcode = code; end if; return 1; end $$));
	is(outcomes($d->batch($slot, script("r-$_", [ reply => 'x' ], [ rows => 'select failing($1)', '40001' ], effect("r-$_")))), 'done', "a repeated reply ($_)") for 1 .. 2;
	is(outcomes($d->batch($slot, map { script("r-$_", [ reply => 'x' ], [ rows => 'select failing($1)', '40001' ], effect("r-$_")) } 3 .. 6)), 'done done done done', 'several that are repeated');
	is(effects('r-%'), join(' ', map { "r-$_" } 1 .. 6), 'one effect each');
	$d->finish;

	$d = driver('none', dedup => 'none');
	is(outcomes($d->batch($d->ready, (script('d-1', effect('d-1'), @which)) x 2, script('d-2', effect('d-2'), [ rows => 'select 1 / $1::int', 0 ]), script('d-3', effect('d-3'), @which))), 'done done reject:sql_22012 done', 'without keys');
	is(effects('d-%') . ' ' . transactions('d-%'), 'd-1 d-1 d-3 2', 'each is done');
	$d->finish;
}

# Rows that two slots want in opposite order.
{
	my ($batches, $size, $deadlocks, $done) = (4, 8, 0, 0);
	my $d = driver('shared');
	$d->allow_log(qr/deadlock/);
	my @slots = map { $d->ready } 1 .. 2;
	$db->do('create table counters (id int primary key, n int not null default 0); insert into counters select generate_series(0, 7)');
	for my $batch (1 .. $batches) {
		# Both stand before the row in the middle, from both ends, when it is let go.
		my $session = $db->session;
		$session->query('begin');
		$session->query('update counters set n = n where id = 4');
		for my $s (0, 1) {
			$d->send($slots[$s], 0, map { my $id = "b$batch-s$s-$_"; script($id, [ rows => 'select n from counters where id = $1 for update', $s ? 7 - $_ : $_ ],
				[ sql => 'update counters set n = n + 1 where id = $1', $s ? 7 - $_ : $_ ]) } 0 .. $size - 1);
		}
		wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot shared' and wait_event_type = 'Lock'") == 2 } 'the batches meet';
		$session->query('commit');
		$session->close;
		for my $slot (@slots) {
			my $result = $d->wait_until($slot, 'result');
			$deadlocks += $result->{deadlocks};
			$done += grep { $_->{outcome} eq 'done' } @{ $result->{outcomes} };
		}
	}
	cmp_ok($deadlocks, '>', 0, "there were deadlocks ($deadlocks)");
	is($done, 2 * $batches * $size, 'every message is done, and none failed');
	is($db->value('select sum(n) from counters'), 2 * $batches * $size, 'each once');
	idle('shared');
	$d->finish;
}

# A child that a handler forked has no say in the transaction.
{
	my $d = driver('forked');
	my $slot = $d->ready;
	is(outcomes($d->batch($slot, script('fk-1', effect('fk-1')), script('fk-2', ['fork'], [ rows => 'select 1' ], effect('fk-2')), script('fk-3', [ rows => 'select 1' ]))), 'done done done', 'a handler that forks and asks in both');
	is(effects('fk-%'), 'fk-1 fk-2', 'each effect once');
	$d->finish;
}

# A session that ends in the middle, and a slot that is killed at its worst moments.
{
	my $d = driver('lost');
	my $slot = $d->ready;
	$d->allow_log(qr/terminat/);
	my @messages = map { script("l-$_", effect("l-$_"), [ rows => 'select 1' ]) } 1 .. 4;
	is(outcomes($d->batch($slot, @messages[0, 1], script('l-5', [ rows => 'select pg_terminate_backend(pg_backend_pid())' ]), @messages[2, 3])), join(' ', ('unapplied') x 5), 'the session is ended');
	is(effects('l-%') . keys_of('lost'), '', 'nothing is done');
	$d->wait_until($slot, 'ready');
	is(outcomes($d->batch($slot, @messages)), 'done done done done', 'the next session does it');

	# It fails, and ends the session when it has a transaction of its own: those behind it had spoken already, and are not heard.
	$db->do(q(create sequence deaths; create function dying() returns void language plpgsql as $$ begin)
		. q( if nextval('deaths') = 1 then raise exception 'not yet'; end if; perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); end $$));
	is(outcomes($d->batch($slot, script('y-1', effect('y-1')), script('y-2', [ sql => 'select dying()' ]), script('y-3', [ fail => 3, 'no', '' ]), script('y-4', [ rows => 'select 1' ], effect('y-4')), script('y-5', effect('y-5')))),
		'done unapplied unapplied unapplied unapplied', 'it is lost with one message');
	is(effects('y-%'), 'y-1', 'what was before that is done');
	$d->wait_until($slot, 'ready');
	is(outcomes($d->batch($slot, script('y-1', effect('y-1')), script('y-3', [ fail => 3, 'no', '' ]), script('y-4', effect('y-4')))), 'duplicate reject:no done', 'the others go on');
	is(outcomes($d->batch($slot, map { script("z-$_", [ sql => 'insert into account values ($1, $2)', "z-$_", $_ % 5 ? -1 : 1 ]) } 1 .. 30)), join(' ', ('retry:sql_23514 ' x 4 . 'done') x 6), 'many that fail');
	$d->finish;
}
for my $case (Pawl::Program::built_with('PAWL_FAULTS') ? ([ 'slot.in_handler', '', '@3' ], [ 'slot.before_commit', '' ], [ 'slot.after_commit', 'f-1 f-2 f-3' ]) : ()) {
	my ($point, $applied, $when) = (@$case, '');
	my $consumer = "f-$point";
	my $first = driver($consumer, env => { PAWL_FAULT => "$point:kill$when" });
	my $second = driver($consumer);
	my @messages = map { script("f-$_", [ rows => 'select 1' ], effect("$consumer-$_")) } 1 .. 3;
	my $slot = $first->ready;
	$first->send($slot, 0, @messages);
	like($first->wait($slot)->{text}, qr/^was killed by SIGKILL/, "$point: the slot is killed there");
	$first->{ended}{$slot} = 1;
	wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot $consumer'") == 0 } "$point: its backend goes";
	is(keys_of($consumer), $applied, "$point: what is applied by then");
	is(outcomes($second->batch($second->ready, @messages)), join(' ', ($applied ? 'duplicate' : 'done') x 3), "$point: another slot gets the same");
	is(effects("$consumer-%"), join(' ', map { "$consumer-$_" } 1 .. 3), "$point: done once");
	$_->finish for $first, $second;
}
done_testing;
