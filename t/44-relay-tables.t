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
	is(left('public.outbox'), 1250, 'nothing is lost');
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
done_testing;
