# How long an event takes from its commit until the broker has it, what a relay costs that has nothing to do, and what a doorbell costs writers.
#
#   Latency::relay(%bench)      by looking only, and with the doorbell: one relay, a database for each, in turn
#   Latency::writers(%bench)    inserts into tables with no trigger, with the doorbell's, and with one that notifies always: side by side
#
# The clock starts when the writer has the answer to its commit and stops when a consumer on the other side of the broker has the message: a
# little more than commit to confirm.
package Latency;
use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(time);
use Cost;
use Pawl::Postgres;
use Pawl::Process;
use Pawl::Program;

my $columns = "(aggregatetype, aggregateid, type, payload)";

sub percentile { my ($p, @sorted) = @_; return 0 + sprintf('%.1f', $sorted[ POSIX::ceil($p / 100 * @sorted) - 1 ]) }

sub figures { my @ms = sort { $a <=> $b } @_; return { p50 => percentile(50, @ms), p99 => percentile(99, @ms), max => percentile(100, @ms), events => scalar @ms } }

sub migrated
{
	my ($bench, $name) = @_;
	my $db = $bench->{postgres}->create_db($name);
	my $migrate = Pawl::Program->run('pawlctl', 'migrate', $db->conninfo);
	die "could not migrate: $migrate->{err}\n" if $migrate->{status};
	return $db;
}

# One event: its number, and when its commit was answered.
sub emit
{
	my ($way) = @_;
	my $n = ++$way->{n};
	$way->{writer}->query("insert into pawl.outbox $columns values ('order', 'a' || $n % 100, 'T', jsonb_build_object('n', $n))");
	return ($n, time);
}

# Waits until then, or for a message that comes earlier: its number and when it came. Looks for half a millisecond at least: what is here is taken.
sub next_until
{
	my ($way, $until) = @_;
	my $left = $until - time;
	my $message = $way->{consumer}->next_delivery($left > 0.0005 ? $left : 0.0005) or return;
	return ($message->{body} =~ /"n": ?(\d+)/, time);
}

sub comes { my ($way) = @_; my ($n, $at) = next_until($way, time + 10) or die "an event did not arrive\n"; return ($n, $at) }

sub steady
{
	my ($way, $rate, $seconds) = @_;
	my (%sent, @took);
	emit($way), comes($way);	# not the first event after a silence, which is another figure
	my $begun = time;
	for my $i (0 .. $rate * $seconds - 1) {
		my $due = $begun + $i / $rate;
		while (my ($n, $at) = next_until($way, $due)) {	# those that are here, even when a commit took long and the next one is late
			push @took, ($at - delete $sent{$n}) * 1000;
		}
		my ($n, $at) = emit($way);
		$sent{$n} = $at;
	}
	while (%sent) {
		my ($n, $at) = comes($way);
		push @took, ($at - delete $sent{$n}) * 1000;
	}
	return figures(@took);
}

# Each is silent for two seconds before its turn, and a part of a look longer or shorter.
sub silences
{
	my ($count, @ways) = @_;
	my %took;
	emit($_), comes($_) for @ways;
	for (1 .. $count) {
		for my $way (@ways) {
			Time::HiRes::sleep(2 / @ways + rand(0.03) - 0.015);
			my (undef, $at) = emit($way);
			my (undef, $came) = comes($way);
			push @{ $took{ $way->{name} } }, ($came - $at) * 1000;
		}
	}
	return map { $_ => figures(@{ $took{$_} }) } keys %took;
}

# A relay that has seen nothing yet is one that has seen nothing for long.
sub idle
{
	my ($bench, $start, $seconds, @ways) = @_;
	my $relay = $start->();
	my $cost = Cost::over($bench->{postgres}, $relay->pid, $seconds, map { $_->{db}->name } @ways);
	$relay->signal('TERM');
	$relay->wait(20);
	return { (map { $_->{name} => 0 + sprintf('%.1f', $cost->{queries}{ $_->{db}->name }) } @ways), cpu_percent => 0 + sprintf('%.2f', 100 * $cost->{cpu} / @ways) };
}

sub relay
{
	my (%bench) = @_;
	my ($rate, $seconds, $silences) = (200, $bench{quick} ? 2 : 10, $bench{quick} ? 3 : 25);
	my @ways = map { +{ name => $_, db => migrated(\%bench, "latency_$_"), n => 0 } } qw(polling doorbell);
	$ways[1]{db}->do("select pawl.doorbell('pawl.outbox')");
	my $amqp = $bench{vhost}->amqp;
	$amqp->declare_exchange('latency', 'topic');
	my $outboxes = '';
	for my $way (@ways) {
		my $name = $way->{name};
		$amqp->declare_queue("latency-$name");
		$amqp->bind("latency-$name", 'latency', $name);
		$way->{writer} = $way->{db}->session;
		$way->{consumer} = $bench{vhost}->connect;
		$way->{consumer}->consume("latency-$name", 1000, 1);
		$outboxes .= sprintf(qq($name: { conninfo = "%s"; exchange = "latency"; routing_key = "$name"; doorbell = %s; };\n),
			$way->{db}->conninfo(host => $bench{postgres}{dir}), $name eq 'doorbell' ? 'true' : 'false');
	}
	my $file = $bench{write_file}->('latency.conf', qq(run_dir = "$bench{tmp}"; broker: { uri = "@{[ $bench{vhost}->uri ]}"; };\noutboxes: {\n$outboxes};\n));
	my $start = sub {
		my $relay = $bench{start}->('latency', "$bench{build}/pawl-relay", '-c', $file);
		Pawl::Process::poll(sub { my $log = $relay->log; return (() = $log =~ /leading: /g) == @ways }, 20) or die "the relay does not lead\n" . $relay->log;
		return $relay;
	};
	my $relay = $start->();
	my %result = map { $_->{name} => { "$rate a second" => steady($_, $rate, $seconds) } } @ways;
	my %silent = silences($silences, @ways);
	$result{$_}{'first after 2 s'} = $silent{$_} for keys %silent;
	$relay->signal('TERM');
	$relay->wait(20);
	my $idle = idle(\%bench, $start, $bench{quick} ? 4 : 8, @ways);

	printf "\n%-52s %9s %9s %9s %9s\n", 'relay, commit to consumer, ms', qw(p50 p99 max events);
	for my $case ("$rate a second", 'first after 2 s') {
		printf "%-52s %9.1f %9.1f %9.1f %9d\n", "$case, $_", @{ $result{$_}{$case} }{qw(p50 p99 max events)} for map { $_->{name} } @ways;
	}
	printf "nothing to do: %.1f queries a second by looking, %.1f with the doorbell; %.2f %% of a core for each\n", @$idle{qw(polling doorbell cpu_percent)};
	return { %result, idle => $idle };
}

# Each transaction is one insert, of pgbench's choice of table. The relay of the doorbell counts as awake: nobody has its lock.
sub writers
{
	my (%bench) = @_;
	my $pgbench = Pawl::Postgres::bindir() . '/pgbench';
	if (!-x $pgbench) {
		print "\nwriters: there is no pgbench here, so they are not measured\n";
		return;
	}
	my $db = migrated(\%bench, 'latency_writers');
	my @tables = qw(plain doorbell notify);
	my @scripts;
	for my $table (@tables) {
		$db->do("create table $table (like pawl.outbox including all)");
		push @scripts, '-f', $bench{write_file}->("$table.sql", "insert into $table $columns values ('order', '42', 'T', '{\"n\": 1}');\n");
	}
	$db->do(q(select pawl.doorbell('doorbell'); create trigger always after insert on notify for each statement execute function pawl.ring()));
	chmod(0644, grep { -f } @scripts);
	my $text = '';
	my $run = $bench{start}->('pgbench', $pgbench, '-n', '-M', 'prepared', '-c', 4, '-T', $bench{quick} ? 2 : 15, @scripts, $db->conninfo(host => $bench{postgres}{dir}));
	$run->wait(60);
	$text = $run->log;
	my @ms = $text =~ /SQL script.*?latency average = ([\d.]+) ms/gs;
	die "pgbench: $text\n" if @ms != @tables;
	my %ratio = map { $tables[$_] => 0 + sprintf('%.2f', $ms[$_] / $ms[0]) } 0 .. $#tables;
	printf "\nwriters, one insert and its commit, 4 clients, relay awake: %.3f ms without a trigger; doorbell %.3f ms (x %.2f); notify at each %.3f ms (x %.2f)\n",
		$ms[0], $ms[1], $ratio{doorbell}, $ms[2], $ratio{notify};
	return { ms => { map { $tables[$_] => 0 + $ms[$_] } 0 .. $#tables }, ratio => \%ratio };
}

1;
