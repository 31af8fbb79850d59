#!/usr/bin/perl
# What cannot be published holds up its own aggregate only: a missing exchange, a row that is too large, a route without a queue, a queue
# that is full; and it goes on, in order, when the cause is gone.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;

my $o = Pawl::Outbox->new(exchange => '{type}', bind => undef, outbox => 'routing_key = "{aggregateid}"; max_body = "100KiB";');
my $amqp = $o->vhost->amqp;
$amqp->declare_queue('all');
$amqp->declare_exchange('good');
for my $n (0 .. 9) { $amqp->bind('all', 'good', "a$n") }

# A window full of good ones, with bad ones among them.
sub emit_batch
{
	my (@events) = @_;
	$o->db->do(join('', map { Pawl::Outbox::emit_sql(@$_) . ";\n" } @events));
	return;
}
my $n = 0;
my @events = map { [ 'a' . $_ % 10, ++$n, type => 'good' ] } 1 .. 200;
splice(@events, 50, 0, [ 'lost', 2, type => 'missing' ], map { [ "m$_", 1, type => 'missing' ] } 1 .. 20);
splice(@events, 20, 0, [ 'lost', 1, type => 'good' ]);	# before it: this one goes to a route that is bound later
emit_batch(@events);
my $relay = $o->relay->allow_log(qr/ waits[:,] /);
wait_for { $o->left == 22 } 'a missing exchange and a route without queue hold up nobody else';
my @good = $o->take;
is(scalar @{ (first_seen(@good))[0] }, 200, 'all that can be published is published');
is_deeply([ order_errors(@good) ], [], 'in order');
my @lines = grep { /waits/ } split(/\n/, $relay->log);
is(scalar(grep { /exchange \\"missing\\"|exchange "missing"/ } @lines), 1, 'the missing exchange is told once') or diag(@lines);
is(scalar(grep { /no queue is bound to exchange/ } @lines), 1, 'the route as well');
like("@lines", qr/event \d+ of aggregate/, 'with the event and its aggregate');

# More of a blocked aggregate wait; others flow on while it is being tried.
# Of those that wait for the exchange, too: more rows than one read takes, and larger ones.
my $large = sub { my ($a, $i) = @_; return '{"a": "' . $a . '", "n": ' . $i . ', "x": "' . 'x' x 90_000 . '"}' };
emit_batch(map { [ 'lost', $_ + 2, type => 'good' ] } 1 .. 1500);
for my $i (2 .. 60) {
	emit_batch(map { [ "m$_", $i, type => 'missing', $i <= 6 ? (payload => $large->("m$_", $i)) : () ] } 1 .. 20);
}
# And so many aggregates that their rows are not looked for by name.
$o->db->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload) select 'order', 'w' || i % 1500, 'missing',"
    . " jsonb_build_object('a', 'w' || i % 1500, 'n', i) from generate_series(1, 4500) i");
emit_batch(map { [ 'a' . $_ % 10, ++$n, type => 'good' ] } 1 .. 500);
wait_for { $o->left == 7202 } '1500 rows of a blocked aggregate starve nobody';
@good = $o->take;
is(scalar @{ (first_seen(@good))[0] }, 500, 'the others are published');
is_deeply([ order_errors(@good) ], [], 'in order');
$amqp->bind('all', 'good', 'lost');
wait_for { $o->count >= 1 } 'the route gets a queue: its first event gets through';
$amqp->declare_exchange('missing');
$amqp->bind('all', 'missing', '#');
$o->wait_empty('everything gets through when the exchange is there', 90);
my @late = $o->take;
is_deeply([ order_errors(@late) ], [], 'what waited comes in order');
my ($all) = first_seen(@late);
is(scalar @$all, 7202, 'and is complete');

# Too large for us: refused before the wire; mended by an update.
emit_batch([ 'a1', ++$n, type => 'good', payload => '{"x": "' . 'y' x 200_000 . '"}' ], [ 'a1', ++$n, type => 'good' ], [ 'a2', ++$n, type => 'good' ]);
wait_for { $o->count == 1 } 'a row that is too large holds up its aggregate only';
like($relay->wait_log(qr/(the payload is \d+ bytes long, at most 102400 are allowed)/), qr/200009/, 'its size is told');
$o->db->do("update pawl.outbox set payload = '{\"a\": \"a1\", \"n\": 0}' where length(payload::text) > 100000");
$o->wait_empty('the mended row and its successor get through', 30);
my @mended = $o->take;
is(scalar @mended, 3, 'all three');
# A row that cannot be a message: routing key over 255 bytes, header name over 255 bytes, headers that are no object.
emit_batch([ 'a' x 300, ++$n, type => 'good' ], [ 'a3', ++$n, type => 'good', headers => '{"' . 'h' x 300 . '": 1}' ], [ 'a4', ++$n, type => 'good', headers => '[1]' ],
	[ 'a5', ++$n, type => 'good', headers => '{"long": "' . 'z' x 200_000 . '"}' ], [ 'a6', ++$n, type => 'good' ]);
wait_for { $o->count == 1 } 'rows that cannot be messages hold up nobody';
$relay->wait_log(qr/$_/) for 'the routing key is 300 bytes long';
wait_for { 4 == grep { /cannot be published/ && !/payload/ } split(/\n/, $relay->log) } 'each is told';
$o->take;
$o->db->do('delete from pawl.outbox');
emit_batch([ 'a3', ++$n, type => 'good' ], [ 'a4', ++$n, type => 'good' ], [ 'a5', ++$n, type => 'good' ]);
$o->wait_empty('when they are deleted their aggregates go on', 30);
is($o->count, 3, 'with what came later');
$o->take;

# A queue that takes nothing.
$amqp->declare_queue('tiny', arguments => { 'x-queue-type' => 'quorum', 'x-max-length' => [ 'I', 5 ], 'x-overflow' => 'reject-publish' });
$amqp->bind('tiny', 'good', 'tiny.#');
$amqp->bind('tiny', 'good', 'tiny');
emit_batch(map { [ 'tiny', $_, type => 'good' ] } 1 .. 40);
wait_for { $o->count('tiny') >= 5 && $relay->log =~ /the broker did not take it/ } 'a full queue nacks';
emit_batch([ 'a7', ++$n, type => 'good' ]);
wait_for { $o->count == 1 } 'which holds up nobody else';
my @tiny;
wait_for { push @tiny, $o->take('tiny'); $o->left == 0 } 'when it is read all gets through', 60;
push @tiny, $o->take('tiny');
is_deeply((first_seen(@tiny))[0], [ 1 .. 40 ], 'in order, complete');
$relay->stop;

# Rows without aggregate wait alone, and so do those that lack what the route needs.
{
	my $loose = Pawl::Outbox->new(exchange => '{type}', bind => undef, vhost => $o->vhost, outbox => 'routing_key = "{aggregatetype}";');
	$loose->db->do(join('', map { Pawl::Outbox::emit_sql(@$_) . ";\n" } (map { ([ undef, $_, type => 'none' ], [ undef, 100 + $_, type => 'other' ]) } 1 .. 30),
		[ 'a1', 200, type => 'good' ], [ 'a1', 201, type => 'good' ]));
	$loose->db->do("insert into pawl.outbox (type, payload) values ('good', '{\"n\": 300}')");
	$amqp->declare_exchange('none');
	$amqp->bind('all', 'good', 'order');
	my $second = $loose->relay->allow_log(qr/ waits[:,] /);
	wait_for { $loose->left == 61 } 'rows without aggregate that go nowhere hold up nobody';
	$second->wait_log(qr/cannot be published: the routing key needs column aggregatetype, which is null in this row/);
	$o->take;
	$amqp->bind('all', 'none', '#');
	$amqp->declare_exchange('other');
	$amqp->bind('all', 'other', '#');
	wait_for { $loose->left == 1 } 'they get through as well', 40;
	is(scalar @{ (first_seen($o->take))[0] }, 60, 'all of them');
	$second->stop;
}
done_testing;
