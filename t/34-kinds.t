#!/usr/bin/perl
# Handlers that read (READS) and that act outside (EXTERNAL): what they see, and that effects happen once, whatever fails.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my $db = migrated_db();
$db->do('create table effects (n bigserial, key text); create table seen (n bigserial, key text, what text, value text);'
	. ' create table account (id text primary key, balance int not null check (balance >= 0))');
my $acts = tmp_dir() . '/acts';
my $serial = 0;
sub driver
{
	my ($kind, %more) = @_;
	my $name = delete $more{consumer} // $kind;
	return Pawl::Slot->new(conninfo => $db->conninfo, consumer => $name, %more)->handler(script => Pawl::Slot::script_handler(), { kind => $kind });
}
sub script { my ($id, @lines) = @_; return Pawl::Slot::script($id, @lines) }
sub seen { my ($id) = @_; return join(' ', map { "$_->[1]=" . ($_->[2] // 'null') } $db->query("select n, what, value from seen where key = '$id' order by n")) }
sub acts { my ($id) = @_; return -e $acts ? scalar grep { $_ eq $id } split(/\n/, read_file($acts)) : 0 }
sub effects { my ($id) = @_; return $db->value("select count(*) from effects where key = '$id'") }
sub known { my ($id) = @_; return $db->value("select count(*) from pawl.inbox where message_id = '$id'") }
sub effect { my ($id) = @_; return [ sql => 'insert into effects (key) values ($1)', $id ] }
sub is_out { my ($out, $what, $name) = @_; is(join(' ', grep { defined && $_ ne '' } @$out{qw(outcome code)}), $what, $name) or diag($out->{text}); return }
sub locks { return $db->value("select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())") }

for my $kind (qw(reads external)) {
	my $d = driver($kind);
	my $slot = $d->ready;
	my $id = sub { return "$kind-" . ++$serial };
	my $m = $id->();

	my ($out) = $d->batch($slot, script($m, [ rows => 'select $1::int + 1, null, $2', '41', 'x' ], effect($m), [ act => $acts ]));
	is_out($out, 'done', "$kind: a message that reads and writes");
	is(seen($m), 'rows=1 columns=3 value=42 value=null value=x', "$kind: what it reads");
	is(effects($m) . known($m) . acts($m), '111', "$kind: its effect, its key");
	($out) = $d->batch($slot, script($m, effect($m), [ act => $acts ]));
	is_out($out, 'duplicate', "$kind: once more");
	is(effects($m) . acts($m), '11', "$kind: a duplicate does not reach the handler");

	$m = $id->();
	is_out(($d->batch($slot, script($m, effect($m), [ fail => 3, 'no', 'never' ])))[0], 'reject no', "$kind: a rejected one");
	is_out(($d->batch($slot, script($m, effect($m), [ fail => 1, 'later', '' ])))[0], 'retry later', "$kind: one that shall come again");
	is(effects($m) . known($m), '00', "$kind: neither has an effect or leaves its key");
	is_out(($d->batch($slot, script($m, effect($m))))[0], 'done', "$kind: and can be done later");

	$m = $id->();
	is_out(($d->batch($slot, script($m, effect($m), [ rows => 'select 1 / $1::int', '0' ], effect($m))))[0], 'reject sql_22012', "$kind: a query that fails");
	is_out(($d->batch($slot, script($m, [ rows => 'select no_such_column' ], [ return => 0 ])))[0], 'retry sql_42703', "$kind: one that cannot be prepared");
	is_out(($d->batch($slot, script($m, [ rows => 'select $1' ], [ return => 0 ])))[0], 'reject bad_statement', "$kind: one with a parameter too few");
	is_out(($d->batch($slot, script($m, [ rows => 'commit' ], [ return => 0 ])))[0], 'reject bad_statement', "$kind: one that is refused");
	is_out(($d->batch($slot, script($m, [ rows => 'select 1; select 2' ], [ return => 0 ])))[0], 'reject bad_statement', "$kind: two in one");
	is_out(($d->batch($slot, script($m, [ query => undef ], [ return => 0 ])))[0], 'reject bad_statement', "$kind: none at all");
	is_out(($d->batch($slot, script($m, effect($m), [ sql => 'insert into account values ($1, -1)', $m ])))[0], 'retry sql_23514', "$kind: an effect that fails");
	is_out(($d->batch($slot, script($m, [ sql => 'update account set balance = 0 where id = $1', 'nobody' ], [ expect => 1, 3, 'no_account' ])))[0],
		'reject no_account', "$kind: an expectation that is not met");
	is(effects($m) . known($m), '00', "$kind: none of these had an effect");
	is_out(($d->batch($slot, script($m, [ rows => 'select 1' ], effect($m), [ sql => 'update account set balance = 0 where false' ], [ expect => 0, 3, 'x' ], [ emit => 'a', 'b', 'T', '{}' ])))[0],
		'done', "$kind: the session is good afterwards");
	is(effects($m) . $db->value("select count(*) from pawl.outbox where type = 'T'"), $kind eq 'reads' ? '11' : '12', "$kind: effects and events");

	# Several in a batch are done one by one; the same key twice.
	$m = $id->();
	is(join(' ', map { $_->{outcome} } $d->batch($slot, script("$m-a", effect($m)), script("$m-b", [ fail => 3, 'x', '' ]), script("$m-a", effect($m)), script("$m-c", effect($m)))),
		'done reject duplicate done', "$kind: several at once");
	is(effects($m), 2, "$kind: each once");
	is(locks(), 0, "$kind: no lock is left");
	$d->finish;

	$d = driver($kind, dedup => 'none', consumer => "$kind-none");
	$m = $id->();
	is(join(' ', map { $_->{outcome} } $d->batch($d->ready, (script($m, [ rows => 'select 1' ], effect($m))) x 2)), 'done done', "$kind: without keys each is done");
	is(effects($m) . known($m), '20', "$kind: twice");
	$d->finish;
}

# READS: a query sees what was recorded before it, inside the transaction, and a payment cannot be made twice.
{
	my $d = driver('reads', consumer => 'pay');
	my $slot = $d->ready;
	$db->do("insert into account values ('ada', 100)");
	my ($out) = $d->batch($slot, script('pay-1', [ sql => 'update account set balance = balance - 30 where id = $1', 'ada' ], [ expect => 1, 3, 'x' ],
		[ rows => 'select balance from account where id = $1', 'ada' ]));
	is_out($out, 'done', 'a payment');
	is(seen('pay-1'), 'rows=1 columns=1 value=70', 'the query sees it');
	is_out(($d->batch($slot, script('pay-2', [ sql => 'update account set balance = balance - 30 where id = $1', 'bob' ], [ expect => 1, 3, 'no_account' ], [ rows => 'select 1' ], effect('pay-2'))))[0],
		'reject no_account', 'an expectation is looked at before the query');
	is(effects('pay-2'), 0, 'and nothing comes of it');

	# A deadlock and a failed serialization run the handler again.
	$db->do('create sequence tries; create function failing(code text) returns int language plpgsql as'
		. q( $$ begin if nextval('tries') % 3 <> 0 then raise exception 'again' using errcode = code; end if; return 1; end $$));
	for my $code (qw(40P01 40001)) {
		is_out(($d->batch($slot, script("pay-$code", effect("pay-$code"), [ rows => 'select failing($1)', $code ])))[0], 'done', "$code: repeated");
		is(effects("pay-$code"), 1, "$code: one effect");
	}
	is_out(($d->batch($slot, script('pay-read', [ rows => 'select txid_current() > 0' ])))[0], 'done', 'a query may be anything');
	$d->finish;
}

# EXTERNAL: queries only read; who is at it keeps others away; no transaction is open while the handler runs.
{
	my ($one, $two) = map { driver('external', consumer => 'ext') } 1 .. 2;
	my ($first, $second) = ($one->ready, $two->ready);
	is_out(($one->batch($first, script('ext-w', [ rows => 'insert into effects (key) values ($1) returning key', 'ext-w' ])))[0], 'reject read_only', 'a query that writes');
	is(effects('ext-w'), 0, 'has not written');
	my $go = tmp_dir() . '/go';
	$one->send($first, 0, script('ext-1', [ act => $acts ], [ until => $go ], effect('ext-1')));
	wait_for { acts('ext-1') } 'one is acting';
	is($db->value("select state from pg_stat_activity where application_name = 'pawl-slot ext' order by state_change desc limit 1"), 'idle', 'no transaction is open');
	my ($out) = $two->batch($second, script('ext-1', [ act => $acts ], effect('ext-1')));
	is($out->{outcome}, 'unapplied', 'another one that has the same key waits');
	is($out->{flags} & 8, 8, 'because it is busy');
	is_out(($two->batch($second, script('ext-2', effect('ext-2'))))[0], 'done', 'other keys flow');
	write_file($go, '');
	is_out($one->wait_until($first, 'result')->{outcomes}[0], 'done', 'the first comes to its end');
	is_out(($two->batch($second, script('ext-1', [ act => $acts ], effect('ext-1'))))[0], 'duplicate', 'then it is a duplicate for the other');
	is(acts('ext-1') . effects('ext-1'), '11', 'one act, one effect');
	is_out(($one->batch($first, script('ext-3', [ field_if => '/a' ], [ act_unless_failed => $acts ])))[0], 'reject bad_body', 'an error sticks');
	is(acts('ext-3'), 0, 'and who asks does not act');
	is_out(($one->batch($first, script('ext-4', [ act_unless_failed => $acts ])))[0], 'done', 'without one');
	is(acts('ext-4'), 1, 'it acts');
	is(locks(), 0, 'no lock is left');
	$_->finish for $one, $two;
}

# The schema changes under a prepared query: prepared again, the handler called again, nobody charged. A batch of several is done one by one.
for my $kind (qw(reads external)) {
	my $d = driver($kind, consumer => "$kind-stale");
	my $slot = $d->ready;
	$db->do('create table wide (a int); insert into wide values (1)');
	my @wide = map { script("$kind-wide-$_", [ rows => 'select * from wide' ], effect("$kind-wide-$_")) } 1 .. 2;
	is_out(($d->batch($slot, $wide[0]))[0], 'done', "$kind: a query");
	$db->do('alter table wide add b int default 7');
	is_out(($d->batch($slot, $wide[1]))[0], 'done', "$kind: after the schema changed");
	is(seen("$kind-wide-2") . ' ' . effects("$kind-wide-2"), 'rows=1 columns=2 value=1 value=7 1', "$kind: sees the new column, one effect");
	$db->do('drop table wide');
	my @several = map { script("$kind-several-$_", [ rows => 'select 1' ], effect("$kind-several")) } 1 .. 3;
	is(join(' ', map { $_->{outcome} } $d->batch($slot, @several, $several[1])), 'done done done duplicate', "$kind: several in one batch");
	is(effects("$kind-several"), 3, "$kind: each once");
	is($db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot $kind-stale' and state <> 'idle'"), 0, "$kind: no transaction is left");
	is(locks(), 0, "$kind: nor a lock");
	$d->finish;
}

# Killed at the worst moments.
if (Pawl::Program::built_with('PAWL_FAULTS')) {
	for my $case (map { my $kind = $_; map { [ $kind, @$_ ] } [ 'slot.in_handler', 0 ], [ 'slot.before_commit', 0 ], [ 'slot.after_commit', 1 ], [ 'slot.before_result', 1 ] } qw(reads external)) {
		my ($kind, $point, $applied) = @$case;
		my $consumer = "$kind-$point";
		my $first = driver($kind, consumer => $consumer, env => { PAWL_FAULT => "$point:kill" });
		my $second = driver($kind, consumer => $consumer);
		my @message = script($consumer, [ rows => 'select 1' ], effect($consumer));
		my $slot = $first->ready;
		$first->send($slot, 0, @message);
		like($first->wait($slot)->{text}, qr/^was killed by SIGKILL/, "$consumer: the slot is killed there");
		$first->{ended}{$slot} = 1;
		wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot $consumer'") == 0 } "$consumer: its backend goes";
		is(effects($consumer), $applied, "$consumer: what is applied by then");
		is_out(($second->batch($second->ready, @message))[0], $applied ? 'duplicate' : 'done', "$consumer: another slot gets the same");
		is(effects($consumer), 1, "$consumer: done once");
		is(locks(), 0, "$consumer: no lock is left");
		$_->finish for $first, $second;
	}
}

# A child that a handler forked has no say.
{
	my $d = driver('external', consumer => 'forked');
	my $slot = $d->ready;
	is_out(($d->batch($slot, script('forked', ['fork'], [ rows => 'select 1' ], effect('forked'))))[0], 'done', 'a handler that forks and asks in both');
	is_out(($d->batch($slot, script('forked', effect('forked'))))[0], 'duplicate', 'its session goes on');
	is(effects('forked'), 1, 'one effect');
	$d->finish;
}

# A session that ends in the middle charges nobody; the next one does it.
for my $kind (qw(reads external)) {
	my $d = driver($kind, consumer => "$kind-lost");
	my $slot = $d->ready;
	$d->allow_log(qr/terminat/);
	my ($out) = $d->batch($slot, script("$kind-lost", effect("$kind-lost"), [ rows => "select pg_terminate_backend(pg_backend_pid()), count(*) from effects where key = '$kind-gone'" ]));
	is($out->{outcome}, 'unapplied', "$kind: its session is ended under it");
	is(effects("$kind-lost") . known("$kind-lost"), '00', "$kind: nothing is done");
	$d->wait_until($slot, 'ready');
	is_out(($d->batch($slot, script("$kind-lost", effect("$kind-lost"))))[0], 'done', "$kind: the next session does it");
	is(locks(), 0, "$kind: no lock is left");
	$d->finish;
}

# A handler ends its slot's session when it has acted: nobody is charged, but next time it is alone.
for my $kind (qw(effects reads external)) {
	my $d = driver($kind, consumer => "$kind-shut");
	my $slot = $d->ready;
	$d->allow_log(qr/terminat/);
	for my $session (1, 2) {
		my ($out) = $d->batch($slot, script("$kind-shut", ['shutdown'], effect("$kind-shut")));
		is("$out->{outcome} " . ($out->{flags} & 4), 'unapplied 4', "$kind: its handler shuts session $session down");
		$d->wait_until($slot, 'ready');
	}
	is(effects("$kind-shut") . known("$kind-shut"), '00', "$kind: nothing is done");
	if ($kind eq 'effects') {	# found before the transaction: is what a handler refuses done already?
		my @out = $d->batch($slot, script('shut-1', ['shutdown'], effect('shut-1')), script('shut-2', [ fail => 3, 'no', 'never' ]), script('shut-3'));
		is(join(' ', map { "$_->{outcome} " . ($_->{flags} & 4) } @out), 'unapplied 4 unapplied 4 unapplied 4', 'one that refuses a message behind it');
		$d->wait_until($slot, 'ready');
		(@out) = $d->batch($slot, script('shut-1', ['shutdown'], [ fail => 3, 'no', 'never' ]));
		is("$out[0]{outcome} " . ($out[0]{flags} & 4), 'unapplied 4', 'or refuses its own');
		$d->wait_until($slot, 'ready');
	}
	$d->finish;
}

# A handler closes its slot's socket to the database, and asks.
for my $kind (qw(reads external)) {
	my $d = driver($kind, consumer => "$kind-closed");
	my $slot = $d->ready;
	$d->allow_log(qr/exited with 70/);
	$d->send($slot, 0, script("$kind-closed", ['close'], [ rows => 'select 1' ]));
	like($d->wait($slot)->{text}, qr/^exited with 70/, "$kind: its handler closes the session and asks");
	$d->{ended}{$slot} = 1;
	$d->finish;
}

# A kind that is none.
{
	my $d = driver('nonsense');
	my $answer = $d->wait($d->spawn);
	is($answer->{is}, 'refused', 'an unknown kind is refused');
	like($answer->{text}, qr/handler "script": its kind is 9, and there are PAWL_EFFECTS \(0\), PAWL_READS \(1\), PAWL_EXTERNAL \(2\)/, 'and both are told');
}
done_testing;
