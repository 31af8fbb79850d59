#!/usr/bin/perl
# The broker or the database goes away in the middle of it, the broker takes nothing for a while, the relay is told to stop.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

my ($postgres, $rabbit) = (own_postgres(fsync => 1, options => { wal_writer_delay => '10s' }), own_rabbit(fsync => 1, config => { max_message_size => 1_000_000, channel_max => 12 }));
my ($db, $vhost) = (migrated_db($postgres), $rabbit->create_vhost);
my $o = Pawl::Outbox->new(db => $db, vhost => $vhost, outbox => 'window = 200;');
my $n = 0;
sub emit { my ($count) = @_; $o->emit_many($count, 50, $n + 1); $n += $count; return }
sub check
{
	my ($what, $from, @messages) = @_;
	my ($seen) = first_seen(@messages);
	is_deeply([ sort { $a <=> $b } @$seen ], [ $from .. $n ], "$what: nothing is lost");
	is_deeply([ order_errors(@messages) ], [], "$what: the first sight of each aggregate is in order");
	return @messages - @$seen;
}

# TERM in the middle: what was issued is confirmed and deleted, so nothing comes twice.
emit(4000);
my @all;
for my $round (1 .. 3) {
	my $relay = $o->relay({ name => "term-$round" });
	my $mark = $o->count;
	wait_for { $o->count > $mark + 200 } "TERM $round: it is publishing";
	$relay->stop;
	is($o->left + $o->count, $n, "TERM $round: what is published is deleted");
}
my $relay = $o->relay({ name => 'relay' })->allow_log(qr/the broker|could not connect|connection|channel/, qr/lost the database session|could not get a database session|the database warns/);
$o->wait_empty('TERM: the next one publishes the rest', 60);
is(check('TERM', 1, $o->take), 0, 'TERM: nothing comes twice');

# A message that is too large for this broker closes the channel: the culprit is found among the others, which go on.
{
	my $from = $n + 1;
	emit(500);
	$db->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload) values ('order', 'large', 'T',"
	    . " jsonb_build_object('n', 0, 'a', 'large', 'x', repeat('x', 2000000))), ('order', 'large', 'T', '{\"n\": 1, \"a\": \"large\"}')");
	emit(500);
	$relay->allow_log(qr/aggregate .*order\/large.* waits: the broker refused it: .*PRECONDITION_FAILED.*mend the row/);
	wait_for { $o->left == 2 } 'too large for the broker: all others are published';
	check('too large for the broker', $from, $o->take);
	is(scalar(grep { /waits/ } split(/\n/, $relay->log)), 1, 'one event is blamed');
	$db->do("update pawl.outbox set payload = '{\"n\": 0, \"a\": \"large\"}' where length(payload::text) > 1000000");
	$o->wait_empty('it gets through when it is mended', 60);
	is_deeply([ map { @$_ } (first_seen($o->take))[0] ], [ 0, 1 ], 'and what was behind it');
}

# The broker closes the connection, and is killed.
{
	my $from = $n + 1;
	emit(3000);
	for my $round (1 .. 3) {
		my $mark = $o->count;
		wait_for { $o->count > $mark + 200 || !$o->left } "closed $round: it is publishing";
		$vhost->close_connection($_) for grep { ($_->{client_properties}{connection_name} // '') =~ /pawl-relay/ } $vhost->connections;
	}
	$o->wait_empty('closed: all is published', 60);
	note(check('closed', $from, $o->take) . ' duplicates');
	$from = $n + 1;
	emit(3000);
	wait_for { $o->count > 300 } 'broker killed: it is publishing';
	$vhost->amqp->close;
	$rabbit->crash;
	emit(1000);
	$rabbit->up;
	$o->wait_empty('broker killed: all is published when it is back', 90);
	note(check('broker killed', $from, $o->take) . ' duplicates');
}

# The broker has an alarm: nothing is issued, nothing is lost, nothing comes twice for it.
{
	my $from = $n + 1;
	$rabbit->ctl('set_vm_memory_high_watermark', 'absolute', '1MB');
	emit(5000);
	$relay->wait_log(qr/the broker takes no more messages for now/);
	my $before = $o->left;
	$rabbit->ctl('set_vm_memory_high_watermark', '0.6');
	$relay->wait_log(qr/the broker takes messages again/);
	$o->wait_empty('alarm: all is published when it is over', 60);
	cmp_ok($before, '>', 0, "alarm: $before events waited");
	is(check('alarm', $from, $o->take), 0, 'alarm: nothing comes twice');
}

# The database restarts, and crashes.
for my $how (qw(fast immediate)) {
	my $from = $n + 1;
	emit(3000);
	wait_for { $o->count > 300 } "database $how: events are published";
	$postgres->restart($how);
	emit(1000);
	$o->wait_empty("database $how: all is published when it is back", 60);
	note(check("database $how", $from, $o->take) . ' duplicates');
}

$relay->stop;

# A broker that allows fewer channels than there are outboxes: those that have one work.
{
	my $many = Pawl::Outbox->new(db => $db, vhost => $vhost, outboxes => join('', 'orders: { exchange = "events"; }; ',
		map { "none$_: { exchange = \"events\"; table = \"pawl.none$_\"; }; " } 2 .. 15));
	my $relay = $many->relay({ name => 'channels' })->allow_log(qr/cannot relay: |channel_max/);
	$relay->wait_log(qr/cannot open channel 13: the broker allows 12 on a connection; raise its channel_max/);
	$relay->wait_log(qr/the broker allows 12 channels on a connection; 15 outboxes need one each/);
	$n = $many->emit('c', $n + 1) && $n + 1;
	wait_for { $many->count == 1 } 'too few channels: those that have one work';
	$many->take;
	$relay->stop;
}

# Writers that do not wait for their commits: an event that a crash takes back was never published. Nor does the relay wait for its deletes
# here, so nothing else puts the events on disk.
{
	my (%published, %written);
	$db->do('create table written (n int)');
	my $async = Pawl::Outbox->new(db => $db, vhost => $vhost, conninfo => $db->conninfo . " options='-c synchronous_commit=off'");
	my $second = $async->relay({ name => 'async' })->allow_log(qr/lost the database session|could not get a database session|the database warns/);
	for my $round (1 .. 4) {
		my $session = $db->session;
		$session->query('set synchronous_commit = off');
		for my $i (1 .. 5) {
			$session->query('begin; insert into written values (' . ++$n . '); ' . Pawl::Outbox::emit_sql("async$n", $n) . '; commit');
			wait_for { $published{$_}++ for @{ (first_seen($o->take))[0] }; $published{$n} } "asynchronous commits $round: $n is published" if $i == 4;
		}
		$postgres->crash;
		$session->close;
		$postgres->up;
		$o->wait_empty("asynchronous commits $round: all that survived is published", 60);
		$published{$_}++ for @{ (first_seen($o->take))[0] };
	}
	$written{ $_->[0] } = 1 for $db->query('select n from written');
	note(scalar(keys %written) . ' of 20 asynchronous commits survived');
	is_deeply([ sort { $a <=> $b } keys %published ], [ sort { $a <=> $b } keys %written ], 'exactly the events whose transactions survived are published');
	$second->stop;
}
done_testing;
