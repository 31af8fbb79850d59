# Starts and ends processes: servers and the programs under test.
#
# A process gets a process group of its own and dies with the one that started it (PR_SET_PDEATHSIG by setpriv), so that a test that is
# killed leaves nothing behind. With detach it outlives its parent. What it writes goes to one log file.
package Pawl::Process;
use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(time);

my %running;	# pid => process, of this process only
my $owner = $$;
our $on_start;	# called with each new process, if set

# All deadlines grow by this factor: slow machines, valgrind, sanitizers.
sub slow_factor { return $ENV{PAWL_TEST_SLOW} || 1 }

# Polls until the code returns something true and returns that; undef when the time is over.
sub poll
{
	my ($code, $seconds) = @_;
	my $deadline = time() + ($seconds // 60) * slow_factor();
	my $pause = 0.005;
	for (;;) {
		my $result = $code->();
		return $result if $result;
		return undef if time() > $deadline;
		select(undef, undef, undef, $pause);
		$pause = $pause * 1.5 if $pause < 0.1;
	}
}

# Pawl::Process->new(name => ..., command => [...], log => FILE [, env => {...}] [, user => NAME] [, cwd => DIR] [, detach => 1])
# user: who to become when we are root. An env value of undef removes the variable.
sub new
{
	my ($class, %self) = @_;
	my $self = bless { %self, owner => $$ }, $class;
	$self->{name} //= $self->{command}[0];
	my @prefix = ('setpriv');
	push @prefix, '--pdeathsig', 'KILL' if !$self->{detach};
	push @prefix, '--reuid', $self->{user}, '--regid', gid_of($self->{user}), '--init-groups'
	    if $self->{user} && $> == 0;
	my $pid = fork() // die "could not fork: $!\n";
	if ($pid == 0) {
		$self->{detach} ? POSIX::setsid() : setpgrp(0, 0);
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE CHLD);
		for my $name (keys %{ $self->{env} || {} }) {
			my $value = $self->{env}{$name};
			defined $value ? ($ENV{$name} = $value) : delete $ENV{$name};
		}
		chdir($self->{cwd}) || POSIX::_exit(126) if $self->{cwd};
		open(STDIN, '<', '/dev/null') || POSIX::_exit(126);
		open(STDOUT, '>>', $self->{log}) || POSIX::_exit(126);
		open(STDERR, '>&', \*STDOUT) || POSIX::_exit(126);
		{ no warnings 'exec'; exec(@prefix > 1 ? @prefix : (), @{ $self->{command} }); }
		print STDERR "could not execute $self->{command}[0]: $!\n";
		POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	$running{$pid} = $self;
	$on_start->($self) if $on_start;
	return $self;
}

sub pid { return $_[0]{pid} }
sub name { return $_[0]{name} }

sub log
{
	my ($self) = @_;
	open(my $file, '<', $self->{log}) or return '';
	local $/;
	return <$file> // '';
}

# Undef while it runs, else its wait status ($?).
sub status
{
	my ($self) = @_;
	return $self->{status} if defined $self->{status};
	my $got = waitpid($self->{pid}, POSIX::WNOHANG());
	if ($got == $self->{pid} || $got < 0) {
		$self->{status} = $got < 0 ? 0 : $?;
		delete $running{ $self->{pid} };
	}
	return $self->{status};
}

sub running { return !defined $_[0]->status }
sub signal { my ($self, $name) = @_; return $self->running ? kill($name, $self->{pid}) : 0 }

# Waits for its end: the wait status, or undef when the time is over.
sub wait
{
	my ($self, $seconds) = @_;
	poll(sub { !$self->running }, $seconds);
	return $self->{status};
}

# Ends it and whatever it left in its process group.
sub kill_group
{
	my ($self) = @_;
	kill('KILL', -$self->{pid});
	$self->wait(10);
	return;
}

sub title_of
{
	my ($pid) = @_;
	open(my $file, '<', "/proc/$pid/cmdline") or return '';
	local $/;
	(my $title = readline($file) // '') =~ tr/\0/ /;
	return $title;
}

# Whether a process is there, whoever started it. One that waits for somebody to take its status is not.
sub lives
{
	my ($pid) = @_;
	open(my $file, '<', "/proc/$pid/stat") or return 0;
	return (readline($file) // '') =~ /^\d+ \(.*\) [^ZX]/s;
}

# Its descendants as pid => { name, parent }: runners and slots by the name of their program or title.
sub children
{
	my ($self) = @_;
	my %parent;
	for my $stat (glob('/proc/[0-9]*/stat')) {
		open(my $file, '<', $stat) or next;
		my $line = readline($file) // next;
		$parent{$1} = { pid => $1, name => $2, state => $3, parent => $4 } if $line =~ /^(\d+) \((.*)\) (\S) (\d+)/;
	}
	my (@found, @left);
	@left = ($self->{pid});
	while (defined(my $pid = shift @left)) {
		for my $child (sort { $a->{pid} <=> $b->{pid} } values %parent) {
			next if $child->{parent} != $pid || $child->{state} eq 'Z';
			$child->{title} = title_of($child->{pid});
			push @found, $child;
			push @left, $child->{pid};
		}
	}
	return @found;
}

sub runners { my ($self) = @_; return grep { $_->{parent} == $self->{pid} && ($_->{title} // '') =~ /^pawl-worker: runner/ } $self->children }

# Those of runners (with --queue it is one itself): the master has one for a moment when it checks its configuration.
sub slots
{
	my ($self) = @_;
	my @children = $self->children;
	my %runner = map { $_->{pid} => 1 } grep { ($_->{title} // '') =~ /^pawl-worker: runner/ } @children;
	$runner{ $self->{pid} } = 1 if !%runner && title_of($self->{pid}) =~ /^pawl-worker: runner/;
	return grep { $runner{ $_->{parent} } } @children;
}

sub describe_status
{
	my ($status) = @_;
	return 'still running' if !defined $status;
	return sprintf('killed by signal %d', $status & 127) if $status & 127;
	return sprintf('exit status %d', $status >> 8);
}

END {
	if ($$ == $owner) {
		my $status = $?;
		$_->{detach} || $_->kill_group for values %running;
		$? = $status;
	}
}

sub gid_of { return (getpwnam($_[0]))[3] // die "no user $_[0]\n" }

1;
