# A private PostgreSQL server, and databases on it.
#
#   my $server = Pawl::Postgres->start(dir => DIR [, fsync => 1] [, options => { ... }] [, port => N] [, detach => 1]);
#   my $server = Pawl::Postgres->attach($ENV{PAWL_TEST_POSTGRES});
#   my $db = $server->create_db;             # a Pawl::Postgres::Database
#
# The superuser is "pawl", without password, on 127.0.0.1 and on a socket in the server's directory. As root the server runs as user
# "postgres" (or "nobody").
package Pawl::Postgres;
use strict;
use warnings;
use Cwd ();
use File::Path ();
use IO::Socket::INET;
use Pawl::Process;

my $serial = 0;

# The directory of initdb, postgres and psql: PATH first, else the newest of Debian's (whose psql in PATH is a slow wrapper).
sub bindir
{
	our $bindir;
	return $bindir if $bindir;
	for my $dir (split(/:/, $ENV{PATH} || ''), sort { ($b =~ /(\d+)/)[0] <=> ($a =~ /(\d+)/)[0] } glob('/usr/lib/postgresql/*/bin')) {
		return $bindir = $dir if -x "$dir/initdb" && -x "$dir/postgres" && -x "$dir/psql";
	}
	die "there is no PostgreSQL server here (initdb and postgres in PATH or /usr/lib/postgresql/*/bin); run ./dev deps\n";
}

# Root cannot run PostgreSQL: who does it then.
sub server_user
{
	return undef if $> != 0;
	for my $user (qw(postgres nobody)) {
		return $user if defined getpwnam($user);
	}
	die "cannot run PostgreSQL as root, and there is neither a user postgres nor nobody\n";
}

sub free_port
{
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "no free port: $!\n";
	return $socket->sockport;
}

sub start
{
	my ($class, %option) = @_;
	my $self = bless { host => '127.0.0.1', user => 'pawl', %option }, $class;
	$self->{dir} = Cwd::abs_path($self->{dir}) // die "no directory $option{dir}\n";
	$self->{data} = "$self->{dir}/data";
	$self->{log} = "$self->{dir}/postgres.log";
	$self->{port} ||= free_port();
	$self->{run_as} = server_user();
	if (!-e "$self->{data}/PG_VERSION") {
		$self->own($self->{dir});
		$self->initdb;
	}
	$self->up;
	return $self;
}

sub own
{
	my ($self, @files) = @_;
	my ($uid, $gid) = $self->{run_as} ? (getpwnam($self->{run_as}))[2, 3] : return;
	chown($uid, $gid, @files);
	return;
}

# A new data directory; a copy of $PAWL_TEST_INITDB, if there is one, is much quicker.
sub initdb
{
	my ($self) = @_;
	my $template = $ENV{PAWL_TEST_INITDB};
	my @command = $template && -e "$template/PG_VERSION" ? ('cp', '-a', $template, $self->{data})
	    : (bindir() . '/initdb', '-D', $self->{data}, '-U', $self->{user}, '-A', 'trust', '-E', 'UTF8', '--locale=C', '-N', '--no-instructions');
	my $run = Pawl::Process->new(name => 'initdb', command => \@command, log => $self->{log}, user => $self->{run_as}, cwd => $self->{dir});
	my $status = $run->wait(120);
	die 'could not make a PostgreSQL data directory: ' . Pawl::Process::describe_status($status) . "\n" . $run->log if !defined $status || $status;
	return;
}

# A data directory to copy from: its path.
sub make_template
{
	my ($class, $dir) = @_;
	my $self = bless { dir => $dir, data => "$dir/data", log => "$dir/initdb.log", user => 'pawl', run_as => server_user() }, $class;
	$self->own($dir);
	$self->initdb;
	return $self->{data};
}

sub up
{
	my ($self) = @_;
	my %setting = (
		listen_addresses => '127.0.0.1', port => $self->{port}, unix_socket_directories => $self->{dir},
		shared_buffers => '64MB', max_connections => 200, max_prepared_transactions => 10, log_min_messages => 'warning',
		log_line_prefix => '%m [%p] %q%a ', log_timezone => 'UTC', jit => 'off', cluster_name => 'pawl-test',
		%{ $self->{fsync} ? {} : { fsync => 'off', full_page_writes => 'off' } }, %{ $self->{options} || {} },
	);
	unlink "$self->{data}/postmaster.pid";
	$self->{process} = Pawl::Process->new(name => 'postgres', log => $self->{log}, user => $self->{run_as}, cwd => $self->{dir},
		detach => $self->{detach},
		command => [ bindir() . '/postgres', '-D', $self->{data}, map { ('-c', "$_=$setting{$_}") } sort keys %setting ]);
	Pawl::Process::poll(sub {
		die "PostgreSQL ended at its start:\n" . $self->{process}->log if !$self->{process}->running;
		return $self->ready;
	}, 60) or die "PostgreSQL did not start in time:\n" . $self->{process}->log;
	return;
}

sub ready { my ($self) = @_; return !defined $self->db('postgres')->error('select 1') }

# How to find it from another process: attach() takes that.
sub address { my ($self) = @_; return "$self->{host}:$self->{port}:$self->{user}" }

sub attach
{
	my ($class, $address) = @_;
	my ($host, $port, $user) = split(/:/, $address);
	return bless { host => $host, port => $port, user => $user }, $class;
}

sub pid { return $_[0]{process}->pid }
sub port { return $_[0]{port} }

# Stops it: 'fast', 'smart', or 'immediate' (as after a crash of the machine, without fsync's part).
sub stop
{
	my ($self, $how) = @_;
	my %signal = (smart => 'TERM', fast => 'INT', immediate => 'QUIT');
	$self->{process}->signal($signal{ $how // 'fast' });
	defined $self->{process}->wait(60) or die "PostgreSQL did not stop in time\n";
	return;
}

sub crash { my ($self) = @_; return $self->stop('immediate') }

# At the end of a test: quickly, and never in vain.
sub discard
{
	my ($self) = @_;
	my $process = $self->{process} or return;
	$process->signal('QUIT');
	$process->wait(5);
	$process->kill_group;
	return;
}
sub restart { my ($self, $how) = @_; $self->stop($how); return $self->up }

sub conninfo
{
	my ($self, $database, %option) = @_;
	my %part = (host => $self->{host}, port => $self->{port}, user => $self->{user}, dbname => $database, %option);
	return join(' ', map { "$_=$part{$_}" } sort keys %part);
}

sub db { my ($self, $name) = @_; return Pawl::Postgres::Database->new($self, $name) }

sub create_db
{
	my ($self, $name) = @_;
	$name //= "t$$" . "_$^T" . '_' . ++$serial;
	$self->db('postgres')->do(qq(create database "$name" template template0));
	return $self->db($name);
}

package Pawl::Postgres::Database;
use strict;
use warnings;

sub new { my ($class, $server, $name) = @_; return bless { server => $server, name => $name }, $class }
sub name { return $_[0]{name} }
sub server { return $_[0]{server} }
sub conninfo { my ($self, %option) = @_; return $self->{server}->conninfo($self->{name}, %option) }

my ($END_OF_FIELD, $END_OF_ROW, $NULL) = ("\x1f", "\x1e", "\x15");
sub psql_command
{
	my ($self) = @_;
	return (Pawl::Postgres::bindir() . '/psql', '-X', '-q', '-A', '-t', '-w', '-v', 'ON_ERROR_STOP=1', '-F', $END_OF_FIELD, '-R', $END_OF_ROW, '-P', "null=$NULL", $self->conninfo);
}

sub rows_of
{
	my ($text) = @_;
	return map { [ map { $_ eq $NULL ? undef : $_ } split(/$END_OF_FIELD/, $_, -1) ] } split(/$END_OF_ROW/, $text, -1);
}

# Runs SQL (several statements are fine; dollar quotes too): (error text or undef, output).
sub run
{
	my ($self, $sql) = @_;
	require File::Temp;
	my ($in, $out, $err) = map { File::Temp->new } 1 .. 3;
	binmode($in, ':raw');
	utf8::encode($sql) if utf8::is_utf8($sql);
	print $in $sql;
	$in->flush;
	my $pid = fork() // die "could not fork: $!\n";
	if ($pid == 0) {
		open(STDIN, '<', "$in");
		open(STDOUT, '>', "$out");
		open(STDERR, '>', "$err");
		{ no warnings 'exec'; exec(psql_command($self)); }
		print STDERR "could not execute psql: $!\n";
		POSIX::_exit(127);
	}
	waitpid($pid, 0);
	my $status = $?;
	my $text = read_all("$out");
	chomp $text;
	return ($status ? read_all("$err") || "psql: status $status" : undef, $text);
}

sub read_all { my ($name) = @_; open(my $file, '<:raw', $name) or return ''; local $/; return <$file> // '' }

# Rows, each a list of texts; SQL null is undef. Dies with the server's message.
sub query
{
	my ($self, $sql) = @_;
	my ($error, $text) = $self->run($sql);
	die "$self->{name}: $error in: $sql\n" if defined $error;
	return $text eq '' ? () : rows_of($text);
}

sub do { my ($self, $sql) = @_; $self->query($sql); return }
sub row { my ($self, $sql) = @_; my ($row) = $self->query($sql); return $row ? @$row : () }
sub column { my ($self, $sql) = @_; return map { $_->[0] } $self->query($sql) }

sub value
{
	my ($self, $sql) = @_;
	my ($error, $text) = $self->run($sql);
	die "$self->{name}: $error in: $sql\n" if defined $error;
	return $text eq $NULL ? undef : $text;
}

# The server's message when the SQL fails, else undef.
sub error { my ($self, $sql) = @_; my ($error) = $self->run($sql); return $error }

# A session that stays: my $s = $db->session; $s->query('begin'); $s->query('lock table t'); ... $s->close
sub session { my ($self) = @_; return Pawl::Postgres::Session->new($self) }

package Pawl::Postgres::Session;
use strict;
use warnings;
use IPC::Open2 ();

sub new
{
	my ($class, $db) = @_;
	my $self = bless { db => $db, serial => 0 }, $class;
	$self->{pid} = IPC::Open2::open2($self->{out}, $self->{in}, 'setpriv', '--pdeathsig', 'KILL', Pawl::Postgres::Database::psql_command($db), '-v', 'ON_ERROR_STOP=0');
	return $self;
}

# Sends SQL and does not wait (for what will block); finish() waits for it.
sub send
{
	my ($self, $sql) = @_;
	$self->{mark} = sprintf('--pawl-%d-%d--', $$, ++$self->{serial});
	print { $self->{in} } "$sql\n;\\echo $self->{mark}\n";
	$self->{in}->flush;
	return;
}

sub finish
{
	my ($self) = @_;
	my $text = '';
	while (defined(my $line = readline($self->{out}))) {
		last if $line eq "$self->{mark}\n";
		$text .= $line;
	}
	chomp $text;
	return $text eq '' ? () : Pawl::Postgres::Database::rows_of($text);
}

sub query { my ($self, $sql) = @_; $self->send($sql); return $self->finish }
sub value { my ($self, $sql) = @_; my ($row) = $self->query($sql); return $row ? $row->[0] : undef }

sub close
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	close($self->{in});
	close($self->{out});
	local $?;
	waitpid($pid, 0);
	return;
}

sub DESTROY { my ($self) = @_; local ($@, $!, $?); $self->close; return }

1;
