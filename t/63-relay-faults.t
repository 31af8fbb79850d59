#!/usr/bin/perl
# The relay is killed or stopped at its fault points: nothing is lost, the first sight of each aggregate is in order.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;
need_faults();

my $o = Pawl::Outbox->new(outbox => 'window = 100;');
my $n = 0;

sub check
{
	my ($what, $from, @messages) = @_;
	my ($seen) = first_seen(@messages);
	is_deeply([ sort { $a <=> $b } @$seen ], [ $from .. $n ], "$what: nothing is lost");
	is_deeply([ order_errors(@messages) ], [], "$what: the first sight of each aggregate is in order");
	return @messages - @$seen;
}

for my $point (qw(relay.before_publish@150 relay.after_confirm@150 relay.before_delete@2 relay.after_delete@2)) {
	my $from = $n + 1;
	$o->emit_many(3000, 30, $from);
	$n += 3000;
	my ($name, $at) = split /@/, $point;
	my $relay = $o->relay({ name => "$name-1", env => { PAWL_FAULT => "$name:kill\@$at" } });
	$relay->{sent}{KILL} = 1;
	wait_for { !$relay->running } "$point: killed";
	my $second = $o->relay({ name => "$name-2" });
	$o->wait_empty("$point: the next one publishes the rest");
	my $twice = check($point, $from, $o->take);
	cmp_ok($twice, '<=', 1100, "$point: $twice duplicates: a window and a delete's worth at most");
	$second->stop;
}

# Stopped while the server sends it much. If the sockets do not hold all of it, that session is not idle, but the standby ends it; if they
# do, its idle_session_timeout does.
{
	my $from = $n + 1;
	$o->db->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload) select 'order', 'a' || i % 40, 'T',"
	    . " jsonb_build_object('a', 'a' || i % 40, 'n', i, 'x', repeat('x', 40000)) from generate_series($from, $from + 799) i");
	$n += 800;
	my $first = $o->relay({ name => 'stop-1', env => { PAWL_FAULT => 'relay.after_confirm:stop' } })->allow_log(qr/lost the database session/);
	$first->wait_log(qr/leading: /);
	my $second = $o->relay({ name => 'stop-2' })->allow_log(qr/takes no answers/);
	$second->wait_log(qr/leading: /);
	pass('a leader that takes no answers loses its session');
	$o->wait_empty('the other one publishes all', 60);
	$first->signal('CONT');
	$first->wait_log(qr/standing by: /);
	check('stopped', $from, $o->take);
	$_->stop for $first, $second;
}

# The session is ended while the relay is about to send several statements: one of them finds the socket closed. A lost session, and no more.
{
	my $db = migrated_db();
	$db->do("create table public.$_ (like pawl.outbox including all); insert into public.$_ (type) values ('T')") for qw(waits1 waits2);
	my $several = Pawl::Outbox->new(db => $db, vhost => $o->vhost, outboxes => 'orders: { exchange = "events"; };'
	    . join('', map { qq($_: { table = "public.$_"; exchange = "none"; poll_max = "5ms"; };) } qw(waits1 waits2)));
	my $relay = $several->relay({ name => 'send', env => { PAWL_FAULT => 'relay.after_confirm:stop' } })->allow_log(qr/lost the database session| waits, /);
	wait_for { my $log = $relay->log; !grep { $log !~ /outbox=$_ .* waits, / } qw(waits1 waits2) } 'two events wait';
	$several->emit('a', 1);
	wait_for { read_file('/proc/' . $relay->pid . '/stat') =~ /\) T / } 'the relay is stopped before it sends';
	my $end = q(select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'pawl-relay%' and datname = current_database());
	wait_for { $db->value($end) == 0 } 'its session is ended';
	$relay->signal('CONT');
	$several->wait_empty('it goes on in another session', 60);
	$several->take;
	$relay->stop;
}

# Stopped in the middle of issuing: when it goes on, the one message that it was about to send is the last one.
{
	my $from = $n + 1;
	$o->emit_many(3000, 1500, $from);
	$n += 3000;
	my $first = $o->relay({ name => 'zombie-1', env => { PAWL_FAULT => 'relay.before_publish:stop@150' } })->allow_log(qr/lost the database session/);
	$first->wait_log(qr/leading: /);
	my $second = $o->relay({ name => 'zombie-2' });
	$second->wait_log(qr/leading: /);
	$o->wait_empty('zombie: the other one publishes all');
	check('zombie', $from, $o->take);
	$first->signal('CONT');
	$first->wait_log(qr/standing by: /);
	cmp_ok(scalar($o->take), '<=', 1, 'zombie: it publishes nothing more');
	$_->stop for $first, $second;
}
done_testing;
