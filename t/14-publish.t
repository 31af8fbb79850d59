#!/usr/bin/perl
# pawlctl publish: what arrives, and what is said when nothing does.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my $vhost = new_vhost();
my $amqp = $vhost->amqp;
$amqp->declare_queue('orders.view');
$amqp->declare_exchange('orders', 'topic');
$amqp->bind('orders.view', 'orders', 'order.#');
my $file = write_config('p.conf', <<'END', uri => $vhost->uri);
broker: { uri = "{uri}"; };
database: { conninfo = ""; };
queues: { view: { queue = "orders.view"; handlers: { h: { type = "*"; use = "ignore"; }; }; }; };
END

sub publish { my (@arguments) = @_; my $option = ref $arguments[0] ? shift @arguments : {}; return run_program($option, 'pawlctl', 'publish', '-c', $file, @arguments) }

my $uuid = qr/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
{
	my $before = time;
	my $run = publish('--type', 'OrderPlaced', '-H', 'aggregateid=42', '--header', 'x=a=b', 'orders/order.placed', '{"id":42}');
	is($run->{status}, 0, 'published') or diag($run->{err});
	is($run->{err}, '', 'and nothing to say');
	chomp(my $id = $run->{out});
	like($id, $uuid, 'prints the message_id');
	my $m = $vhost->get('orders.view');
	is_deeply([ @$m{qw(message_id type content_type delivery_mode app_id exchange routing_key body)} ],
		[ $id, 'OrderPlaced', 'application/json', 2, 'pawlctl', 'orders', 'order.placed', '{"id":42}' ], 'as it was said');
	delete $m->{headers}{'x-delivery-count'};
	is_deeply($m->{headers}, { aggregateid => '42', x => 'a=b' }, 'with its headers');
	ok($m->{timestamp} >= $before && $m->{timestamp} <= time, 'and the time');
}
for my $to (qw(view orders.view /orders.view)) {
	my $run = publish('-t', 'T', '--id', 'my-id', $to, 'plain text');
	is("$run->{status} $run->{out}$run->{err}", "0 my-id\n", "to $to");
	my $m = $vhost->get('orders.view');
	is_deeply([ @$m{qw(message_id content_type routing_key body)} ], [ 'my-id', undef, 'orders.view', 'plain text' ], "arrives; no JSON, no content type");
}
{
	my $body = join('', map { chr($_ % 256) } 0 .. 300_000);
	is(publish({ stdin => write_file('body', $body) }, '-t', 'T', '--content-type', 'a/b', 'view', '-')->{status}, 0, 'a body from standard input');
	my $m = $vhost->get('orders.view');
	ok($m->{body} eq $body, 'arrives byte for byte');
	is($m->{content_type}, 'a/b', 'with the content type that was said');
	is(publish('-t', 'T', 'view')->{status}, 0, 'no body');
	is($vhost->get('orders.view')->{body}, '', 'is an empty one');
}

# What goes wrong.
for my $case (
	[ [ '-t', 'T', 'nosuch', 'x' ], 69, qr/^pawlctl publish: there is no queue "nosuch" \(312 NO_ROUTE\); pawl-worker declares its queues when it starts$/m ],
	[ [ '-t', 'T', 'orders/x', 'x' ], 69, qr/no queue is bound to exchange "orders" for the routing key "x" \(312 NO_ROUTE\); pawl-worker makes/ ],
	[ [ '-t', 'T', 'nosuch/x', 'x' ], 69, qr/there is no exchange "nosuch"; it must be declared first/ ],
	[ [ '-t', 'T', 'x' x 256, 'x' ], 64, qr/cannot publish this: .*255/ ],
	[ [ '-t', 'x' x 256, 'view', 'x' ], 64, qr/cannot publish this: .*255/ ],
	[ [ '-t', 'T', (map { ('-H', "x$_=" . 'y' x 70_000) } 1, 2), 'view', 'x' ], 64, qr/cannot publish this: / ],
	[ [ '-t', 'T' ], 64, qr/say where to/ ],
	[ [ 'view', 'x' ], 64, qr/--type is missing/ ],
	[ [ '-t', 'T', '-H', 'noequals', 'view', 'x' ], 64, qr/header "noequals" is not of the form NAME=VALUE/ ],
	[ [ '-t', 'T', 'view', 'x', 'y' ], 64, qr/say where to/ ],
	[ [ '-t', 'T', '--id', '', 'view', 'x' ], 64, qr/--id must not be empty/ ],
	[ [ '-t', 'T', '--nosuch', 'view' ], 64, qr/unrecognized option '--nosuch'/ ],
) {
	my ($arguments, $status, $error) = @$case;
	my $run = publish(@$arguments);
	is($run->{status}, $status, "$error: $status");
	like($run->{err}, $error, 'said so');
	is($run->{out}, '', 'prints no id');
}
is($vhost->count('orders.view'), 0, 'nothing of these arrived');

write_file('away.conf', 'broker: { uris = [ "amqp://u:geheim@127.0.0.1:1", "amqp://u:geheim@127.0.0.1:2" ]; };');
for my $case ([ 'away.conf', 69, qr/could not connect to 127\.0\.0\.1:\d: Connection refused/ ], [ 'wrong.conf', 78, qr/refused|ACCESS_REFUSED/i ]) {
	my ($name, $status, $error) = @$case;
	(my $uri = $vhost->uri) =~ s{//\w+:\w+@}{//guest:geheim@};
	write_file('wrong.conf', "broker: { uri = \"$uri\"; };");
	my $run = run_program('pawlctl', 'publish', '-c', tmp_dir() . "/$name", '-t', 'T', 'view', 'x');
	is($run->{status}, $status, "$name: $status");
	like($run->{err}, $error, 'said so');
	unlike($run->{err}, qr/geheim/, 'without the password');
}
done_testing;
