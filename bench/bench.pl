#!/usr/bin/perl
# bench.pl - make bench: Pawl beside what one would write instead, on the same private servers, in one run.
#
# Every round runs every contestant once (A B C A B C ...), so that what else the machine does hits all alike; the medians of the rounds
# are compared. README.md says what is measured and how to read it.
#
# Environment: BENCH_QUICK=1 (one short round), BENCH_ROUNDS=n, BENCH_ONLY=regex of contestants, BENCH_GONE=n (rows that go through
# before a "lasting" run is measured), BENCH_MINUTES=n and BENCH_RATE=n (relay-endurance).
use strict;
use warnings;
use File::Temp ();
use FindBin;
use lib $FindBin::Bin;
use IO::Handle;
use JSON::PP ();
use List::Util qw(max min);
use POSIX ();
use Time::HiRes qw(time);
use Latency;
use Pawl::Postgres;
use Pawl::Process;
use Pawl::Program;
use Pawl::Rabbit;

my $quick = $ENV{BENCH_QUICK};
my $rounds = $ENV{BENCH_ROUNDS} || ($quick ? 1 : 5);
my $only = $ENV{BENCH_ONLY} // '';
my $aggregates = 10_000;
my $body_bytes = 512;
my $build = Pawl::Program::build_dir();
my $tmp = File::Temp->newdir('pawl-bench-XXXX', TMPDIR => 1, CLEANUP => 1);
chmod(0755, "$tmp");
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);	# so that END blocks stop the servers

# name, what it is, messages, how it is run
my @consumers = (
	[ 'bare', 'bare consumer: 2 processes, libpq pipeline', $quick ? 20_000 : 200_000, \&bare_consumer ],
	[ 'worker-1', 'pawl-worker, sql handler, 1 slot', $quick ? 20_000 : 200_000, sub { pawl_worker(@_, 1) } ],
	[ 'worker-2', 'pawl-worker, sql handler, 2 slots', $quick ? 20_000 : 200_000, sub { pawl_worker(@_, 2) } ],
	[ 'textbook', 'textbook consumer: 8 x one transaction per message', $quick ? 3_000 : 20_000, sub { textbook_consumer(@_) } ],
	[ 'textbook-no-inbox', 'the same without the idempotency key', $quick ? 3_000 : 20_000, sub { textbook_consumer(@_, '--no-inbox') } ],
);
my @handlers = (
	[ 'worker-sql', 'sql handler, 1 slot', $quick ? 20_000 : 200_000, sub { pawl_worker(@_, 1) } ],
	[ 'worker-effects', 'C handler, the same statement, 1 slot', $quick ? 20_000 : 200_000, sub { pawl_worker(@_, 1, 'effects') } ],
	[ 'worker-reads', 'READS handler, a query first, 4 slots', $quick ? 3_000 : 100_000, sub { pawl_worker(@_, 4, 'reads') } ],
	[ 'worker-external', 'EXTERNAL handler that waits 50 ms, 4 slots (of 80)', $quick ? 100 : 1600, sub { pawl_worker(@_, 4, 'external') } ],
);
my @relays = (
	[ 'loop', 'bare loop: read 1000, publish, confirm, delete', $quick ? 20_000 : 100_000, sub { bare_relay(@_, 1000) } ],
	[ 'relay', 'pawl-relay, order = "aggregate"', $quick ? 20_000 : 100_000, \&pawl_relay ],
	[ 'row', 'row by row', $quick ? 500 : 3_000, sub { bare_relay(@_, 1) } ],
);

# name, what it is, rows, what another session does from before the first of the rows that go through on
my $gone = $ENV{BENCH_GONE} || ($quick ? 10_000 : 100_000);
my @lasting = (
	[ 'relay-plain', thousands($gone) . ' rows have gone through', 20_000 ],
	[ 'relay-held-snapshot', '... under an old snapshot', 20_000, 'begin isolation level repeatable read; select 1 from pawl.outbox' ],
	[ 'relay-held-later', '... and as many that had a not_before', 20_000, 'begin isolation level repeatable read; select 1 from pawl.outbox' ],
	[ 'relay-open-writer', '... while a transaction is open that has a row', 20_000,
		"begin; insert into pawl.outbox (aggregatetype, aggregateid, type, payload) values ('order', 'held', 'OrderPlaced', '{}')" ],
);
my ($endurance_s, $endurance_rate) = (60 * ($ENV{BENCH_MINUTES} || ($quick ? 0.1 : 0.5)), $ENV{BENCH_RATE} || 2000);

my ($postgres, $broker, $db, $vhost, $conninfo, $session);
my (%rates, %cpu, $endurance);
my $run = 0;

sub start_servers
{
	mkdir("$tmp/$_") or die "could not make a directory in $tmp: $!\n" for qw(pg mq);
	$postgres = Pawl::Postgres->start(dir => "$tmp/pg", fsync => 1, options => {
		synchronous_commit => 'on', shared_buffers => '512MB', max_wal_size => '4GB', checkpoint_timeout => '30min',
		track_commit_timestamp => 'on',
	});
	$broker = Pawl::Rabbit->start(dir => "$tmp/mq", fsync => 1, config => {
		'collect_statistics_interval' => 5000, 'raft.wal_max_size_bytes' => 536870912, 'vm_memory_high_watermark.absolute' => '2GB',
	});
	$db = $postgres->create_db('bench');
	$vhost = $broker->create_vhost('bench');
	$conninfo = $db->conninfo(host => $postgres->{dir});
	my $migrate = Pawl::Program->run('pawlctl', 'migrate', $conninfo);
	die "could not migrate: $migrate->{err}\n" if $migrate->{status};
	# A vacuum between two runs tells the planner that the table is empty, and queries of the next run would read all of it.
	$db->do('create schema bench;'
		. ' create table bench.target (id bigint primary key, aggregate text not null, total numeric(12,2) not null) with (autovacuum_enabled = false);'
		. ' create table bench.processed (message_id text primary key, done_at timestamptz not null default now())');
	$session = $db->session;
	$vhost->amqp->declare_exchange('bench', 'topic');
	return;
}

# ---- processes and their costs

sub start
{
	my ($name, @command) = @_;
	return Pawl::Process->new(name => $name, log => "$tmp/$name.log", command => \@command, env => { Pawl::Program::environment() });
}

sub finish
{
	my ($process, $seconds) = @_;
	my $status = $process->wait($seconds);
	return if defined $status && $status == 0;
	$process->kill_group;
	die "$process->{name}: " . Pawl::Process::describe_status($status) . "\n" . $process->log;
}

my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());

# Seconds that a process and its ended children have used.
sub seconds_of
{
	my ($pid) = @_;
	open(my $file, '<', "/proc/$pid/stat") or return 0;
	my @field = split(' ', (readline($file) =~ /\) (.*)/)[0]);
	return ($field[11] + $field[12] + $field[13] + $field[14]) / $ticks;
}

# A backend's costs are the postmaster's when it was reaped.
sub backends { return scalar split(' ', Pawl::Postgres::Database::read_all("/proc/$_[0]/task/$_[0]/children")) }

sub costs { return { backends => backends($postgres->pid), own => (times)[2] + (times)[3], postgres => seconds_of($postgres->pid), broker => seconds_of($broker->pid) } }

sub take_costs
{
	my ($name, $count, $before) = @_;
	Pawl::Process::poll(sub { backends($postgres->pid) <= $before->{backends} }, 10);
	my $after = costs();
	push @{ $cpu{$name}{$_} }, ($after->{$_} - $before->{$_}) * 1e6 / $count for qw(own postgres broker);
	return;
}

sub wait_until
{
	my ($process, $code) = @_;
	return Pawl::Process::poll(sub {
		my $result = $code->();
		die "$process->{name} ended too early\n" . $process->log if !$result && !$process->running && !$code->();
		return $result;
	}, 120) || die "$process->{name} did not finish\n" . $process->log;
}

# ---- consumers: a queue is filled, then a contestant empties it

sub bare_consumer { my ($queue, $count) = @_; return start('consume-bare', "$build/bench/consume-bare", $vhost->uri, $queue, $conninfo, $count) }

sub textbook_consumer
{
	my ($queue, $count, @option) = @_;
	return start('consume-textbook', "$build/bench/consume-textbook", @option, $vhost->uri, $queue, $conninfo, $count, 8);
}

sub pawl_worker
{
	my ($queue, $count, $slots, $kind) = @_;
	my $uri = $vhost->uri;
	my $use = $kind ? qq(use = "$build/bench/.libs/handler.so";  config: { kind = "$kind"; };) : <<'	END';
		use = "sql";
		config: {
			statement = "insert into bench.target (id, aggregate, total) values (:/id, :/aggregate, :/total)"
				" on conflict (id) do update set aggregate = excluded.aggregate, total = excluded.total";
		};
	END
	my $file = write_file('worker.conf', <<"	END");
		run_dir = "$tmp";
		broker: { uri = "$uri"; };
		database: { conninfo = "$conninfo"; };
		queues: {
			bench: {
				queue = "$queue";  slots = $slots;
				handlers: { row: { type = "OrderPlaced";  $use }; };
			};
		};
	END
	return start('pawl-worker', "$build/pawl-worker", '-c', $file);
}

sub write_file
{
	my ($name, $text) = @_;
	open(my $file, '>', "$tmp/$name") or die "could not write $tmp/$name: $!\n";
	print $file $text;
	close($file) or die "could not write $tmp/$name: $!\n";
	return "$tmp/$name";
}

# Messages per second from the first commit of effects to the last: the server's own commit times.
sub consume
{
	my ($name, $count, $start) = @{ $_[0] }[0, 2, 3];
	my $queue = 'bench-' . ++$run;

	$session->query('truncate bench.target, bench.processed, pawl.inbox');
	finish(start('fill', "$build/bench/fill", $vhost->uri, $queue, $count, $aggregates, $run), 600);
	$session->query('checkpoint');
	my $before = costs();
	my $process = $start->($queue, $count);
	wait_until($process, sub {	# ids come in order, more or less: the count is looked at when the last one is there
		$session->value("select case when exists (select from bench.target where id = $count)"
			. " then (select count(*) from bench.target) else 0 end") == $count;
	});
	$process->signal('TERM') if $name =~ /^worker/;
	finish($process, 60);
	take_costs($name, $count, $before);
	my ($sum, $rate) = @{ ($session->query("select sum(id), (count(*) - count(*) filter (where at = first)) / extract(epoch from max(at) - first)"
		. ' from (select id, at, min(at) over () as first from (select id, pg_xact_commit_timestamp(xmin) as at from bench.target) r) t group by first'))[0] };
	die "$name: wrong rows\n" if $sum != $count * ($count + 1) / 2;
	Pawl::Process::poll(sub { $vhost->count($queue) == 0 }, 10) or die "$name: did not ack everything\n";
	$vhost->amqp->delete_queue($_) for $queue, "$queue.dead";
	return $rate;
}

# ---- relays: the outbox is filled, then a contestant empties it

sub bare_relay { my ($count, $batch) = @_; return start('relay-bare', "$build/bench/relay-bare", $vhost->uri, 'bench', $conninfo, $count, $batch) }

sub pawl_relay { return start_relay("bench: { conninfo = \"$conninfo\";  exchange = \"bench\";  order = \"aggregate\"; };") }

sub start_relay
{
	my ($outboxes) = @_;
	my $uri = $vhost->uri;
	my $file = write_file('relay.conf', <<"	END");
		run_dir = "$tmp";
		broker: { uri = "$uri"; };
		outboxes: { $outboxes };
	END
	return start('pawl-relay', "$build/pawl-relay", '-c', $file);
}

sub insert_rows
{
	my ($to, $from, $count, $not_before) = @_;
	my $plain = "jsonb_build_object('id', n, 'aggregate', a, 'total', n % 10000 + 0.25, 'note', '')";
	$to->query(<<"	END");
		insert into pawl.outbox (aggregatetype, aggregateid, type, payload, not_before)
		select 'order', a, 'OrderPlaced', jsonb_set($plain, '{note}', to_jsonb(repeat('x', $body_bytes - length(($plain)::text)))), @{[ $not_before // 'null' ]}
		from (select n, 'a' || lpad((((n * 2654435761) & 4294967295) >> 8) % $aggregates || '', 5, '0') as a
			from generate_series($from\::bigint, $from\::bigint + $count - 1) n) r
	END
	return;
}

sub fill_outbox
{
	my ($count) = @_;
	$session->query('truncate pawl.outbox restart identity');
	insert_rows($session, 1, $count);
	$session->query('vacuum analyze pawl.outbox');
	$session->query('checkpoint');
	return;
}

# Rows per second from the first commit of deletions to the last. The rows are those from behind $base on, $count of them.
sub rate_of
{
	my ($process, $where, $base, $count) = @_;
	my $committed = 'extract(epoch from (select timestamp from pg_last_committed_xact()))';
	my ($first, $from) = @{ wait_until($process, sub {
		my ($row) = $where->query("select coalesce(min(seq), $base + $count + 1) - 1, $committed from pawl.outbox where seq > $base");
		return $row->[0] > $base ? $row : undef;
	}) };
	my $to = wait_until($process, sub {
		$where->value("select case when exists (select from pawl.outbox where seq = $base + $count) or exists (select from pawl.outbox where seq > $base)"
			. " then null else $committed end");
	});
	return ($base + $count - $first) / ($to - $from);
}

sub relay
{
	my ($name, $count, $start) = @{ $_[0] }[0, 2, 3];
	my $queue = 'bench-' . ++$run;

	fill_outbox($count);
	$vhost->amqp->declare_queue($queue);
	$vhost->amqp->bind($queue, 'bench', '#');
	my $before = costs();
	my $process = $start->($count);
	my $rate = rate_of($process, $session, 0, $count);
	$process->signal('TERM') if $name eq 'relay';
	finish($process, 60);
	take_costs($name, $count, $before);
	Pawl::Process::poll(sub { $vhost->count($queue) == $count }, 10) or die "$name: " . $vhost->count($queue) . " messages instead of $count\n";
	$vhost->amqp->delete_queue($queue);
	return $rate;
}

# ---- relays: is it still as fast later on?

sub new_outbox
{
	my ($name) = @_;
	my $new = $postgres->create_db($name);
	my $of = $new->conninfo(host => $postgres->{dir});
	my $migrate = Pawl::Program->run('pawlctl', 'migrate', $of);
	die "could not migrate: $migrate->{err}\n" if $migrate->{status};
	return ($new, $of);
}

sub stop_relay { my ($relay) = @_; $relay->signal('TERM'); finish($relay, 60); return }

# One relay with an outbox in a database of its own for each contestant, so that what one of them holds is the others' no more than a
# core that is busy. $gone rows go through each; then they take turns, each as the first one, two in a round. What it costs the server is
# what its sessions have used so far, those that ended included.
sub lasting
{
	my @here = @_;
	my (%of, $relay);
	my $spent = sub {
		my @sessions = split(' ', Pawl::Postgres::Database::read_all('/proc/' . $postgres->pid . '/task/' . $postgres->pid . '/children'));
		my $server = 0;
		$server += seconds_of($_) for $postgres->pid, @sessions;
		return { own => seconds_of($relay->pid), postgres => $server, broker => seconds_of($broker->pid) };
	};
	my $through = sub {
		my ($name, $count, $not_before) = @_;
		my $to = $of{$name}{session};
		insert_rows($to, 1, $count, $not_before);
		my $rate = rate_of($relay, $to, $to->value('select last_value from pawl.outbox_seq_seq') - $count, $count);
		Pawl::Process::poll(sub { $vhost->count('lasting') == $count }, 10) or die "$name: " . $vhost->count('lasting') . " messages instead of $count\n";
		$vhost->amqp->purge('lasting');
		return $rate;
	};

	$vhost->amqp->declare_queue('lasting');
	$vhost->amqp->bind('lasting', 'bench', '#');
	my $outboxes = '';
	for (@here) {
		my ($name, $hold) = @{$_}[0, 3];
		(my $key = $name) =~ tr/-/_/;
		(my $new, my $info) = new_outbox($key);
		$of{$name} = { session => $new->session, other => $new->session };
		$of{$name}{other}->query($hold) if $hold;
		$outboxes .= "$key: { conninfo = \"$info\";  exchange = \"bench\";  order = \"aggregate\"; }; ";
	}
	$relay = start_relay($outboxes);
	for (@here) {
		for (my $left = $gone; $left > 0; $left -= 50_000) {
			my $count = $left > 50_000 ? 50_000 : $left;
			$through->($_->[0], $count);
			$through->($_->[0], $count, 'now()') if $_->[0] eq 'relay-held-later';
		}
	}
	for my $turn (0 .. 2 * $rounds - 1) {
		for (@here[ map { ($_ + $turn) % @here } 0 .. $#here ]) {
			my ($name, $count) = @{$_}[0, 2];
			$session->query('checkpoint');
			my $before = $spent->();
			my $rate = $through->($name, $count);
			my $after = $spent->();
			push @{ $rates{$name} }, $rate;
			push @{ $cpu{$name}{$_} }, ($after->{$_} - $before->{$_}) * 1e6 / $count for keys %$after;
			say_rate(1 + int($turn / 2), $name, $rate);
		}
	}
	$_->{other}->close for values %of;
	stop_relay($relay);
	$vhost->amqp->delete_queue('lasting');
	return;
}

# Rows at a steady rate, in batches, for a long time. The last one of each batch is of another type, so that it goes to a queue of its own
# too, where it is looked for: from the answer to the commit until it is there.
sub endure
{
	my ($new, $of) = new_outbox('endurance');
	my ($writer, $watcher, $amqp) = ($new->session, $new->session, $vhost->connect);
	my $batch = max(1, int($endurance_rate / 20));
	my $naptime = $endurance_s < 180 ? '5s' : '1min';	# of autovacuum: it has to come around a few times
	$new->do("alter system set autovacuum_naptime = '$naptime'");
	$new->do('select pg_reload_conf()');
	$amqp->declare_queue('endurance', arguments => { 'x-queue-type' => 'quorum', 'x-max-length' => [ 'I', 10_000 ] });
	$amqp->bind('endurance', 'bench', '#');
	$amqp->declare_queue('probe');
	$amqp->bind('probe', 'bench', 'Probe');
	my $relay = start_relay("endurance: { conninfo = \"$of\";  exchange = \"bench\";  order = \"aggregate\"; };");
	$amqp->consume('probe', 1000, 1);
	my (%sent, @lag, @table, @memory, $last);
	my $take = sub {
		my ($until) = @_;
		my $left = $until - time;
		my $message = $amqp->next_delivery($left > 0 ? $left : 0) or return;
		my ($n) = $message->{body} =~ /"n": ?(\d+)/;
		my $at = delete $sent{$n} or return;
		push @lag, [ $at, (time - $at) * 1000 ];
		return 1;
	};
	my $send = sub {
		my ($n) = @_;
		$writer->query('begin');
		insert_rows($writer, 1 + $n * ($batch - 1), $batch - 1) if $batch > 1;
		$writer->query("insert into pawl.outbox (aggregatetype, aggregateid, type, payload)"
			. " values ('order', 'a' || lpad(($n % $aggregates)::text, 5, '0'), 'Probe', jsonb_build_object('n', $n)); commit");
		$sent{$n} = time;
	};
	$send->(0);	# it leads, and all its statements are prepared
	$take->(time + 10) or die "relay-endurance: nothing comes\n" . $relay->log;
	@lag = ();
	my ($begun, $second) = (time, 0);
	for my $n (1 .. $endurance_s * 20) {
		my $due = $begun + $n / 20;
		while (time < $due) { $take->($due) or last }
		$send->($n);
		next if time < $begun + $second;
		push @table, $watcher->value("select pg_total_relation_size('pawl.outbox')");
		push @memory, Pawl::Postgres::Database::read_all('/proc/' . $relay->pid . '/status') =~ /^VmRSS:\s+(\d+)/m;
		$second++;
	}
	my $took = time - $begun;
	my $end = time + 60;
	while (%sent) { $take->($end) or die 'relay-endurance: ' . keys(%sent) . " batches did not arrive\n" . $relay->log }
	stop_relay($relay);
	$amqp->delete_queue($_) for qw(endurance probe);
	$amqp->close;
	$new->do('alter system reset autovacuum_naptime');
	$new->do('select pg_reload_conf()');
	my @by = map { my $third = $_; [ map { $_->[1] } grep { int(3 * ($_->[0] - $begun) / ($took + 1)) == $third } @lag ] } 0 .. 2;
	my $thirds = sub { my ($code, @of) = @_; my $n = int(@of / 3); return [ map { rounded($code->(@of[ $_ * $n .. ($_ + 1) * $n - 1 ]), 2) } 0 .. 2 ] };
	$endurance = {
		seconds => rounded($took, 1), rows => $batch * 20 * $endurance_s, per_second => rounded($batch * 20 * $endurance_s / $took, 0),
		lag_ms => { p50 => rounded(percentile(50, map { @$_ } @by), 2), p99 => rounded(percentile(99, map { @$_ } @by), 2), max => rounded(max(map { @$_ } @by), 2),
			p50_thirds => [ map { rounded(percentile(50, @$_), 2) } @by ], p99_thirds => [ map { rounded(percentile(99, @$_), 2) } @by ] },
		table_mb => { begin => rounded($table[0] / 2**20, 2), end => rounded($table[-1] / 2**20, 2), max_thirds => $thirds->(\&max, map { $_ / 2**20 } @table) },
		relay_mb => { begin => rounded($memory[0] / 1024, 2), end => rounded($memory[-1] / 1024, 2), max_thirds => $thirds->(\&max, map { $_ / 1024 } @memory) },
	};
	return;
}

sub grows { my ($what, $slack, $thirds) = @_; return "$what " . ($thirds->[2] > 1.5 * $thirds->[0] + $slack ? 'GROWS' : 'does not grow') }

sub print_endurance
{
	my $e = $endurance or return;
	my ($lag, $table, $memory) = @{$e}{qw(lag_ms table_mb relay_mb)};
	printf "\nrelay-endurance: %s rows in batches, %s a second for %.0f s\n", thousands($e->{rows}), thousands($e->{per_second}), $e->{seconds};
	printf "  commit to consumer   p50 %.1f ms, p99 %.1f ms, max %.1f ms; by thirds of the time: p50 %s, p99 %s\n", @{$lag}{qw(p50 p99 max)},
		map { join(' / ', map { sprintf '%.1f', $_ } @$_) } @{$lag}{qw(p50_thirds p99_thirds)};
	printf "  %-20s %.1f MB at first, %.1f MB at the end; by thirds at most: %s\n", @$_[0, 1, 2], join(' / ', map { sprintf '%.1f', $_ } @{ $_->[3] })
		for [ 'table with index', @{$table}{qw(begin end max_thirds)} ], [ q(relay's memory), @{$memory}{qw(begin end max_thirds)} ];
	print '  ', join('; ', grows('the lag', 5, $lag->{p50_thirds}), grows('the table', 8, $table->{max_thirds}), grows('the memory', 8, $memory->{max_thirds})), "\n";
	return;
}

# ---- figures

sub percentile { my ($p, @of) = @_; my @sorted = sort { $a <=> $b } @of; return @sorted ? $sorted[ POSIX::ceil($p / 100 * @sorted) - 1 ] : 0 }

sub say_rate { my ($round, $name, $rate) = @_; printf "round %d of %d: %-18s %9s per second\n", $round, $rounds, $name, thousands($rate); return }

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return @sorted % 2 ? $sorted[@sorted / 2] : ($sorted[@sorted / 2 - 1] + $sorted[@sorted / 2]) / 2;
}

sub rounded { my ($n, $digits) = @_; return 0 + sprintf('%.*f', $digits, $n) }

sub first_line { my ($command) = @_; my $line = `$command 2>/dev/null`; chomp $line; return $line =~ s/\n.*//sr }

# How long a small durable write takes on this disk.
sub fsync_ms
{
	open(my $file, '>', "$tmp/fsync") or die "could not write $tmp/fsync: $!\n";
	my @took;
	for (1 .. 50) {
		my $from = time();
		syswrite($file, 'x' x 8192);
		$file->sync;
		push @took, (time() - $from) * 1000;
	}
	return median(@took);
}

sub machine
{
	my ($cpu) = map { /^model name\s*: (.*)/ ? $1 : () } split(/\n/, `cat /proc/cpuinfo`);
	my $overview = $broker->api('GET', '/api/overview');
	return {
		cores => 0 + first_line('getconf _NPROCESSORS_ONLN'), cpu => $cpu // 'unknown', kernel => first_line('uname -r'),
		postgresql => $session->value('show server_version'), rabbitmq => $overview->{rabbitmq_version}, erlang => $overview->{erlang_version},
		rabbitmq_c => first_line('pkg-config --modversion librabbitmq'), fsync_ms => rounded(fsync_ms(), 2),
		load_before => 0 + (split(' ', first_line('cat /proc/loadavg')))[0],
	};
}

sub thousands { my ($n) = @_; my $text = sprintf('%.0f', $n); 1 while $text =~ s/^(\d+)(\d{3})/$1,$2/; return $text }

sub print_table
{
	my ($title, $contestants, @against) = @_;
	my @here = grep { $rates{ $_->[0] } } @$contestants or return;
	printf "\n%-52s %9s %9s %9s %s  %s\n", $title, qw(median min max), join(' ', map { sprintf '%10s', "x $_" } @against), 'cpu us each: own pg broker';
	for my $contestant (@here) {
		my ($name, $what) = @$contestant;
		my $median = median(@{ $rates{$name} });
		my @ratios = map { $rates{$_} ? sprintf('%10.2f', $median / median(@{ $rates{$_} })) : ' ' x 10 } @against;
		printf "%-52s %9s %9s %9s %s  %15.1f %4.1f %6.1f\n", $what, (map { thousands($_) } $median, min(@{ $rates{$name} }), max(@{ $rates{$name} })),
			join(' ', @ratios), map { median(@{ $cpu{$name}{$_} }) } qw(own postgres broker);
	}
	return;
}

sub results
{
	my ($contestants, @against) = @_;
	return [ map {
		my ($name, $what, $count) = @$_;
		my @rate = map { rounded($_, 0) } @{ $rates{$name} };
		+{
			name => $name, what => $what, messages => $count, per_second => { median => median(@rate), min => min(@rate), max => max(@rate), all => \@rate },
			ratio => { map { $rates{$_} ? ($_ => rounded(median(@rate) / median(@{ $rates{$_} }), 3)) : () } @against },
			cpu_us => { map { $_ => rounded(median(@{ $cpu{$name}{$_} }), 1) } keys %{ $cpu{$name} } },
		};
	} grep { $rates{ $_->[0] } } @$contestants ];
}

STDOUT->autoflush(1);
start_servers();
my $machine = machine();
print "bench: $machine->{cores} cores ($machine->{cpu}), Linux $machine->{kernel}, PostgreSQL $machine->{postgresql}, "
	. "RabbitMQ $machine->{rabbitmq} (Erlang $machine->{erlang}), rabbitmq-c $machine->{rabbitmq_c}\n"
	. "bench: fsync and synchronous_commit on (a durable 8 kB write takes $machine->{fsync_ms} ms), quorum queues on one node, "
	. "$body_bytes-byte bodies, $aggregates aggregates; load before: $machine->{load_before}\n";
print "bench: this build has fault points compiled in: not the one to measure\n" if Pawl::Program::built_with('PAWL_FAULTS');
for my $round (1 .. $rounds) {
	for my $contestant (@consumers, @handlers, @relays) {
		my $name = $contestant->[0];
		next if $name !~ /$only/;
		my $rate = (grep { $_ == $contestant } @consumers, @handlers) ? consume($contestant) : relay($contestant);
		push @{ $rates{$name} }, $rate;
		say_rate($round, $name, $rate);
	}
}
my @lasting_here = grep { $_->[0] =~ /$only/ } @lasting;
lasting(@lasting_here) if @lasting_here;
endure() if 'relay-endurance' =~ /$only/;
print_table('consumers, messages per second', \@consumers, qw(bare textbook));
print_table('handlers, messages per second', \@handlers, qw(worker-sql));
print_table('relays, rows per second', \@relays, qw(loop row));
print_table('relays later on, rows per second', \@lasting, qw(relay-plain));
print_endurance();
my %own = (postgres => $postgres, vhost => $vhost, build => $build, tmp => "$tmp", quick => $quick, start => \&start, write_file => \&write_file);
my $latency = 'relay-latency' =~ /$only/ ? Latency::relay(%own) : undef;
my $writers = 'relay-writers' =~ /$only/ ? Latency::writers(%own) : undef;
mkdir("$build/bench");
open(my $out, '>', "$build/bench/out.json") or die "could not write $build/bench/out.json: $!\n";
print $out JSON::PP->new->utf8->canonical->pretty->encode({
	machine => $machine, rounds => $rounds, quick => $quick ? JSON::PP::true : JSON::PP::false, body_bytes => $body_bytes, aggregates => $aggregates,
	consumers => results(\@consumers, qw(bare textbook)), handlers => results(\@handlers, 'worker-sql'), relays => results(\@relays, qw(loop row)),
	lasting => results(\@lasting, 'relay-plain'), gone => $gone, endurance => $endurance,
	latency => $latency, writers => $writers,
});
close($out) or die "could not write $build/bench/out.json: $!\n";
print "\nall figures: bench/out.json\n";
