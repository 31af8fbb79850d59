#!/usr/bin/perl
# pawl-relay: what a row becomes, that it goes when it is confirmed, options, draining.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;
use JSON::PP ();

my $o = Pawl::Outbox->new(outbox => 'exchange = "{aggregatetype}"; routing_key = "{type}.{{x}}";', exchange => 'unused');
{
	my $text = read_file($o->{config});
	$text =~ s/exchange = "unused"; //;
	write_file($o->{config}, $text);
}
my $amqp = $o->vhost->amqp;
$amqp->declare_exchange('order');
$amqp->bind('all', 'order', '#');
my $headers = '{"text": "gr\u00fcn", "int": -7, "big": 1234567890123456789012, "half": 0.5, "huge": 1e400, "yes": true, "no": false, "nothing": null,'
    . ' "list": [1, "2"], "object": {"a": 1}, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",'
    . ' "x-pawl-reason": "no", "X-Pawl-Text": "no", "CC": ["elsewhere"], "BCC": "elsewhere", "aggregateid": "no"}';
my $seq = $o->emit("it's\n7", 1, type => 'Placed', headers => $headers, payload => '{"price": 12.50, "text": "ü"}');
my ($id, $created) = $o->db->row('select id, floor(extract(epoch from created_at)) from pawl.outbox');
my $payload = $o->db->value('select payload::text from pawl.outbox');

my $relay = $o->relay;
$relay->wait_log(qr/leading: publishing the events of table pawl.outbox/);
wait_for { $o->count == 1 } 'an event is published';
$o->wait_empty('and its row is deleted');
my ($m) = $o->take;
is($m->{body}, $payload, 'the body is the payload as PostgreSQL writes it');
is_deeply([ @$m{qw(message_id type content_type timestamp app_id delivery_mode exchange routing_key)} ],
	[ $id, 'Placed', 'application/json', $created, 'orders', 2, 'order', 'Placed.{x}' ], 'its properties and route');
my $h = $m->{headers};
delete @$h{'x-delivery-count'};
is_deeply([ sort keys %$h ], [ sort qw(aggregatetype aggregateid text int big half huge yes no nothing list object traceparent) ],
	'headers of Pawl and copies to other queues do not come from a row');
is("$h->{aggregatetype} $h->{aggregateid}", "order it's\n7", 'the aggregate');
is("$h->{text} $h->{int} $h->{half} $h->{big} $h->{huge}", "gr\xc3\xbcn -7 0.5 1234567890123456789012 1" . '0' x 400,
	'texts and numbers; those that fit nothing are texts');
is_deeply([ $h->{yes}, $h->{no}, $h->{nothing} ], [ 1, 0, undef ], 'booleans and null');
is_deeply([ @$h{qw(list object)} ], [ [ 1, '2' ], { a => 1 } ], 'lists and objects');

# Rows with nulls, and without aggregate.
$o->db->do(q(insert into pawl.outbox (aggregatetype, type, payload, headers, created_at) values
	('order', 'Null', null, null, 'infinity'), ('order', 'Empty', '{}', 'null', '1970-01-01')));
wait_for { $o->count == 2 } 'rows with nulls are published';
my %of = map { $_->{type} => $_ } $o->take;
is_deeply([ @{ $of{Null} }{qw(body timestamp)}, $of{Null}{headers}{aggregateid} ], [ '', undef, undef ], 'without body, time and aggregate');
is($of{Empty}{body}, '{}', 'an empty object is a body');

# Many, in order, and not twice.
$o->emit_many(5000, 100);
$o->wait_empty('5000 events are published');
my @messages = $o->take;
is(scalar @messages, 5000, 'each of them once');
is_deeply([ order_errors(@messages) ], [], 'in order within each aggregate');

my $status = JSON::PP::decode_json(run_program('pawlctl', 'status', '-c', $o->{config}, '--json')->{out})->{relay}{outboxes}[0];
is_deeply([ @$status{qw(published confirmed deleted returned nacked refused in_flight)} ], [ 5003, 5003, 5003, 0, 0, 0, 0 ], 'and counted');
$relay->stop;
like($relay->log, qr/msg="stopped"/, 'it says that it stopped');

# --drain.
$o->emit_many(300, 10);
my $drain = run_program('pawl-relay', '-c', $o->{config}, '--drain');
is($drain->{status}, 0, '--drain ends with status 0');
is($o->left . ' ' . $o->count, '0 300', 'when all is published');
$o->take;

# Large payloads: more than one read takes, of few aggregates, and of one that has more rows than are kept.
$o->db->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload) select 'order', case when i % 2 = 0 then 'big' else 'a' || i % 5 end, 'T',"
    . " jsonb_build_object('n', i, 'a', case when i % 2 = 0 then 'big' else 'a' || i % 5 end, 'x', repeat('x', 150000)) from generate_series(1, 300) i");
$drain = run_program('pawl-relay', '-c', $o->{config}, '--drain');
is($drain->{status}, 0, 'large payloads');
@messages = $o->take;
is(scalar @messages, 300, 'all of them');
is_deeply([ order_errors(@messages) ], [], 'in order');
is(scalar(grep { length $_->{body} < 150_000 } @messages), 0, 'as large as they were');

# order = "none".
{
	my $none = Pawl::Outbox->new(outbox => 'order = "none"; window = 10;');
	$none->emit_many(2000, 3);
	is(run_program('pawl-relay', '-c', $none->{config}, '--drain')->{status}, 0, 'without order');
	is_deeply([ sort { $a <=> $b } @{ (first_seen($none->take))[0] } ], [ 1 .. 2000 ], 'all are published');
}

# Options and configuration.
is(run_program('pawl-relay', '-c', $o->{config}, '-t')->{status}, 0, '-t: a good configuration');
is(run_program('pawl-relay', '--bad')->{status}, 64, 'a bad option is a usage error');
is(run_program('pawl-relay', '-c', $o->{config}, 'operand')->{status}, 64, 'so is an operand');
my $run = run_program('pawl-relay', '-c', $o->{config}, '--outbox', 'nope');
is($run->{status}, 78, 'an outbox that is not configured is a configuration error');
like($run->{err}, qr/there is no outbox "nope"/, 'which names it');
like(run_program('pawl-relay', '-c', $o->{config}, '--outbox', 'nope', '--log-format', 'json')->{err}, qr/^\{.*"level":"error".*there is no outbox \\"nope\\""\}\n\z/, 'as JSON if that is wanted');
like(run_program('pawl-relay', '-c', $o->{config}, '--outbox', 'nope', '--log-format', 'json', '-t')->{err}, qr/^[^{]*there is no outbox "nope"\n\z/, 'but not with -t');
$run = run_program('pawl-relay', '-t', '-c', write_config('bad.conf', 'broker: { uri = "amqp://localhost/%2f"; }; database: { conninfo = ""; };
outboxes: { a: { exchange = "{}"; }; b: { exchange = "x"; routing_key = "a{"; }; };'));
is($run->{status}, 78, 'templates are checked');
like($run->{err}, qr/outboxes\.a\.exchange: .*without a name.*outboxes\.b\.routing_key: .*single '\{'/s, 'both errors are told');
done_testing;
