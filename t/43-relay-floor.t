#!/usr/bin/perl
# The floor: what a look costs does not grow while an old snapshot keeps dead rows in the table. And the net below it.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;

my $o = Pawl::Outbox->new(outbox => 'order = "none"; poll_max = "50ms";');
my $db = $o->db;
my $old = $db->session;
$old->query('begin isolation level repeatable read; select 1 from pawl.outbox');
my $relay = $o->relay;
$relay->wait_log(qr/leading: /);
my $status = sub { outbox_status($o->{config}, 'orders')->{ $_[0] } };
my ($n, $deleted) = (0, 0);

# Without a query of our own over the table.
sub go_through
{
	my ($count) = @_;
	$o->emit_many($count, 100, $n + 1);
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
# once a second.
my $blocks = 'select pg_stat_get_blocks_fetched(c.oid) + pg_stat_get_blocks_fetched(i.indexrelid) from pg_class c join pg_index i on i.indrelid = c.oid and i.indisprimary'
    . " where c.oid = 'pawl.outbox'::regclass";
sub settle { my $from = $status->('reads'); wait_for { $status->('reads') >= $from + 50 } 'what went before is published', 60; return }
sub cost
{
	my ($code) = @_;
	settle();
	my ($from, $before) = ($status->('reads'), $db->value($blocks));
	$code->();
	settle();
	return ($db->value($blocks) - $before) / ($status->('reads') - $from);
}
my $first = cost(sub { settle() });
go_through(10000) for 1 .. 5;
my $last = cost(sub { settle() });
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
done_testing;
