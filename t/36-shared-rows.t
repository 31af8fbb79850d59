#!/usr/bin/perl
# Batches of two slots that update the same rows in opposite order: deadlocks come, are resolved, and nothing is lost or done twice.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my $db = migrated_db();
$db->do(q(alter database ") . $db->name . q(" set deadlock_timeout = '100ms'));
$db->do('create table counters (id int primary key, n int not null default 0); insert into counters select generate_series(0, 9)');
my $driver = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'shared')->handler(sql => Pawl::Slot::sql_handler(), {
	statement => 'update counters set n = n + 1 where id = :/row' });
my @slots = map { $driver->ready } 1 .. 2;
my ($batches, $size, $deadlocks, $done, $other) = (10, 100, 0, 0, 0);

for my $batch (1 .. $batches) {
	# Both stand before the row in the middle, from both ends, when it is let go.
	my $session = $db->session;
	$session->query('begin');
	$session->query('update counters set n = n where id = 4');
	for my $s (0, 1) {
		my @messages = map { { id => "b$batch-s$s-$_", body => '{"row":' . ($s ? 9 - $_ % 10 : $_ % 10) . '}' } } 0 .. $size - 1;
		$driver->send($slots[$s], 0, @messages);
	}
	poll(sub { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot shared' and wait_event_type = 'Lock'") == 2 })
	    or die "the batches do not meet\n";
	$session->query('commit');
	$session->close;
	for my $slot (@slots) {
		my $result = $driver->wait_until($slot, 'result');
		$deadlocks += $result->{deadlocks};
		$_->{outcome} eq 'done' ? $done++ : $other++ for @{ $result->{outcomes} };
		next if !$result->{deadlocks};
		$driver->command('serialize', $_, 60000) for @slots;	# as the runner does
	}
}
cmp_ok($deadlocks, '>', 0, "there were deadlocks ($deadlocks)");
is($done, 2 * $batches * $size, 'every message is done');
is($other, 0, 'none failed');
is($db->value('select sum(n) from counters'), 2 * $batches * $size, 'each once');
is($db->value('select count(*) from pawl.inbox'), 2 * $batches * $size, 'with a key each');
cmp_ok($deadlocks, '<', $batches / 2, 'after one, batches take turns');

$driver->finish;
done_testing;
