#!/usr/bin/perl
# outboxes.pl - one relay for 200 outboxes in 50 databases: how fast it empties them, what it costs when they are quiet, and how long the
# quiet ones wait while one is flooded. A part of make bench; README.md says how to read it.
#
# Environment: BENCH_QUICK=1 (a tenth of the events), BENCH_ONLY=regex: nothing is done unless "outboxes" matches.
use strict;
use warnings;
use File::Temp ();
use FindBin;
use lib $FindBin::Bin;
use List::Util qw(max sum);
use POSIX ();
use Time::HiRes qw(time);
use Cost;
use Pawl::Postgres;
use Pawl::Process;
use Pawl::Program;
use Pawl::Rabbit;

exit 0 if 'outboxes' !~ ($ENV{BENCH_ONLY} // '');
my ($databases, $tables) = (50, 4);
my ($each, $flood) = $ENV{BENCH_QUICK} ? (25, 2_000) : (250, 20_000);
my ($seconds, $body_bytes) = (5, 512);
my $build = Pawl::Program::build_dir();
my $tmp = File::Temp->newdir('pawl-bench-XXXX', TMPDIR => 1, CLEANUP => 1);
chmod(0755, "$tmp");
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);	# so that END blocks stop the servers
STDOUT->autoflush(1);

mkdir("$tmp/$_") or die "could not make a directory in $tmp: $!\n" for qw(pg mq);
my $postgres = Pawl::Postgres->start(dir => "$tmp/pg", fsync => 1, options => { synchronous_commit => 'on', shared_buffers => '256MB', max_wal_size => '4GB' });
my $broker = Pawl::Rabbit->start(dir => "$tmp/mq", fsync => 1, config => { 'raft.wal_max_size_bytes' => 536870912, 'vm_memory_high_watermark.absolute' => '2GB' });
my $vhost = $broker->create_vhost('bench');
my $any = $postgres->db('postgres')->session;

sub wait_until
{
	my ($what, $code, $seconds) = @_;
	return Pawl::Process::poll($code, $seconds // 120) || die "waited too long for: $what\n";
}

sub fill
{
	my ($session, $table, $count) = @_;
	$session->query("insert into $table (aggregatetype, aggregateid, type, payload)"
		. " select 'order', 'a' || n % 1000, 'T', jsonb_build_object('n', n, 'x', repeat('x', $body_bytes - 20)) from generate_series(1, $count) n");
	return;
}

# Databases, all copies of the first one.
my @tables = ('pawl.outbox', map { "public.outbox$_" } 2 .. $tables);
my @names = map { "bench$_" } 1 .. $databases;
my $first = $postgres->create_db($names[0]);
my $migrate = Pawl::Program->run('pawlctl', 'migrate', $first->conninfo);
die "could not migrate: $migrate->{err}\n" if $migrate->{status};
$first->do(join('', map { "create table $_ (like pawl.outbox including all);" } @tables[1 .. $#tables]));
{
	my $session = $first->session;
	fill($session, $_, $each) for @tables;
	$session->query('vacuum analyze');
	$session->close;
}
$any->query(qq(create database "$_" template "$names[0]")) for @names[1 .. $#names];

$vhost->amqp->declare_exchange('bench', 'topic');
$vhost->amqp->declare_queue('bench');
$vhost->amqp->bind('bench', 'bench', '#');
my $conf = "$tmp/relay.conf";
open(my $out, '>', $conf) or die "could not write $conf: $!\n";
printf $out qq(run_dir = "$tmp";\nbroker: { uri = "%s"; };\noutboxes: {\n), $vhost->uri;
for my $name (@names) {
	my $conninfo = $postgres->conninfo($name, host => $postgres->{dir});
	print $out qq(\t$name-$_: { conninfo = "$conninfo"; table = "$tables[$_]"; exchange = "bench"; };\n) for 0 .. $#tables;
}
print $out "};\n";
close($out) or die "could not write $conf: $!\n";

# All at once.
my $outboxes = $databases * $tables;
my $all = $outboxes * $each;
my $relay;
END { local $?; $relay->kill_group if $relay }
sub start_relay
{
	$relay = Pawl::Process->new(name => 'relay', log => "$tmp/relay.log", command => [ "$build/pawl-relay", '-c', $conf ], env => { Pawl::Program::environment() });
	return time;
}

sub stop_relay
{
	$relay->signal('TERM');
	my $status = $relay->wait(30);
	die 'the relay: ' . Pawl::Process::describe_status($status) . "\n" if !defined $status || $status;
	my @complaints = grep { /level=(?:warning|error)/ } split(/\n/, $relay->log);
	print "the relay complained: $_\n" for @complaints[ 0 .. ($#complaints > 4 ? 4 : $#complaints) ];
	return;
}

my $began = start_relay();

sub cpu_s { return eval { Cost::cpu_s($relay->pid) } // die "the relay ended:\n" . $relay->log }
sub mib { my ($which) = @_; open(my $f, '<', '/proc/' . $relay->pid . '/status') or die; return (map { /^Vm$which:\s+(\d+)/ ? $1 / 1024 : () } <$f>)[0] }
sub forget_peak { open(my $f, '>', '/proc/' . $relay->pid . '/clear_refs') or return; print $f "5\n"; return }
sub row { my ($text, @figures) = @_; printf "%-64s " . shift(@figures) . "\n", $text, @figures; return }

print "\noutboxes: one relay, $outboxes outboxes in $databases databases, $body_bytes-byte payloads\n";
wait_until('all is published', sub { $vhost->count('bench') >= $all });
row("all of them hold events: $all are published", '%.0f/s (start included)', $all / (time - $began));
row('', '%.1f us of CPU each, %.1f MiB at most', cpu_s() / $all * 1e6, mib('HWM'));

# Nothing to do, and long ago: a relay that has just begun knows no better.
stop_relay();
unlink("$tmp/relay.log");
$began = start_relay();
wait_until('all lead', sub { my $n = () = $relay->log =~ /msg="leading: /g; $n == $outboxes });
row('started: all of them are led', 'after %.1f s', time - $began);
forget_peak();
my $cost = Cost::over($postgres, $relay->pid, $seconds, @names);
my @rates = values %{ $cost->{queries} };
row('nothing to do', '%.1f queries/s in a database (at most %.1f)', sum(@rates) / @rates, max(@rates));
row('', '%.1f %% of a core, %.3f %% for a database; %.1f MiB', $cost->{cpu} * 100, $cost->{cpu} * 100 / $databases, mib('HWM'));

# One is flooded; events of others come in between.
$vhost->amqp->declare_queue('quiet');
$vhost->amqp->bind('quiet', 'bench', 'quiet');
my $consumer = $vhost->connect;
$consumer->consume('quiet', 1000, 1);
my @sessions = map { $postgres->db($_)->session } @names[10 .. 14];
my $busy = $first->session;
$busy->query('truncate pawl.outbox');
my ($n, %sent, @ms) = (0);
sub take
{
	my ($until) = @_;
	do {
		my $left = $until - time;
		my $message = $consumer->next_delivery($left > 0 ? $left : 0);
		push @ms, (time - delete $sent{$1}) * 1000 if $message && $message->{body} =~ /"n": ?(\d+)/;
	} while (time < $until);
	return;
}
fill($busy, 'pawl.outbox', $flood);
my ($from, $cpu) = (time, cpu_s());
forget_peak();
my $left = 'select not exists (select from pawl.outbox)';
do {
	$sessions[ $n % @sessions ]->query("insert into $tables[ $n % @tables ] (type, payload) values ('quiet', '{\"n\": $n}')");
	$sent{ $n++ } = time;
	take(time + 0.02);
} while ($busy->value($left) ne 't');
my $took = time - $from;
wait_until('the quiet ones are published', sub { take(time + 0.05); !%sent }, 20);
@ms = sort { $a <=> $b } @ms;
row("one is flooded with $flood", '%.0f/s, %.1f us of CPU each, %.1f MiB at most', $flood / $took, (cpu_s() - $cpu) / $flood * 1e6, mib('HWM'));
row(sprintf('%d events of the others meanwhile', scalar @ms), 'p50 %.1f ms, p99 %.1f ms, at most %.1f ms', $ms[ @ms / 2 ], $ms[ POSIX::ceil(@ms * 0.99) - 1 ], $ms[-1]);

stop_relay();
