#!/usr/bin/perl
# The doorbell: the first event after a silence is read at once, writers notify while the relay sleeps and not else, and nothing is slept over.
# poll_max is so long that nothing but a ring explains an event that comes soon.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;
use Time::HiRes qw(time);

my $soon = 5 * ($ENV{PAWL_TEST_SLOW} || 1);
my $o = Pawl::Outbox->new(outbox => 'doorbell = true; poll_max = "1m";');
my $db = $o->db;
my $writer = $db->session;
my $watcher = $db->session;
sub sleepers { return $db->column(q(select pid from pg_locks where locktype = 'advisory' and classid = 1885435756 and mode = 'ExclusiveLock' and granted
	and database = (select oid from pg_database where datname = current_database()))) }
sub reads { return outbox_status($o->{config}, q(orders))->{reads} }
sub asleep { my ($what) = @_; wait_for { sleepers() == 1 } $what // 'the relay sleeps'; return }

# The relay without the trigger, and the trigger.
{
	my $check = run_program('pawlctl', 'check', '-c', $o->{config});
	is($check->{status}, 0, 'a doorbell without its trigger is no error');
	my $told = q(doorbell: table pawl.outbox has no trigger pawl_doorbell that is on, so nothing rings; run as its owner: select pawl.doorbell('pawl.outbox'));
	like($check->{err}, qr/outboxes\.orders: \Q$told\E$/m, 'but pawlctl check tells');
	my $relay = $o->relay;
	$relay->wait_log(qr/\Q$told\E/);
	$relay->wait_log(qr/leading: /);
	is(sleepers(), 0, 'it does not sleep');
	$relay->stop;
	$db->do("select pawl.doorbell('pawl.outbox')") for 1, 2;
	unlike(run_program('pawlctl', 'check', '-c', $o->{config})->{err}, qr/doorbell/, 'a table that has it is good');
	(my $without = read_file($o->{config})) =~ s/doorbell = true;//;
	like(run_program('pawlctl', 'check', '-c', write_file('without.conf', $without))->{err},
		qr/outboxes\.orders: table pawl\.outbox has a trigger pawl_doorbell, which is of use only with doorbell = true/, 'one that nobody hears is told, too');
	$db->do('alter table pawl.outbox disable trigger pawl_doorbell');
	like(run_program('pawlctl', 'check', '-c', $o->{config})->{err}, qr/no trigger pawl_doorbell that is on/, 'and one that is off');
	$db->do('alter table pawl.outbox enable trigger pawl_doorbell');
}

my $relay = $o->relay;
my $consumer = $o->vhost->connect;
$consumer->consume('all', 1000, 1);
my $n = 0;
sub insert { return Pawl::Outbox::emit_sql('a' . ++$n % 10, $n) }
sub comes
{
	my ($what) = @_;
	my $message = $consumer->next_delivery($soon);
	my $got = $message ? ($message->{body} =~ /"n": (\d+)/)[0] : 'nothing';
	return $what ? is($got, $n, $what) : $got eq $n;
}
my $channel = 'pawl_' . $db->value("select 'pawl.outbox'::regclass::oid");
$watcher->query("listen $channel");
# Notifications so far: that of its own comes behind all others.
sub rings { my $text = join(' ', map { @$_ } $watcher->query("notify $channel, 'mine'")); return (() = $text =~ /notification/g) - 1 }

asleep();
my %writes = (
	'an insert' => sub { insert() },
	'pawl.emit()' => sub { $n++; qq(select pawl.emit('order', null, 'T', '{"n": $n}')) },
	'many rows, one of them new to us' => sub { $n++; qq(insert into pawl.outbox (type, payload, not_before) select 'T', jsonb_build_object('n', $n), case when i > 1 then now() + interval '1 day' end from generate_series(1, 50) i) },
	'copy' => sub { $n++; qq(copy pawl.outbox (type, payload) from stdin;\nT\t{"n": $n}\n\\.\n) },
	'a savepoint that is kept' => sub { 'begin; savepoint s; ' . insert() . '; release s; commit' },
	'an insert behind a savepoint that was rolled back' => sub { 'begin; savepoint s; ' . insert() . '; rollback to s; ' . insert() . '; commit' },
	'an insert in front of it' => sub { my $first = insert(); "begin; $first; savepoint s; " . Pawl::Outbox::emit_sql('z', 0) . '; rollback to s; commit' },
);
for my $what (sort keys %writes) {
	rings();
	$writer->query($writes{$what}->());
	comes("$what rings");
	is(rings(), 1, 'once');
	asleep();
}
$writer->query('begin; ' . insert() . '; rollback');
is(rings(), 0, 'what is rolled back does not ring');
like($db->error('begin; ' . insert() . q(; prepare transaction 'x')), qr/cannot PREPARE a transaction that has executed|prepared transactions are disabled/,
	'a transaction that is to be prepared cannot ring');
asleep('nor does it wake the relay');

# Awake: no ring, however many write.
{
	$writer->query(insert());
	comes('awake');
	wait_for { $writer->query(insert()); comes(); sleepers() == 0 } 'it is awake';
	rings();
	my $before = $n;
	$writer->query(join(";\n", map { insert() } 1 .. 500));
	my $got = 0;
	while (my $message = $consumer->next_delivery($soon)) { $got++; last if $message->{body} =~ /"n": $n\b/ }
	is($got, $n - $before, 'all are published');
	cmp_ok(rings(), '<', 100, 'hardly one of them rang');	# none, but where the machine stands still for long enough
}

# A writer at work keeps the relay awake, and its event is found by looking.
{
	my $late = $db->session;
	$late->query("begin");
	wait_for {
		$writer->query(insert());
		comes();
		$late->query('rollback; begin; ' . insert());
		$db->value(q(select count(*) from pg_locks where locktype = 'advisory' and classid = 1885435756 and mode = 'ShareLock')) == 1;
	} 'a writer that the relay was awake for';
	my $reads = reads();
	wait_for { reads() > $reads + 10 } 'while it is at work the relay looks on';
	is(sleepers(), 0, 'and does not sleep');
	$late->query('commit');
	comes('its event comes');
	asleep('then the relay sleeps');
}

# Writers at any moment of going to sleep: none is slept over. Looks take some time: dead rows that cannot be removed are behind the cursor.
{
	my $holder = $db->session;
	$db->do('delete from pawl.outbox');
	$holder->query('begin isolation level repeatable read; select count(*) from pawl.outbox; lock table pawl.outbox in row exclusive mode');
	$writer->query("insert into pawl.outbox (type, payload, headers) select 'T', to_jsonb(i), null from generate_series(1, 20000) i");
	$o->wait_empty('many rows have gone through', 60);
	$consumer->next_delivery($soon) for 1 .. 20000;
	my $missed = 0;
	for (1 .. 60) {
		my ($before, $within) = map { rand($_) } 0.1, 0.02;
		$writer->query("select pg_sleep($before); begin; " . insert() . "; select pg_sleep($within); commit");
		last if !comes() && ++$missed;
	}
	is($missed, 0, 'no event is slept over');
	$holder->query('commit');
}

# The session is lost; the table is truncated; another relay takes over.
{
	$relay->allow_log(qr/lost the database session/);
	asleep();
	$db->do('select pg_terminate_backend(' . (sleepers())[0] . ')');
	$relay->wait_log(qr/session is back/);
	asleep('after a lost session it sleeps again');
	$writer->query(insert());
	comes('and is rung');

	$db->do('truncate pawl.outbox restart identity');
	wait_for { $db->do("select pg_notify('$channel', '')"); $relay->log =~ /looking at table pawl.outbox afresh/ } 'a table that was truncated is noticed';
	asleep('and it sleeps again');
	is(scalar(() = sleepers()), 1, 'with one lock');
	$writer->query(insert());
	comes('and is rung');

	my $standby = $o->relay({ name => 'standby' });
	$standby->wait_log(qr/standing by/);
	$relay->kill;
	$standby->wait_log(qr/leading: /);
	asleep('a relay that takes over sleeps');
	$writer->query(insert());
	comes('and is rung');
	asleep();
	$standby->stop;
	is(sleepers(), 0, 'one that has stopped does not');
	rings();
	$writer->query(insert());
	is(rings(), 0, 'and nobody rings for it');
}

# Other tables, of other kinds, beside each other in one session. What is idle costs few queries: with a doorbell and without one.
{
	$db->do(q(create table public."Odd one" (id uuid primary key default gen_random_uuid(), topic text, payload jsonb, created_at timestamptz default clock_timestamp(), sent boolean not null default false);
		create table public.parts (seq bigint generated always as identity primary key, type text, payload jsonb) partition by range (seq);
		create table public.parts_1 partition of public.parts default;
		select pawl.doorbell('"Odd one"'), pawl.doorbell('parts')));
	my ($quiet, $silent) = (migrated_db(), migrated_db());
	$quiet->do("select pawl.doorbell('pawl.outbox')");
	my $many = Pawl::Outbox->new(db => $db, vhost => $o->vhost, outboxes => sprintf(<<'	END', $quiet->conninfo, $silent->conninfo));
		keyed: { table = "Odd one"; sent = "sent"; columns: { type = "topic"; }; exchange = "events"; doorbell = true; poll_max = "1m"; };
		parts: { table = "parts"; exchange = "events"; doorbell = true; poll_max = "1m"; };
		bell: { exchange = "events"; doorbell = true; conninfo = "%s"; };
		none: { exchange = "events"; conninfo = "%s"; };
	END
	my $relay = $many->relay;
	wait_for { sleepers() == 2 } 'two tables, asleep';
	$n++;
	$writer->query(qq(insert into public."Odd one" (topic, payload) values ('T', '{"n": $n}')));
	comes('a table without a number rings');
	$n++;
	$writer->query(qq(insert into public.parts (type, payload) values ('T', '{"n": $n}')));
	comes('so does a partitioned one');
	my $commits = sub { return $_[0]->value('select xact_commit from pg_stat_database where datname = current_database()') };
	wait_for { outbox_status($many->{config}, 'none')->{reads} >= 14 } 'the server has counted what the start took';
	my @before = map { $commits->($_) } $quiet, $silent;
	my $begun = time;
	poll(sub { 0 }, 4);
	for ([ 'with a doorbell', $quiet ], [ 'without one', $silent ]) {
		my ($what, $which) = @$_;
		cmp_ok(($commits->($which) - shift(@before) - 1) / (time - $begun), '<=', 6, "an idle outbox $what costs a few queries a second");
	}
	$relay->stop;
}
done_testing;
