#!/usr/bin/perl
# Two relays for one table: one leads, the other takes over when it is killed, stopped, cut off from its session or from the broker.
# Nothing is lost, and the first sight of each aggregate's events is in order.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;
use Time::HiRes qw(time);

my $o = Pawl::Outbox->new(outbox => 'window = 50;');
my $db = $o->db;
my @expected = (qr/lost the database session/, qr/could not get a database session/, qr/takes no answers: its session was ended/);
my ($n, @all) = (0);
my $serial = 0;
sub one { return $o->relay({ name => 'relay-' . ++$serial })->allow_log(@expected) }
sub leader_pid { return $db->value(q(select a.pid from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'advisory'
	and l.database = (select oid from pg_database where datname = current_database()) and a.application_name like 'pawl-relay%')) }

# Emits for some time around what is done, then waits until all is out; gives how long the outbox stood still at most.
sub under_load
{
	my ($what, $act) = @_;
	my $from = $n + 1;
	$o->emit_many(2000, 40, $from);
	$n += 2000;
	wait_for { $o->count > 200 } "$what: publishing";
	my $acted = time;
	$act->();
	$o->emit_many(1000, 40, $n + 1);
	$n += 1000;
	my $mark = $o->count;
	my $moved = poll(sub { $o->count > $mark }, 20) ? time - $acted : 99;
	$o->wait_empty("$what: the outbox is empty", 30);
	push @all, $o->take;
	return $moved;
}

my $leader = one();
$leader->wait_log(qr/leading: /);
my $standby = one();
$standby->wait_log(qr/standing by: another relay leads/);

# Which of the two leads, and which does not.
sub rotate { my ($new) = @_; $standby->wait_log(qr/leading: /); $leader = $standby; $standby = $new // one(); $standby->wait_log(qr/standing by: /); return }

my $slow = $ENV{PAWL_TEST_SLOW} || 1;
cmp_ok(under_load('kill', sub { $leader->kill }), '<', 3 * $slow, 'a killed leader is replaced in less than 3 s');
rotate();
my $stopped = $leader;
cmp_ok(under_load('stop', sub { $leader->signal('STOP') }), '<', 3 * $slow, 'so is a stopped one');
$standby->wait_log(qr/leading: /);
($leader, $standby) = ($standby, $stopped);
$standby->signal('CONT');
$standby->wait_log(qr/no longer leading/);
$standby->wait_log(qr/standing by: /);
pass('a stopped leader that goes on stands by');

cmp_ok(under_load('session', sub { $db->value('select pg_terminate_backend(' . leader_pid() . ')') }), '<', 3 * $slow, 'one that loses its session as well');
my $again = poll(sub { leader_pid() }, 10);
ok($again, 'and one of them leads again');

# Whoever leads now is stopped, and there is more to read than a socket holds.
$_->stop for $leader, $standby;
push @all, $o->take;
{
	my $big = Pawl::Outbox->new(db => $db, vhost => $o->vhost);
	my ($first, $second) = map { $big->relay({ name => $_ })->allow_log(@expected) } qw(big-1 big-2);
	my $lead = poll(sub { (grep { $_->log =~ /leading: / } $first, $second)[0] }, 10);
	my $other = $lead == $first ? $second : $first;
	$other->wait_log(qr/standing by: /);
	$lead->signal('STOP');
	$db->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload) select 'order', 'a' || i % 40, 'T',"
	    . " jsonb_build_object('a', 'a' || i % 40, 'n', $n + i, 'x', repeat('x', 200000)) from generate_series(1, 60) i");
	# If a read was under way its answer does not fit into the socket; 63-relay-faults.t makes sure of one.
	$other->wait_log(qr/leading: /, 10);
	pass('the other one leads when the leader takes no answers');
	$n += 60;
	$big->wait_empty('all is published', 60);
	$lead->signal('CONT');
	$lead->wait_log(qr/standing by: |leading: /);
	push @all, $big->take;
	$_->stop for $first, $second;
}

my ($seen) = first_seen(@all);
is(scalar @$seen, $n, "all $n events arrived");
is_deeply([ order_errors(@all) ], [], 'first sight of each aggregate is in order');
note(sprintf('%d duplicates', @all - @$seen));
done_testing;
