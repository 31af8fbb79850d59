#!/usr/bin/perl
# The floor: what a look costs does not grow while an old snapshot keeps dead rows in the table, nor while a transaction is open that has
# put rows in front of them. And the net below it.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;

my ($o, $db, $relay, $n);
my $status = sub { outbox_status($o->{config}, 'orders')->{ $_[0] } };
sub begin
{
	my ($order) = @_;
	$o = Pawl::Outbox->new(outbox => "order = \"$order\"; poll_max = \"50ms\";");
	($db, $n) = ($o->db, 0);
	return;
}
sub lead { $relay = $o->relay; $relay->wait_log(qr/leading: /); return }

begin('none');
my $old = $db->session;
$old->query('begin isolation level repeatable read; select 1 from pawl.outbox');
lead();

# Without a query of our own over the table.
sub go_through
{
	my ($count) = @_;
	$o->emit_many($count, 1000, $n + 1);
	$n += $count;
	wait_for { $status->('deleted') == $n } "$count events go through", 120;
	return;
}

# A row that is put where it cannot be: below the floor.
go_through(1000);
my $reads = $status->('reads');
wait_for { $status->('reads') > $reads + 10 } 'the floor is where they were';
$relay->allow_log(qr/1 events of table pawl\.outbox, from seq 5 on, were below what had been read already/);
$db->do(q(insert into pawl.outbox (seq, type, payload) overriding system value values (5, 'T', '{"n": 0}')));
$n++;
wait_for { $status->('deleted') == $n } 'a row below the floor is found and published', 120;
is($status->('swept'), 1, 'and counted');

# Blocks of table and index that a read takes. The server publishes a session's counters when a transaction ends, but not more often than
# once a second: when they have moved, all that went before is in them.
my $blocks = 'select pg_stat_get_blocks_fetched(c.oid) + pg_stat_get_blocks_fetched(i.indexrelid) from pg_class c join pg_index i on i.indrelid = c.oid and i.indisprimary'
    . " where c.oid = 'pawl.outbox'::regclass";
sub settle
{
	my ($reads, $before) = ($status->('reads') + 20, $db->value($blocks));
	wait_for { $status->('reads') >= $reads && $db->value($blocks) != $before } 'what went before is published', 60;
	return;
}
sub cost
{
	my ($code) = @_;
	settle();
	my ($from, $before) = ($status->('reads'), $db->value($blocks));
	$code->();
	settle();
	return ($db->value($blocks) - $before) / ($status->('reads') - $from);
}
my $first = cost(sub { });
go_through(10000) for 1 .. 3;
my $last = cost(sub { });
note(sprintf('blocks of a look: %.1f when 1000 rows were dead, %.1f when %d were', $first, $last, $n));
cmp_ok($last, '<', 20, 'a look does not walk over the dead rows of an hour');
$last = cost(sub { go_through(10) for 1 .. 20 });
note(sprintf('%.1f while events come', $last));
cmp_ok($last, '<', 200, 'nor while events come');
is($o->count, $n, 'all of them were published, once');
is($status->('swept'), 1, 'and the net was not needed');
$relay->stop;
$old->query('rollback');
$old->close;

# Transactions that stay open and have put rows in front of all that goes through: one that does so again later on, one whose number is not
# the one of the subtransaction that inserts, one that is prepared, one that is rolled back. Others come and go meanwhile, for as long.
begin('aggregate');
$o->vhost->amqp->declare_queue('long');
$o->vhost->amqp->bind('long', 'events', 'long');
my %writer = map { $_ => $db->session } qw(plain sub prepared back);
my %events = map { $_ => 0 } keys %writer;
sub event { my ($aggregate, $writer) = @_; $writer->query(Pawl::Outbox::emit_sql($aggregate, ++$events{$aggregate}, type => 'long')); return }
sub short_ones { my $s = $db->session; $s->query('begin'); event('short', $s); go_through(1000); $s->query('commit'); $n++; $s->close; return }
$_->query('begin') for values %writer;
$writer{sub}->query('savepoint a; savepoint b');
lead();
go_through(100);
event($_, $writer{$_}) for keys %writer;
go_through(10000);
$writer{prepared}->query("prepare transaction 'long$$'");
short_ones() for 1 .. 2;
# What is passed is set aside after a second.
wait_for { ($first = cost(sub { })) < 200 } 'a look does not walk over them', 60;
note(sprintf('blocks of a look: %.1f when %d rows were dead behind rows of open transactions', $first, $n));
$last = cost(sub { go_through(10) for 1 .. 20 });
cmp_ok($last, '<', 400, sprintf('nor while events come (%.1f)', $last));
event($_, $writer{$_}) for qw(plain sub back);
go_through(1000);
event($_, $writer{$_}) for qw(plain sub back);
# What is behind them in their aggregates comes at the same moment.
for ([ plain => 'commit' ], [ sub => 'commit' ], [ prepared => "commit prepared 'long$$'" ], [ back => 'rollback' ]) {
	my ($name, $end) = @$_;
	$events{back} = 0 if $name eq 'back';
	$writer{$name}->query("$end; " . Pawl::Outbox::emit_sql($name, ++$events{$name}, type => 'long'));
}
$n += $events{$_} for keys %writer;
wait_for { $status->('deleted') == $n } 'all that they have put there is published', 60;
is($o->count, $n, 'all events are published, once');
my (undef, $of) = first_seen($o->take('long'));
is_deeply({ map { $_ => $of->{$_} } keys %events }, { map { $_ => [ 1 .. $events{$_} ] } keys %events }, 'those of long transactions in order, before what is behind them');
is($status->('swept'), 0, 'and the net was not needed');
$relay->stop;
$_->close for values %writer;
done_testing;
