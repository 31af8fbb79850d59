#!/usr/bin/perl
# pawl-relay on tables of other layouts, unchanged: Debezium's; a number or uuid, a topic, a mark; odd names; payloads byte for byte; templates over
# all columns and headers; header types; CloudEvents; retention; writers that commit late; two relays.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;
use JSON::PP ();

my ($db, $vhost) = (migrated_db(), new_vhost());
sub outbox { my (%option) = @_; return Pawl::Outbox->new(db => $db, vhost => $vhost, %option) }
sub left { my ($table, $where) = @_; return $db->value("select count(*) from $table where " . ($where // 'true')) }
sub drained { my ($o, $name) = @_; my $run = run_program('pawl-relay', '-c', $o->{config}, '--drain'); is($run->{status}, 0, $name) or diag($run->{err}); return $o->take }
my %log;	# the allowed complaints

# Debezium's layout with a time; and nothing else is configured.
{
	$db->do(q(create table public.outbox (id uuid primary key default gen_random_uuid(), aggregatetype varchar(255) not null, aggregateid varchar(255) not null,
		type varchar(255) not null, payload jsonb, at timestamptz not null default clock_timestamp())));
	my $o = outbox(exchange => 'events', outbox => 'table = "public.outbox"; order_by = "at"; routing_key = "{aggregatetype}.{type}"; envelope = "cloudevents"; source = "/shop/{aggregatetype}";');
	$db->do(q(insert into public.outbox (aggregatetype, aggregateid, type, payload, at)
		select 'order', 'a' || i % 40, 'Placed', jsonb_build_object('n', i, 'a', 'a' || i % 40), clock_timestamp() from generate_series(1, 3000) i));
	my @messages = drained($o, "Debezium's layout");
	is(scalar @messages, 3000, 'all events');
	is_deeply([ order_errors(@messages) ], [], 'in order within each aggregate');
	is(left('public.outbox'), 0, 'are deleted');
	my $m = $messages[0];
	like($m->{message_id}, qr/^[0-9a-f-]{36}$/, 'message_id is the uuid');
	is("$m->{type} $m->{routing_key} $m->{content_type}", 'Placed order.Placed application/json', 'type, route, content type');
	my $h = $m->{headers};
	is_deeply([ @$h{qw(aggregatetype aggregateid cloudEvents_specversion cloudEvents_type cloudEvents_source cloudEvents_subject cloudEvents_id)} ],
		[ 'order', 'a1', '1.0', 'Placed', '/shop/order', 'a1', $m->{message_id} ], 'headers of a CloudEvent');
	is($m->{timestamp}, undef, 'no timestamp without created_at');

	# A row that is committed late, with an earlier value; and one of the same aggregate.
	my $late = $db->session;
	$late->query(q(begin; insert into public.outbox (aggregatetype, aggregateid, type, payload) values ('order', 'late', 'T', '{"a": "late", "n": 1}')));
	my $relay = $o->relay;
	$relay->wait_log(qr/has no seq: its events are read in the order of a column/);
	$db->do(q(insert into public.outbox (aggregatetype, aggregateid, type, payload) select 'order', 'b' || i % 3, 'T', jsonb_build_object('n', i, 'a', 'b' || i % 3) from generate_series(1, 2000) i));
	wait_for { $o->count == 2000 } 'others are published meanwhile';
	$late->query('commit');
	wait_for { $o->count == 2001 } 'what was committed late is published late, but it is published';
	wait_for { left('public.outbox') == 0 } 'and deleted';
	is_deeply([ order_errors($o->take) ], [], 'many events of few aggregates come in order');

	# A missing route blocks an aggregate; more of it than are kept, and others go on.
	$vhost->amqp->unbind('all', 'events', '#');
	$vhost->amqp->bind('all', 'events', 'good.*');
	$relay->allow_log(qr/ waits: /);
	my $emit = sub { my ($type, $a, $from, $to) = @_;
		$db->do("insert into public.outbox (aggregatetype, aggregateid, type, payload) select '$type', '$a', 'T', jsonb_build_object('n', i, 'a', '$a') from generate_series($from, $to) i") };
	$emit->('lost', "l$_", 1, 200) for 1 .. 5;
	$emit->('good', "g$_", 1, 100) for 1 .. 5;
	wait_for { $o->count == 500 } 'blocked aggregates starve nobody';
	$emit->('lost', "l$_", 201, 250) for 1 .. 5;
	$emit->('good', 'g1', 101, 150);
	wait_for { $o->count == 550 } 'nor do more of their rows';
	wait_for { left('public.outbox') == 1250 } 'nothing is lost';
	like($relay->log, qr/event [0-9a-f-]{36} of aggregate/, 'the event is told by its id');
	is_deeply([ order_errors($o->take) ], [], 'in order');
	$vhost->amqp->bind('all', 'events', 'lost.*');
	wait_for { left('public.outbox') == 0 } 'all goes on when there is a route', 60;
	my @late = $o->take;
	is_deeply([ order_errors(@late) ], [], 'in order');
	is(scalar @{ (first_seen(@late))[0] }, 1250, 'and complete');
	$vhost->amqp->bind('all', 'events', '#');

	# A standby takes over.
	my $standby = $o->relay;
	$standby->wait_log(qr/standing by/);
	$emit->('order', "s$_", 1, 300) for 1 .. 3;
	$relay->kill;
	$standby->wait_log(qr/leading/);
	$emit->('order', "s$_", 301, 400) for 1 .. 3;
	wait_for { left('public.outbox') == 0 } 'a standby takes over', 30;
	my @both = $o->take;
	is_deeply([ order_errors(@both) ], [], 'in order');
	is(scalar @{ (first_seen(@both))[0] }, 1200, 'and complete');
	$standby->stop;
}

# Debezium's five columns only: there is nothing but the id to go by.
{
	$db->do(q(create table public.five (id uuid primary key, aggregatetype varchar(255) not null, aggregateid varchar(255) not null, type varchar(255) not null, payload jsonb);
		insert into public.five select ('00000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, 'order', 'a' || i % 3, 'T', jsonb_build_object('n', i, 'a', 'a' || i % 3) from generate_series(1, 500) i));
	my $o = outbox(outbox => 'table = "public.five"; order_by = "id";');
	my @messages = drained($o, 'five columns');
	is(scalar @messages, 500, 'all events');
	is_deeply([ order_errors(@messages) ], [], 'in the order of ids, which are those of time');

	# The same when a look takes longer than it takes to publish and delete what is in memory: it is not empty while aggregates are read again.
	$db->do(q(create type public.slow as enum ('order');
		create function public.slow_text(slow) returns text language plpgsql as $$ begin perform pg_sleep(0.001); return 'order'; end $$;
		create cast (slow as text) with function public.slow_text(slow);
		alter table public.five alter column aggregatetype type slow using aggregatetype::slow;
		insert into public.five select ('00000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, 'order', 'a' || i % 3, 'T', jsonb_build_object('n', i, 'a', 'a' || i % 3) from generate_series(1, 500) i));
	@messages = drained($o, 'five columns, slow ones');
	is(scalar @messages, 500, 'all events, again');
}

# Partitioned by its number; an integer that is smaller; in the order of another column that is a number.
{
	$db->do(q(create table public.parts (no int generated always as identity primary key, topic text, payload jsonb) partition by range (no);
		create table public.parts_1 partition of public.parts for values from (0) to (1000); create table public.parts_2 partition of public.parts default));
	my $o = outbox(outbox => 'table = "public.parts"; order_by = "no"; columns: { type = "topic"; aggregateid = "topic"; };');
	my $insert = sub { my ($from, $to) = @_;
		$db->do("insert into public.parts (topic, payload) select 't' || i % 5, jsonb_build_object('n', i, 'a', 't' || i % 5) from generate_series($from, $to) i") };
	$insert->(1, 1500);
	my $relay = $o->relay;
	wait_for { $o->count == 1500 } 'a partitioned table';
	$insert->(1501, 1600);
	wait_for { left('public.parts') == 0 } 'is emptied';
	my @messages = $o->take;
	is(scalar @messages, 1600, 'each event once');
	is_deeply([ order_errors(@messages) ], [], 'in order');
	is($messages[0]{message_id}, 'orders/1', 'without an id the number stands in');
	$relay->stop;
}

# A mark is taken away: published again. Marks that are null, and rows that are blocked, are not touched.
{
	$db->do(q(create table public.marked (id bigint generated always as identity primary key, topic text, payload text, created_at timestamptz default now(), sent boolean)));
	my $o = outbox(outbox => 'table = "public.marked"; sent = "sent"; columns: { type = "topic"; };');
	my $relay = $o->relay;
	$db->do(q(insert into public.marked (topic, payload) select 't', i from generate_series(1, 200) i));
	wait_for { left('public.marked', 'sent') == 200 } 'rows are marked';
	is_deeply([ map { $_->{body} } $o->take ], [ 1 .. 200 ], 'in order');
	$db->do('update public.marked set sent = false where id between 50 and 59');
	wait_for { left('public.marked', 'not sent') == 0 } 'marks that are taken away come again';
	is_deeply([ map { $_->{body} } $o->take ], [ 50 .. 59 ], 'and these rows are published again, no others');
	$relay->stop;
}

# A trigger keeps rows: they are not published again and again, and the others go on.
for my $keyed (0, 1) {
	my $table = "public.kept$keyed";
	$db->do(($keyed ? "create table $table (id uuid primary key default gen_random_uuid(), n int, type text, payload text, created_at timestamptz default clock_timestamp())"
		: "create table $table (seq bigserial primary key, id int, n int, type text, payload text)") . ";
		create function ${table}_keep() returns trigger language plpgsql as 'begin if old.n % 10 = 0 then return null; end if; return old; end';
		create trigger keep before delete on $table for each row execute function ${table}_keep()");
	my $o = outbox(outbox => "table = \"$table\";");
	my $insert = "insert into $table (n, type, payload) select i, 't', i from generate_series(1, 100) i";
	$db->do($insert);
	my $relay = $o->relay->allow_log(qr/are still there after they were deleted/);
	$relay->wait_log(qr/10 published events of table \Q$table\E are still there after they were deleted: a trigger or rule/);
	$db->do($insert);
	wait_for { left($table) == 20 } 'a trigger that keeps rows does not keep others';
	is($o->count, 200, 'each row is published once');
	$o->take;
	$relay->stop;
}
done_testing;
