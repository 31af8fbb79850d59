#!/usr/bin/perl
# examples/handlers, built as their Makefile builds them: a projection, a payment, a call with a recorded answer, and one in C++.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Cwd ();
use IO::Socket::INET ();
use Pawl::Install;
use Pawl::Slot;

my $source = Cwd::abs_path("$FindBin::Bin/../examples/handlers");
my $include = Cwd::abs_path("$FindBin::Bin/../include");
my $dir = tmp_dir() . '/built';
mkdir $dir;
system('cp', glob("$source/*"), $dir);
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
my $log = `make -s -C $dir PAWL=-I$include CFLAGS='-O1 -Wall -Wextra -Werror' 2>&1`;
is($log, '', 'they build without a warning');

my $db = migrated_db();
$db->do(read_file("$source/schema.sql"));

# What the page says is typed as it stands.
{
	my $install = Pawl::Install->new;
	my $fresh = new_db();
	my ($host, $port, $user) = map { $fresh->conninfo =~ /\b$_=(\S+)/ ? $1 : '' } qw(host port user);
	local %ENV = (%ENV, $install->env, AMQP_URI => 'amqp://localhost/%2f', PGHOST => $host, PGPORT => $port, PGUSER => $user, PGDATABASE => $fresh->name);
	my $typed = join('', read_file("$source/../../doc/handlers.md") =~ /^```sh\n(.*?)^```$/msg);
	mkdir tmp_dir() . '/examples';
	system('cp', '-r', $dir, tmp_dir() . '/examples/handlers');
	my $out = `cd @{[ tmp_dir() ]} && bash -e -c '@{[ $typed =~ s/'/'\\''/gr ]}' 2>&1`;
	is($?, 0, 'every command of doc/handlers.md works') or diag($out);
	like($out, qr/^try-1 \(order_view 1\.0, EFFECTS\): done\n.*^try-1 \(stock 1\.0, EFFECTS\): done\n.*^pawl\.conf: good: 4 queues, 4 handlers.*^try-1 \(payment 1\.0, READS\): done\n.*event PaymentMade/ms,
		'and shows what it promises') or diag($out);
}

my $serial = 0;
sub driver { my ($name, %settings) = @_; return Pawl::Slot->new(conninfo => $db->conninfo, consumer => $name)->handler($name => "$dir/$name.so", \%settings) }
sub message { my ($type, $body, %more) = @_; return { id => 'm' . ++$serial, type => $type, body => $body, %more } }
sub outcome { my ($out) = @_; return join(' ', grep { $_ } @$out{qw(outcome code)}) }
sub events { return join(' ', map { $_->[1] } $db->query('select seq, type from pawl.outbox order by seq')) }

{
	my $d = driver('order_view');
	my $slot = $d->ready;
	my @out = $d->batch($slot, message(OrderPlaced => '{"id": "o1", "version": 1, "total": 12.50, "customer": {"name": "Ada"}}'),
		message(OrderChanged => '{"id": "o1", "version": 3, "total": 40.00, "customer": {"name": "Ada"}}'),
		message(OrderChanged => '{"id": "o1", "version": 2, "total": 13.00}'), message(OrderPlaced => '{"id": "o2", "version": 1}'));
	is(join(', ', map { outcome($_) } @out), 'done, done, done, reject bad_field', 'projection: a batch');
	is($db->value(q(select concat_ws(' ', id, customer, total, status, version) from order_view)), 'o1 Ada 40.00 open 3', 'the newest counts, and what lacks a field writes nothing');
	$d->batch($slot, message(OrderCancelled => '{"id": "o1", "version": 4}'));
	is($db->value('select status from order_view'), 'cancelled', 'and is cancelled');
	$d->finish;
}
{
	my $d = driver('payment');
	my $slot = $d->ready;
	my $first = message(OrderPlaced => '{"order": "p1", "customer": "ada", "amount": 60.00}');
	is(join(', ', map { outcome($_) } $d->batch($slot, $first, message(OrderPlaced => '{"order": "p2", "customer": "ada", "amount": 60.00}'),
		message(OrderPlaced => '{"order": "p3", "customer": "bob", "amount": 1}'), $first)), 'done, done, reject no_account, duplicate', 'payment: enough, not enough, no account, once more');
	is($db->value("select balance from account"), '40.00', 'paid once');
	is(events(), 'PaymentMade PaymentRefused', 'and both are told');
	$d->finish;
}
{
	my $d = driver('stock');
	is(join(', ', map { outcome($_) } $d->batch($d->ready, message(OrderPlaced => '{"items": [{"product": "pen", "quantity": 2}, {"product": "ink", "quantity": 1}]}'),
		message(OrderPlaced => '{"items": [{"product": "pen", "quantity": 2}, {"product": "ink", "quantity": 1}]}'), message(OrderPlaced => '{"items": []}'))),
		'done, reject out_of_stock, reject no_items', 'C++: reserved, out of stock, nothing to reserve');
	is($db->value(q(select string_agg(free::text, ' ' order by product) from stock)), '0 8', 'all items of an order or none');
	$d->finish;
}

# The parcel service: gives the same parcel for the same key, and says what it was asked.
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8, ReuseAddr => 1) or die "could not listen: $!\n";
my $asked = tmp_dir() . '/asked';
my $server = fork() // die "could not fork: $!\n";
if (!$server) {
	$SIG{$_} = 'DEFAULT' for qw(INT TERM);
	while (my $client = $listener->accept) {
		while (defined(my $line = readline($client))) {
			my %header;
			while (defined($line = readline($client)) && $line =~ /^([\w-]+): (.*?)\r?\n/) { $header{ lc $1 } = $2 }
			read($client, my $body, $header{'content-length'} // 0);
			open(my $file, '>>', $asked) or die;
			print $file "$header{'idempotency-key'} $body\n";
			close($file);
			my ($status, $answer) = $body =~ /busy/ ? (503, 'later') : $body =~ /bad/ ? (422, 'no such address') : (201, "{\"parcel\": \"$header{'idempotency-key'}\"}");
			print $client "HTTP/1.1 $status X\r\nContent-Length: " . length($answer) . "\r\n\r\n$answer";
		}
	}
	require POSIX;
	POSIX::_exit(0);
}
{
	my $url = 'http://127.0.0.1:' . $listener->sockport . '/parcels';
	my $d = driver('shipping', url => $url);
	my $slot = $d->ready;
	my $good = message(Paid => '{"order": "s1"}');
	is(join(', ', map { outcome($_) } $d->batch($slot, $good, $good, message(Paid => '{"order": "busy"}'), message(Paid => '{"order": "bad"}'), message(Paid => '{}'))),
		'done, duplicate, retry unavailable, reject refused, reject bad_field', 'a call: done, once more, busy, refused, no order');
	is($db->value("select answer->>'parcel' from parcel"), $good->{id}, 'the answer is recorded');
	is(scalar(split(/\n/, read_file($asked))), 3, 'neither the duplicate nor the bad one was asked for');
	like(events(), qr/ ParcelOrdered$/, 'and told');
	$d->finish;
	if (Pawl::Program::built_with('PAWL_FAULTS')) {
		my $killed = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'shipping', env => { PAWL_FAULT => 'slot.before_commit:kill' })->handler(shipping => "$dir/shipping.so", { url => $url });
		my $again = message(Paid => '{"order": "s2"}');
		my $dying = $killed->ready;
		$killed->send($dying, 0, $again);
		like($killed->wait($dying)->{text}, qr/^was killed by SIGKILL/, 'killed between the answer and the commit');
		$killed->{ended}{$dying} = 1;
		wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot shipping'") == 0 } 'its backend goes';
		my $next = driver('shipping', url => $url);
		is(outcome($next->batch($next->ready, $again)), 'done', 'another slot asks again');
		is(scalar(grep { /^$again->{id} / } split(/\n/, read_file($asked))), 2, 'with the same key');
		is($db->value("select count(*) from parcel where order_id = 's2'"), 1, 'and it is recorded once');
		$_->finish for $killed, $next;
	}
	my $lost = driver('shipping', url => 'http://127.0.0.1:1/');
	is(outcome($lost->batch($lost->ready, message(Paid => '{"order": "s3"}'))), 'retry no_answer', 'nobody there');
	$lost->finish;
	my $none = driver('shipping');
	like($none->wait($none->spawn)->{text}, qr/config\.url: is missing/, 'without a url it does not start');
}
kill('TERM', $server);
waitpid($server, 0);
done_testing;
