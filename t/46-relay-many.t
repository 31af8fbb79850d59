#!/usr/bin/perl
# One relay, many databases: what is out of reach delays nobody, there must be room for all sessions, a flood in one outbox lets the others
# through, and what is quiet costs little.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;
use IO::Socket::INET ();
use List::Util qw(max sum);
use POSIX ();
use Time::HiRes qw(time);

my ($databases, @tables) = (50, 'pawl.outbox', map { "public.outbox$_" } 2 .. 4);
my $build = Pawl::Program::build_dir();
my $heavy = $ENV{PAWL_TEST_WRAPPER} || read_file("$build/pawl-relay") =~ /__[at]san_init/;	# sanitizers and valgrind take more
my $server = own_postgres(options => { max_connections => 60 });
my $any = $server->db('postgres')->session;
my $first = migrated_db($server);
$first->do(join('', map { "create table $_ (like pawl.outbox including all);" } @tables[1 .. $#tables])
	. 'create role relay login; grant usage on schema pawl to relay; grant select, delete on pawl.outbox, ' . join(', ', @tables[1 .. $#tables]) . ' to relay');
my @names = ($first->name, map { $first->name . "_$_" } 2 .. $databases);
$any->query(qq(create database "$_" template "$names[0]")) for @names[1 .. $#names];
sub conninfo { my ($name, %more) = @_; return $server->conninfo($name, user => 'relay', %more) }
sub outbox { my ($name, $conninfo, $table) = @_; return qq($name: { conninfo = "$conninfo"; exchange = "events"; table = "$table"; };\n) }
# The first one is called by a service.
my %env = (PGSERVICEFILE => write_file('services', "[first]\n" . join("\n", split(/ /, conninfo($names[0]))) . "\n"));
sub outboxes { my ($name) = @_; return join('', map { outbox("$name-$_", $name eq $names[0] ? 'service=first' : conninfo($name), $tables[$_]) } 0 .. $#tables) }

# A host whose name nobody knows, for as long as it takes, and one that does not answer.
my $vhost = new_vhost();
my $silent = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0) or die "could not listen: $!\n";
my $o = Pawl::Outbox->new(db => $first, vhost => $vhost, outboxes => outbox('slow', conninfo('x', host => 'slow.invalid'), $tables[0])
	. outbox('silent', conninfo('x', port => $silent->sockport), $tables[0]) . outbox('good', conninfo($names[0]), $tables[0]));
my %preload = (LD_PRELOAD => "$build/t/helpers/.libs/slow-names.so", ASAN_OPTIONS => "$ENV{ASAN_OPTIONS}:verify_asan_link_order=0");
my $relay = $o->relay({ env => \%preload });
$relay->wait_log(qr/outbox=good msg="leading: /);
my $worst = 0;
for my $n (1 .. 10) {
	$o->emit('a', $n);
	my $from = time;
	poll(sub { $o->count == $n }, 20) or die "event $n did not come\n";
	$worst = max($worst, time - $from);
}
cmp_ok($worst, '<', 2, 'a database that cannot be reached delays no other');
unlike($relay->log, qr/outbox=(slow|silent) msg="leading/, 'meanwhile these are being connected to');
my $from = time;
$relay->stop;
cmp_ok(time - $from, '<', 5, 'and do not hold up the end');
$o->take;

# Room for sessions.
sub refused
{
	my ($what, $config, $error) = @_;
	for my $command ([ 'pawl-relay', '-c', $config ], [ 'pawlctl', 'check', '-c', $config ]) {
		my $run = run_program({ env => \%env }, @$command);
		is($run->{status}, 78, "$what: $command->[0] refuses that");
		like($run->{err}, $error, 'with both numbers');
	}
	return;
}
my $too_many = Pawl::Outbox->new(db => $first, vhost => $vhost, outboxes => join('', map { outbox("o$_", conninfo($names[ $_ - 1 ] // "none$_"), $tables[0]) } 1 .. 58));
refused('more than max_connections', $too_many->{config},
	qr/outboxes: 58 database sessions are wanted of the server at .{1,2}127\.0\.0\.1.{1,2} port \d+, but it gives 57: raise max_connections/);
is(scalar(() = $any->query("select from pg_stat_activity where usename = 'relay'")), 0, 'and leaves no session behind');

my $many = Pawl::Outbox->new(db => $first, vhost => $vhost, outboxes => join('', map { outboxes($_) } @names));
$any->query('alter role relay connection limit 40');
refused('more than the role may have', $many->{config}, qr/outboxes: 50 database sessions are wanted .* for the role .{1,2}relay.{1,2}, but its connection limit there is 40/);
$any->query('alter role relay connection limit 50');

# All of them.
$relay = $many->relay({ env => \%env });
my $all = $databases * @tables;
wait_for { my $n = () = $relay->log =~ /msg="leading: /g; $n == $all } "$all outboxes are led", 60;
is($any->value("select count(*) from pg_stat_activity where usename = 'relay'"), $databases, 'with a session for each database');

# A flood; others' events come in between.
$vhost->amqp->declare_queue('quiet');
$vhost->amqp->bind('quiet', 'events', 'quiet');
my $consumer = $vhost->connect;
$consumer->consume('quiet', 1000, 1);
my @quiet = map { $server->db($_)->session } @names[ 0, 1, 20 ];
my (%sent, @took);
sub emit { my ($n) = @_; $quiet[ $n % @quiet ]->query("insert into public.outbox3 (type, payload) values ('quiet', '{\"n\": $n}')"); $sent{$n} = time; return }
sub take
{
	my ($seconds) = @_;
	my $message = $consumer->next_delivery($seconds) or return;
	my ($n) = $message->{body} =~ /(\d+)/;
	push @took, time - delete $sent{$n};
	return 1;
}
$o->emit_many(20_000, 1000);
my $n = 0;
do { emit($n++); take(0.05) } while ($o->left > 0);
take(20) || last while %sent;
is(scalar @took, $n, "$n events of quiet outboxes arrived while another one was emptied of 20000");
cmp_ok(max(@took), '<', 2, 'none of them late');
note(sprintf('the last one after %.0f ms', max(@took) * 1000));

# A burst everywhere.
my $burst = join('', map { "insert into $_ (aggregatetype, aggregateid, type, payload) select 'order', i::text, 'T', jsonb_build_object('n', i, 'x', repeat('x', 500)) from generate_series(1, 100) i;" } @tables);
$server->db($_)->do($burst) for @names;
my $expected = 20_010 - 10 + $n + 100 * $all;
wait_for { $o->count == $expected } 'all events of all outboxes are published', 120;

my ($peak) = read_file('/proc/' . $relay->pid . '/status') =~ /^VmHWM:\s+(\d+)/m;
note("the relay took $peak KiB");
SKIP: {
	skip('not by itself', 1) if $heavy;
	cmp_ok($peak, '<', 64 * 1024, 'the relay never took 64 MiB');
}
$relay->stop;

# Nothing to do for a while: one that has just begun knows of nothing else.
$relay = $many->relay({ env => \%env });
wait_for { my $led = () = $relay->log =~ /msg="leading: /g; $led == $all } 'they are led again', 60;
sub commits { $any->query('select pg_stat_clear_snapshot()'); return map { $_->[0] } $any->query("select xact_commit from pg_stat_database where datname like '$names[0]%' order by datname") }
my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());
sub cpu { my @field = split(' ', (read_file('/proc/' . $relay->pid . '/stat') =~ /\) (.*)/)[0]); return ($field[11] + $field[12]) / $ticks }
sub pause_for { my ($for) = @_; my $until = time + $for; poll(sub { time >= $until }, 60); return }
pause_for(2);
my ($cpu, @before) = (cpu(), commits());
$from = time;
pause_for(4);
my @after = commits();
my $seconds = time - $from;
# All are alike. The mean, because autovacuum visits one or the other meanwhile, and a session's count is up to a second late.
my $mean = (sum(@after) - sum(@before)) / @before / $seconds;
$cpu = (cpu() - $cpu) / $seconds / $databases;
note(sprintf('%.1f queries/s, %.3f %% of a core for each database', $mean, $cpu * 100));
cmp_ok($mean, '<=', 6, 'a database with four quiet outboxes sees few queries');
SKIP: {
	skip('not by itself', 1) if $heavy;
	cmp_ok($cpu, '<=', 0.005, 'and takes little of a core');
}
$relay->stop;
$vhost->amqp->delete_queue('all');	# it is large
$_->close for @quiet, $any;
done_testing;
