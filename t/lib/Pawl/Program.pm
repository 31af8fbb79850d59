# Runs the programs of the build tree and watches what they say.
#
#   my $worker = Pawl::Program->start('pawl-worker', '-c', $file);          # options first: { env => {...}, name => 'w2' }
#   $worker->wait_log(qr/msg="ready"/);
#   $worker->allow_log(qr/could not connect/);                             # warnings and errors that this test means to cause
#   $worker->stop;                                                         # TERM, and wait: exit status 0 or the test fails
#   my $run = Pawl::Program->run('pawlctl', 'check', '-c', $file);         # { status, out, err }
#
# At the end of a test every log is looked through: a warning or an error that was not allowed, a sanitizer's or valgrind's report, and
# an end by a signal that the test did not send make it fail.
package Pawl::Program;
use strict;
use warnings;
use Config ();
use Cwd ();
use File::Basename ();
use File::Temp ();
use POSIX ();
use Pawl::Process;
use parent -norequire, 'Pawl::Process';

my @started;
my $serial = 0;

# The tree that was built: where its config.status is.
sub build_dir
{
	our $build_dir;
	return $build_dir if $build_dir;
	my $top = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../..');
	for my $dir ($ENV{PAWL_BUILD_DIR} // (), '.', $top, "$top/build") {
		return $build_dir = Cwd::abs_path($dir) if -e "$dir/config.status" && -e "$dir/config.h";
	}
	die "nothing is built: say where in PAWL_BUILD_DIR, or run ./dev test\n";
}

# True if config.h of the build defines NAME to 1: Pawl::Program::built_with('PAWL_FAULTS').
sub built_with
{
	my ($name) = @_;
	open(my $file, '<', build_dir() . '/config.h') or return 0;
	return scalar grep { /^#define \Q$name\E 1$/ } <$file>;
}

sub environment
{
	my $build = build_dir();
	return (PAWL_LIBEXECDIR => $build, PAWL_HANDLERDIR => "$build/handlers/.libs", NOTIFY_SOCKET => undef, JOURNAL_STREAM => undef);
}

# A program name is of the build tree, a path is itself. PAWL_TEST_WRAPPER goes before it (valgrind).
sub command
{
	my ($program, @arguments) = @_;
	my $path = $program =~ m{/} ? $program : build_dir() . "/$program";
	return (split(' ', $ENV{PAWL_TEST_WRAPPER} // ''), $path, @arguments);
}

sub start
{
	my ($class, @arguments) = @_;
	my $option = ref $arguments[0] ? shift @arguments : {};
	my $program = $arguments[0];
	my $name = $option->{name} // File::Basename::basename($program) . '-' . ++$serial;
	my $self = $class->SUPER::new(name => $name, log => Pawl::Test::log_dir() . "/$name.log", command => [ command(@arguments) ],
		env => { environment(), %{ $option->{env} || {} } });
	@$self{qw(seen allowed sent)} = (0, [], {});
	push @started, $self;
	return $self;
}

sub run
{
	my ($class, @arguments) = @_;
	my $option = ref $arguments[0] ? shift @arguments : {};
	my ($out, $err) = (File::Temp->new, File::Temp->new);
	my %env = (environment(), %{ $option->{env} || {} });
	my $pid = fork() // die "could not fork: $!\n";
	if ($pid == 0) {
		for my $name (keys %env) {
			defined $env{$name} ? ($ENV{$name} = $env{$name}) : delete $ENV{$name};
		}
		open(STDIN, '<', $option->{stdin} // '/dev/null');
		open(STDOUT, '>', "$out");
		open(STDERR, '>', "$err");
		{ no warnings 'exec'; exec(command(@arguments)); }
		POSIX::_exit(127);
	}
	my $ended = Pawl::Process::poll(sub { waitpid($pid, POSIX::WNOHANG()) == $pid }, $option->{seconds} // 60);
	my $status = $?;
	if (!$ended) {
		CORE::kill('KILL', $pid);
		waitpid($pid, 0);
		$status = $?;
	}
	my %result = (status => $status & 127 ? -($status & 127) : $status >> 8,
		out => Pawl::Postgres::Database::read_all("$out"), err => Pawl::Postgres::Database::read_all("$err"));
	push @{ $result{reports} }, sanitizer_reports($result{err});
	Test::More::fail("$arguments[0]: $_") for @{ $result{reports} };
	return \%result;
}

sub all { return @started }
sub allow_log { my ($self, @patterns) = @_; push @{ $self->{allowed} }, @patterns; return $self }

# Remembers the signal, so that an end by it is no surprise.
sub signal
{
	my ($self, $name) = @_;
	$self->{sent}{$name} = 1;
	return $self->SUPER::signal($name);
}

# Waits for a line of the log that matches, after the one that the last wait found: the captured groups, or the whole line. Dies when the
# time is over or the program has ended.
sub wait_log
{
	my ($self, $pattern, $seconds) = @_;
	my @found;
	Pawl::Process::poll(sub {
		my $ended = !$self->running;
		my $log = $self->log;
		while ($self->{seen} < length $log) {
			my $end = index($log, "\n", $self->{seen});
			last if $end < 0;
			my $line = substr($log, $self->{seen}, $end - $self->{seen});
			$self->{seen} = $end + 1;
			@found = $line =~ $pattern or next;
			@found = ($line) if !defined $1;
			return 1;
		}
		die "$self->{name} ended (" . Pawl::Process::describe_status($self->status) . ") before it logged $pattern\n" if $ended;
		return 0;
	}, $seconds) or die "$self->{name} did not log $pattern in time\n";
	return wantarray ? @found : $found[0];
}

# TERM; the test fails unless it ends with status 0 in time.
sub stop
{
	my ($self, $seconds) = @_;
	$self->signal('TERM');
	my $status = $self->wait($seconds // 40);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	Test::More::is(Pawl::Process::describe_status($status), 'exit status 0', "$self->{name} stops in order");
	$self->kill_group if !defined $status;
	return;
}

# KILL to the program alone; what it started has to notice.
sub kill
{
	my ($self) = @_;
	$self->signal('KILL');
	$self->wait(10);
	return;
}

sub sanitizer_reports
{
	my ($text) = @_;
	return grep { /ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|: runtime error: |==\d+== (Invalid|Conditional|Use of uninit|Syscall param)|==\d+==.* definitely lost: [1-9]/ }
	    split(/\n/, $text);
}

# What nobody expected in the log.
sub complaints
{
	my ($self) = @_;
	my @lines = sanitizer_reports($self->log);
	for my $line (split(/\n/, $self->log)) {
		next if $line !~ /\blevel=(warning|error)\b|"level":"(warning|error)"|^<[0-4]>|^[\w-]+: (assertion|.*: Assertion)/;
		push @lines, $line if !grep { $line =~ $_ } @{ $self->{allowed} };
	}
	my $status = $self->status;
	if (defined $status && $status & 127) {
		my $signal = (split(' ', $Config::Config{sig_name}))[$status & 127];
		push @lines, "ended by SIG$signal" if !$self->{sent}{$signal};
	}
	return @lines;
}

1;
