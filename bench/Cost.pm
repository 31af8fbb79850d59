# What a program takes of a processor, and asks of databases.
#
#   Cost::cpu_s($pid)                                           seconds of CPU, of all its threads, the ended ones too
#   Cost::over($postgres, $pid, $seconds, @names)               { cpu => share of a core, queries => { name => a second } }, of databases @names
#
# Queries are the transactions that a database has counted. A session tells the server of them now and then, once a second at most, so what is
# counted is as of such a moment: each database's time begins with one and ends with one.
package Cost;
use strict;
use warnings;
use Time::HiRes qw(time);
use Pawl::Process;

# The process's clock, to the nanosecond: linux/posix-timers.h, CPUCLOCK_SCHED.
sub cpu_s
{
	my ($pid) = @_;
	my $clock = do { use integer; ~$pid << 3 | 2 };
	my $seconds = Time::HiRes::clock_gettime($clock);
	die "there is no process $pid\n" if $seconds < 0;
	return $seconds;
}

# For each database its count, and when its sessions told that.
sub told
{
	my ($session, @names) = @_;
	my $look = sub {
		$session->query('select pg_stat_clear_snapshot()');
		return { map { @$_ } $session->query('select datname, xact_commit from pg_stat_database where datname is not null') };
	};
	my ($first, %told) = ($look->());
	Pawl::Process::poll(sub {
		my ($now, $time) = ($look->(), time);
		$told{$_} //= [ $now->{$_}, $time ] for grep { $now->{$_} != $first->{$_} } @names;
		return keys %told == @names;
	}, 30) or die "nobody asks anything of databases " . join(', ', grep { !$told{$_} } @names) . "\n";
	return \%told;
}

sub over
{
	my ($postgres, $pid, $seconds, @names) = @_;
	my $session = $postgres->db('postgres')->session;
	told($session, @names);		# of a new session that may be its first transaction alone
	my $before = told($session, @names);
	my ($begun, $cpu) = (time, cpu_s($pid));
	Time::HiRes::sleep($seconds);
	$cpu = (cpu_s($pid) - $cpu) / (time - $begun);
	my $after = told($session, @names);
	$session->close;
	return { cpu => $cpu, queries => { map { $_ => ($after->{$_}[0] - $before->{$_}[0]) / ($after->{$_}[1] - $before->{$_}[1]) } @names } };
}

1;
