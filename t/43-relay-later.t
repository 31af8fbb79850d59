#!/usr/bin/perl
# Rows with a not_before are published when it has come, in the order of their aggregate with what is there then.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;

use Time::HiRes qw(time);

my $o = Pawl::Outbox->new(outbox => 'routing_key = "{aggregateid}";', bind => undef);
my $amqp = $o->vhost->amqp;
$amqp->declare_queue('all');
$amqp->bind('all', 'events', $_) for qw(a b);
my $wait = 2 * ($ENV{PAWL_TEST_SLOW} || 1);
my $sql = "insert into pawl.outbox (aggregatetype, aggregateid, type, payload, not_before) values ('order', '%s', 'T', '{\"a\": \"%s\", \"n\": %d}', now() + interval '%s')";
$o->db->do(join(';', map { sprintf($sql, @$_) } [ 'a', 'a', 1, "$wait s" ], [ 'b', 'b', 1, '-1 s' ], [ 'a', 'a', 2, '1 hour' ]));
$o->emit('a', 3);
my $before = $o->db->value('select extract(epoch from clock_timestamp())');
my $relay = $o->relay->allow_log(qr/no queue is bound/);
wait_for { $o->left == 2 } 'what is due, and what has no time, is published';
is_deeply([ sort map { $_->{body} } $o->take ], [ '{"a": "a", "n": 3}', '{"a": "b", "n": 1}' ], 'nothing else');
wait_for { $o->count == 1 } 'the next one when its time has come';
cmp_ok($o->db->value('select extract(epoch from clock_timestamp())') - $before, '>', $wait - 0.5, 'not before');
is($o->take, 1, 'once');
wait_for { $o->left == 1 } 'what is due in an hour stays';

# Due rows of a blocked aggregate wait with it; many due rows pass through more than one read.
$o->emit('hold', 1);
wait_for { $relay->log =~ /no queue is bound/ } 'an aggregate is blocked';
$o->db->do(join(';', map { sprintf($sql, 'hold', 'hold', $_, '-1 s') } 2 .. 50));
$o->db->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload, not_before)"
    . " select 'order', 'b', 'T', jsonb_build_object('a', 'b', 'n', i), now() - interval '1 s' from generate_series(2, 3001) i");
wait_for { $o->left == 51 } 'due rows of others are published', 30;
is_deeply([ order_errors($o->take) ], [], 'in order');
$amqp->bind('all', 'events', 'hold');
wait_for { $o->left == 1 } 'those that waited as well', 30;
my @held = $o->take;
is_deeply((first_seen(@held))[0], [ 1 .. 50 ], 'in order, complete');
my $drain = do { $relay->stop; run_program('pawl-relay', '-c', $o->{config}, '--drain') };
is($drain->{status}, 0, '--drain does not wait for what is due later');

# Rows that have had a not_before are walked over by whoever asks what is due, for as long as an old snapshot keeps the dead ones. Most looks
# do not ask, then, and no look comes sooner for it: not even while one of those rows is due and waits for a route.
$relay->stop;
my $calm = Pawl::Outbox->new(outbox => 'routing_key = "{aggregateid}"; poll_min = "1ms"; poll_max = "5ms";', bind => undef, vhost => $o->vhost);
my $old = $calm->db->session;
$old->query('begin isolation level repeatable read; select 1 from pawl.outbox');
$calm->db->do("begin; insert into pawl.outbox (aggregatetype, aggregateid, type, payload, not_before) select 'order', 'a', 'T', '{}', now() from generate_series(1, 150000);"
    . " delete from pawl.outbox where aggregateid = 'a'; commit; " . sprintf($sql, 'nowhere', 'nowhere', 1, '-1 s'));
$calm->emit('nowhere', 2);		# so that the other dead ones, those by number, are behind the cursor
my $dead = "select pg_stat_get_numscans('pawl.outbox_not_before'::regclass)";
$relay = $calm->relay->allow_log(qr/no queue is bound/);
$relay->wait_log(qr/no queue is bound/);
sub looks { return outbox_status($calm->{config}, 'orders')->{reads} }
wait_for { $calm->db->value($dead) > 0 } 'the server counts';
my ($looks, $scans, $from) = (looks(), $calm->db->value($dead), time);
wait_for { looks() >= $looks + 300 } 'the relay looks';
($looks, $scans) = (looks() - $looks, $calm->db->value($dead) - $scans);
my $ms = (time - $from) * 1000;
cmp_ok($scans, '<', $looks / 5, "of $looks looks few ask what is due ($scans)");
cmp_ok($looks, '<', $ms / 5 + 20, sprintf('and there are no more than one in 5 ms (%d ms)', $ms));
$calm->db->do(sprintf($sql, 'b', 'b', 1, '-1 s'));
wait_for { $calm->count == 1 } 'what is due is found nevertheless';
$relay->stop;
$old->close;
done_testing;
