#!/usr/bin/perl
# examples/exec: the same handler in Python, JavaScript and shell, and a command for each message.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Cwd ();
use Pawl::Slot;

my $source = Cwd::abs_path("$FindBin::Bin/../examples/exec");
my $exec_so = Pawl::Program::build_dir() . '/handlers/.libs/exec.so';
my $db = migrated_db();
$db->do('create table order_view (id text primary key, total numeric)');
my $serial = 0;
sub message { my ($body) = @_; return { id => 'm' . ++$serial, type => 'OrderPlaced', body => $body } }
sub outcome { my ($out) = @_; return join(' ', grep { $_ } @$out{qw(outcome code)}) }

for my $case ([ 'view.py', 'python3' ], [ 'view.js', 'node' ], [ 'view.sh', 'sh' ]) {
	my ($name, $interpreter) = @$case;
	SKIP: {
		if (system("command -v $interpreter >/dev/null 2>&1") != 0) {
			die "$interpreter is missing\n" if $ENV{PAWL_TEST_NO_SKIP};
			skip("$interpreter is missing", 6);
		}
		$db->do('truncate order_view, pawl.outbox');
		my $d = Pawl::Slot->new(conninfo => $db->conninfo, consumer => $name)->handler(view => $exec_so, { 'command.[0]' => "./$name", directory => $source });
		my $slot = $d->ready;
		my $first = message('{"id": "o1", "total": 12.50}');
		my @out = $d->batch($slot, $first, message('{"id": "it\'s \\"o2\\" \\\\ \\u00e9", "total": 12345678901234567890.10}'), message('{"id": "o3"}'), message('[1]'), message('no order'), $first);
		is(join(', ', map { outcome($_) } @out), 'done, done, ' . 'reject bad_field, ' x 3 . 'duplicate', "$name: a batch") or diag(map { "$_->{text}\n" } @out);
		is(join(' ', map { "$_->[0]=$_->[1]" } $db->query('select id, total from order_view order by total')), "o1=12.50 it's \"o2\" \\ \xc3\xa9=12345678901234567890.10", "$name: the rows");
		is(join(' ', map { "$_->[0]/$_->[1]" } $db->query("select type, payload->>'order' from pawl.outbox order by seq")), "OrderListed/o1 OrderListed/it's \"o2\" \\ \xc3\xa9", "$name: the events");
		# For people: how fast it is beside the handler "sql".
		my $load = $d->load($slot, 20, 250, "$name-", '{"id": "*", "total": 1.00}');
		is($load->{done}, 5000, "$name: 5000 messages");
		diag(sprintf('%s: %d messages/s in one slot', $name, 5000 / $load->{seconds}));
		$d->finish;
	}
}
{
	my $d = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'sql')->handler(view => Pawl::Slot::sql_handler(), {
		'statements.[0]' => 'insert into order_view (id, total) values (:/id, :/total) on conflict (id) do update set total = excluded.total',
		'statements.[1]' => "select pawl.emit('view', :/id, 'OrderListed', jsonb_build_object('order', :/id::text))" });
	my $load = $d->load($d->ready, 20, 250, 'sql-', '{"id": "*", "total": 1.00}');
	is($load->{done}, 5000, 'sql: 5000 messages');
	diag(sprintf('handler "sql": %d messages/s in one slot', 5000 / $load->{seconds}));
	$d->finish;
}
{
	my $file = tmp_dir() . '/told';
	my $d = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'notify')->handler(tell => $exec_so, { 'command.[0]' => './notify.sh', 'command.[1]' => $file, directory => $source, mode => 'once' });
	my $order = message('{"id": "o1"}');
	my @out = $d->batch($d->ready, $order, $order, message('no order'));
	is(join(', ', map { outcome($_) } @out), 'done, duplicate, reject exec_reject', 'notify.sh: done, once, refused');
	is($out[2]{text}, 'an order is an object, and this is: no order', 'with its words');
	is(read_file($file), "$order->{id} OrderPlaced {\"id\": \"o1\"}\n", 'somebody was told');
	my $busy = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'busy')->handler(tell => $exec_so, { 'command.[0]' => './notify.sh', 'command.[1]' => '/nowhere/x', directory => $source, mode => 'once' });
	is(outcome($busy->batch($busy->ready, message('{}'))), 'retry exec_retry', 'notify.sh: nobody there');
	$_->finish for $d, $busy;
}
my $run = run_program({ env => { BROKER => 'amqp://localhost/%2f', DATABASE => $db->conninfo } }, 'pawlctl', 'check', '--strict', '-c', "$source/pawl.conf");
is($run->{status}, 0, 'their configuration') or diag($run->{err});
done_testing;
