# The test library. A test file begins
#
#   use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
#
# and has then all of Test::More, and:
#
#   postgres()            the shared PostgreSQL server (Pawl::Postgres), with server private to this file when none is shared
#   new_db()              a database of its own there: $db->query/row/column/value/do/error($sql), ->session, ->conninfo
#   rabbit(), new_vhost() the same for RabbitMQ: $vhost->publish(...), ->get($queue), ->drain, ->count, ->amqp, ->api, ->uri
#   own_postgres(%), own_rabbit(%)   private servers, for tests that stop, crash or starve them (see Pawl::Postgres, Pawl::Rabbit)
#   start_program(...)    Pawl::Program->start: pawl-worker, pawl-relay, with their log watched
#   run_program(...)      Pawl::Program->run: { status, out, err }
#   tmp_dir()             a directory that goes away;  write_file($name, $text) makes a file in it and returns its path
#   log_dir()             where the logs of this file's programs are kept (build tree, t/log/NAME)
#   wait_for { code } $what [, seconds]    an assertion: polls until it is true; the file ends when it never is
#   poll(sub {...}, seconds)               the same without assertion: the value, or undef
#   migrated_db()         a database with the schema pawl
#   write_config($name, $text)    a configuration file: {uri}, {conninfo} and so on are replaced from %pairs that follow
#   wait_consumer($vhost, $queue)  an assertion: somebody consumes from the queue
#   status($config)       what pawlctl status --json says;  queue_status($config, $name) of one queue, outbox_status of one outbox
#   wait_settled($config, $vhost, $name [, $queue])   an assertion: nothing is ready at the broker and nothing is in flight at the worker
#   need_faults()         skips the file unless fault points are compiled in (never skips under PAWL_TEST_NO_SKIP)
#   done_testing          stops what runs, and fails on unexpected warnings, errors and crashes in the logs
#
# Nothing here sleeps: wait for a condition. Deadlines grow by PAWL_TEST_SLOW. Several test files run at once on the shared servers, so
# each uses its own database and vhost. `perl t/40-x.t` and `prove t/40-x.t` work alone (they start servers, some seconds);
# `t/check t/40-x.t` and `make check TESTS=...` share them.
#
# Environment: PAWL_BUILD_DIR (default: here, or build/), PAWL_TEST_POSTGRES, PAWL_TEST_RABBITMQ, PAWL_TEST_INITDB (set by t/check),
# PAWL_TEST_DATA (real input), PAWL_TEST_SLOW, PAWL_TEST_WRAPPER, PAWL_TEST_KEEP (keep temporary directories), PAWL_TEST_SEED.
package Pawl::Test;
use strict;
use warnings;
use Cwd ();
use Exporter ();
use File::Basename ();
use File::Path ();
use File::Temp ();
use FindBin ();
use JSON::PP ();
use Test::More ();
use Pawl::Postgres;
use Pawl::Process;
use Pawl::Program;
use Pawl::Rabbit;

our @ISA = ('Exporter');
our @EXPORT = qw(postgres new_db rabbit new_vhost own_postgres own_rabbit start_program run_program tmp_dir write_file read_file log_dir
	wait_for wait_consumer poll migrated_db write_config status queue_status
	outbox_status wait_settled need_faults done_testing seed);
my @more = grep { $_ ne 'done_testing' && $_ ne '$TODO' } @Test::More::EXPORT;
my ($tmp, $log_dir, $shared_postgres, $shared_rabbit);
my (@servers, $finished);
my $owner = $$;

# Sanitizers: what they find ends the program with a report. A signal stays a signal: that a handler's crash is one is part of the tests.
$ENV{ASAN_OPTIONS} //= 'exitcode=99:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0';
$ENV{UBSAN_OPTIONS} //= 'print_stacktrace=1:halt_on_error=1';
$ENV{TSAN_OPTIONS} //= 'halt_on_error=1';

sub import
{
	my ($class) = @_;
	strict->import;
	warnings->import;
	my $caller = caller;
	Test::More->export_to_level(1, 'Test::More', @more);
	$class->export_to_level(1, $class, @EXPORT);
	$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);	# so that END blocks run
	$SIG{ALRM} = sub { die "this file takes far too long\n" };
	alarm(300 * Pawl::Process::slow_factor());
	return;
}

sub test_name { return File::Basename::basename($0, '.t') }

sub tmp_dir
{
	if (!$tmp) {
		$tmp = File::Temp->newdir('pawl-' . test_name() . '-XXXX', TMPDIR => 1, CLEANUP => !$ENV{PAWL_TEST_KEEP});
		chmod(0755, "$tmp");	# servers run as other users
	}
	return "$tmp";
}

sub log_dir
{
	if (!$log_dir) {
		$log_dir = Pawl::Program::build_dir() . '/t/log/' . test_name();
		File::Path::remove_tree($log_dir);
		File::Path::make_path($log_dir);
	}
	return $log_dir;
}

sub write_file
{
	my ($name, $text) = @_;
	my $path = $name =~ m{^/} ? $name : tmp_dir() . "/$name";
	open(my $file, '>:raw', $path) or die "could not write $path: $!\n";
	print $file $text;
	close($file) or die "could not write $path: $!\n";
	return $path;
}

sub read_file
{
	my ($path) = @_;
	open(my $file, '<:raw', $path) or die "could not read $path: $!\n";
	local $/;
	return readline($file) // '';
}

sub server_dir
{
	my ($kind) = @_;
	my $dir = File::Temp::tempdir("$kind-XXXX", DIR => tmp_dir());
	chmod(0755, $dir);
	return $dir;
}

sub own_postgres { my (%option) = @_; push @servers, Pawl::Postgres->start(dir => server_dir('pg'), %option); return $servers[-1] }
sub own_rabbit { my (%option) = @_; push @servers, Pawl::Rabbit->start(dir => server_dir('mq'), %option); return $servers[-1] }

sub postgres
{
	return $shared_postgres ||= $ENV{PAWL_TEST_POSTGRES} ? Pawl::Postgres->attach($ENV{PAWL_TEST_POSTGRES}) : own_postgres();
}

sub rabbit
{
	return $shared_rabbit ||= $ENV{PAWL_TEST_RABBITMQ} ? Pawl::Rabbit->attach($ENV{PAWL_TEST_RABBITMQ}) : own_rabbit();
}

sub new_db { return postgres()->create_db }
sub new_vhost { return rabbit()->create_vhost }

sub migrated_db
{
	my ($server) = @_;
	my $db = ($server // postgres())->create_db;
	my $run = run_program('pawlctl', 'migrate', $db->conninfo);
	die "could not migrate: $run->{err}\n" if $run->{status};
	return $db;
}

sub start_program { return Pawl::Program->start(@_) }
sub run_program { local $Test::Builder::Level = $Test::Builder::Level + 1; return Pawl::Program->run(@_) }

# write_config('pawl.conf', 'broker: { uri = "{uri}"; };', uri => $vhost->uri): only names that are given are replaced.
sub write_config
{
	my ($name, $text, %pairs) = @_;
	for my $key (keys %pairs) {
		$text =~ s/\{\Q$key\E\}/$pairs{$key}/g;
	}
	return write_file($name, $text);
}

sub poll { return Pawl::Process::poll(@_) }

sub wait_for(&$;$)
{
	my ($code, $what, $seconds) = @_;
	my $result = Pawl::Process::poll($code, $seconds);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	Test::More::ok($result, $what);
	die "gave up: waited too long for: $what\n" if !$result;
	return $result;
}

sub wait_consumer
{
	my ($vhost, $queue) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for(sub { $vhost->exists($queue) && ($vhost->count($queue))[1] }, "$queue is consumed");
}

sub status
{
	my ($config) = @_;
	my $run = run_program('pawlctl', 'status', '--json', '-c', $config);
	return $run->{out} =~ /^\{/ ? JSON::PP::decode_json($run->{out}) : {};
}

sub queue_status { my ($config, $name) = @_; return (grep { $_->{name} eq $name } @{ status($config)->{worker}{queues} || [] })[0] || {} }
sub outbox_status { my ($config, $name) = @_; return (grep { $_->{name} eq $name } @{ status($config)->{relay}{outboxes} || [] })[0] || {} }

# A delivery on its way from broker to worker is in neither count: both have to be zero several times in a row.
sub wait_settled
{
	my ($config, $vhost, $name, $queue) = @_;
	my $quiet = 0;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for(sub {
		my $status = queue_status($config, $name);
		my $busy = $vhost->count($queue // $name) || ($status->{in_flight} // 1) || ($status->{waiting} // 1);
		$quiet = $busy ? 0 : $quiet + 1;
		return $quiet >= 3;
	}, "$name is settled", 60);
}

sub need_faults
{
	return if Pawl::Program::built_with('PAWL_FAULTS');
	die "fault points are not compiled in (./configure --enable-faults)\n" if $ENV{PAWL_TEST_NO_SKIP};
	Test::More::plan(skip_all => 'fault points are not compiled in (--enable-faults)');
	return;
}

# Random tests print their seed, and take it from PAWL_TEST_SEED.
sub seed
{
	my $seed = $ENV{PAWL_TEST_SEED} // int(rand 1_000_000);
	srand($seed);
	Test::More::diag("PAWL_TEST_SEED=$seed");
	return $seed;
}

sub stop_programs
{
	for my $program (Pawl::Program::all()) {
		next if !$program->running;
		$program->signal('CONT');
		$program->signal('TERM');
	}
	for my $program (Pawl::Program::all()) {
		$program->wait(20);
		my $left = $program->running;
		$program->{sent}{KILL} = 1;
		$program->kill_group;
		Test::More::fail("$program->{name} ends after TERM") if $left;
	}
	return;
}

sub done_testing
{
	stop_programs();
	for my $program (Pawl::Program::all()) {
		my @complaints = $program->complaints;
		Test::More::ok(!@complaints, "$program->{name} logged nothing unexpected") or Test::More::diag(map { "  $_\n" } first_of(12, @complaints));
	}
	$finished = 1;
	return Test::More::done_testing(@_);
}

sub first_of { my ($n, @list) = @_; return @list > $n ? (@list[0 .. $n - 1], '...') : @list }

END {
	if ($$ == $owner) {
		my $status = $?;
		$_->kill_group for grep { $_->running } Pawl::Program::all();
		if (!Test::More->builder->is_passing || ($status && !$finished)) {
			for my $program (Pawl::Program::all()) {
				my @lines = split(/\n/, $program->log);
				splice(@lines, 0, @lines - 25) if @lines > 25;
				Test::More::diag("the end of $program->{log}:\n", map { "  $_\n" } @lines);
			}
		}
		for my $server (@servers) {
			$server->discard;
			system('cp', $server->{log}, log_dir()) if !Test::More->builder->is_passing && $log_dir;
		}
		$? = $status;
	}
}

1;
