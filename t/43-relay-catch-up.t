#!/usr/bin/perl
# Catching up with rows that were let go of leaves alone what no look has shown yet: a transaction that commits in the middle of it has rows
# behind the place where it is, and others in front of it, which come first.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;

my $rows = 3000;
# One message at a time, so that catching up takes many steps; no look between them.
my $o = Pawl::Outbox->new(bind => undef, outbox => 'routing_key = "all"; window = 1; poll_min = "1m"; poll_max = "1m";');
$o->emit('late', $_) for 1, 2;	# the second one is to be caught up with
my $long = $o->db->session;
$long->query('begin');
$long->query(Pawl::Outbox::emit_sql('late', 3));
$o->emit_many($rows, 100);
$long->query(Pawl::Outbox::emit_sql('late', 4));
$o->emit('last', 1);
my $relay = $o->relay->allow_log(qr/no queue is bound/);
wait_for { (outbox_status($o->{config}, 'orders')->{held_aggregates} || 0) == 102 } 'there is no route for any of them';

my $amqp = $o->vhost->amqp;
$amqp->declare_queue('all');
$amqp->bind('all', 'events', 'all');
is(run_program('pawlctl', 'outbox', 'retry', '-c', $o->{config}, '--blocked')->{status}, 0, 'now there is one');
wait_for { $o->count > 200 } 'catching up has begun';
$long->query('commit');
cmp_ok($o->count, '<', $rows - 500, 'and is not at its end when the transaction commits');
wait_for { $o->left <= 2 } 'what had been seen is published', 60;
$relay->stop;
$relay = $o->relay;
$o->wait_empty('what had not as well');
my @messages = $o->take;
is(scalar @messages, $rows + 5, 'once');
is_deeply([ order_errors(@messages) ], [], 'in order');
$relay->stop;
$long->close;
done_testing;
