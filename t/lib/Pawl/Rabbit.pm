# A private RabbitMQ broker (management plugin on), and virtual hosts on it.
#
#   my $broker = Pawl::Rabbit->start(dir => DIR [, fsync => 1] [, port => N, management_port => N] [, detach => 1] [, config => { ... }]);
#   my $broker = Pawl::Rabbit->attach($ENV{PAWL_TEST_RABBITMQ});
#   my $vhost = $broker->create_vhost;       # a Pawl::Rabbit::Vhost
#
# It listens on 127.0.0.1 only, has its own node name, cookie, data, logs and epmd, and the user guest/guest. As root it runs as user
# "rabbitmq" when there is one.
package Pawl::Rabbit;
use strict;
use warnings;
use Cwd ();
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 ();
use Pawl::Amqp;
use Pawl::Postgres;
use Pawl::Process;

my $serial = 0;
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub server_program
{
	for my $dir ('/usr/lib/rabbitmq/bin', split(/:/, $ENV{PATH} || '')) {
		return "$dir/rabbitmq-server" if -x "$dir/rabbitmq-server";
	}
	die "there is no RabbitMQ here (/usr/lib/rabbitmq/bin/rabbitmq-server or PATH); run ./dev deps\n";
}

sub epmd_program
{
	my ($epmd) = grep { -x } map { "$_/epmd" } split(/:/, $ENV{PATH} || ''), glob('/usr/lib/erlang/erts-*/bin');
	return $epmd // die "there is no epmd (of Erlang) here; run ./dev deps\n";
}

sub start
{
	my ($class, %option) = @_;
	my $self = bless { host => '127.0.0.1', user => 'guest', password => 'guest', %option }, $class;
	$self->{dir} = Cwd::abs_path($self->{dir}) // die "no directory $option{dir}\n";
	$self->{run_as} = 'rabbitmq' if $> == 0 && defined getpwnam('rabbitmq');
	$self->{log} = "$self->{dir}/broker.log";
	$self->{$_} ||= Pawl::Postgres::free_port() for qw(port management_port dist_port epmd_port);
	$self->{node} ||= "pawl$$-" . ++$serial . '@localhost';
	$self->configure;
	$self->up;
	return $self;
}

sub write_file
{
	my ($self, $name, $text, $mode) = @_;
	unlink "$self->{dir}/$name";
	open(my $file, '>', "$self->{dir}/$name") or die "could not write $self->{dir}/$name: $!\n";
	print $file $text;
	close($file) or die "could not write $self->{dir}/$name: $!\n";
	chmod($mode // 0644, "$self->{dir}/$name");
	$self->own("$self->{dir}/$name");
	return;
}

sub own
{
	my ($self, @files) = @_;
	my ($uid, $gid) = $self->{run_as} ? (getpwnam($self->{run_as}))[2, 3] : return;
	chown($uid, $gid, @files);
	return;
}

sub configure
{
	my ($self) = @_;
	my %config = (
		'listeners.tcp.1' => "127.0.0.1:$self->{port}", 'management.tcp.ip' => '127.0.0.1', 'management.tcp.port' => $self->{management_port},
		'disk_free_limit.absolute' => '16MB', 'vm_memory_high_watermark.absolute' => '1GB', 'log.file.level' => 'info',
		'collect_statistics_interval' => 1000, 'raft.wal_max_size_bytes' => 67108864, %{ $self->{config} || {} },
	);
	for my $name ('', qw(data logs home)) {
		mkdir("$self->{dir}/$name") if $name;
		$self->own("$self->{dir}/$name");
	}
	$self->write_file('rabbitmq.conf', join('', map { "$_ = $config{$_}\n" } sort keys %config));
	$self->write_file('advanced.config', '[{rabbit, [{quorum_tick_interval, 500}]}'
		. ($self->{fsync} ? '' : ', {ra, [{wal_sync_method, none}]}') . "].\n");
	$self->write_file('enabled_plugins', "[rabbitmq_management].\n");
	$self->write_file('home/.erlang.cookie', join('', map { chr(65 + rand 26) } 1 .. 32), 0400) if !-e "$self->{dir}/home/.erlang.cookie";
	$self->{env} = {
		HOME => "$self->{dir}/home", ERL_EPMD_PORT => $self->{epmd_port}, ERL_EPMD_ADDRESS => '127.0.0.1',
		RABBITMQ_NODENAME => $self->{node}, RABBITMQ_NODE_IP_ADDRESS => '127.0.0.1', RABBITMQ_NODE_PORT => $self->{port},
		RABBITMQ_DIST_PORT => $self->{dist_port}, RABBITMQ_MNESIA_BASE => "$self->{dir}/data", RABBITMQ_LOG_BASE => "$self->{dir}/logs",
		RABBITMQ_CONFIG_FILE => "$self->{dir}/rabbitmq.conf", RABBITMQ_ADVANCED_CONFIG_FILE => "$self->{dir}/advanced.config",
		RABBITMQ_ENABLED_PLUGINS_FILE => "$self->{dir}/enabled_plugins", RABBITMQ_PID_FILE => "$self->{dir}/pid",
		RABBITMQ_CONF_ENV_FILE => "$self->{dir}/no-rabbitmq-env.conf", RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS =>
		    '+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}',
		# The start script then becomes the broker itself, so that its signals and its parent are what they seem.
		RUNNING_UNDER_SYSTEMD => 'true', NOTIFY_SOCKET => undef,
	};
	return;
}

sub up
{
	my ($self) = @_;
	my %common = (log => $self->{log}, user => $self->{run_as}, cwd => $self->{dir}, env => $self->{env}, detach => $self->{detach});
	$self->{epmd} = Pawl::Process->new(name => 'epmd', %common,
		command => [ epmd_program(), '-address', '127.0.0.1', '-port', $self->{epmd_port} ]);
	$self->{process} = Pawl::Process->new(name => 'rabbitmq', %common, command => [ server_program() ]);
	Pawl::Process::poll(sub {
		die "RabbitMQ ended at its start:\n" . $self->{process}->log if !$self->{process}->running;
		return $self->ready;
	}, 90) or die "RabbitMQ did not start in time:\n" . $self->{process}->log;
	return;
}

# The management listener comes up last.
sub ready
{
	my ($self) = @_;
	my $answer = eval { $self->api('GET', '/api/overview') } or return 0;
	return 0 if !grep { ($_->{protocol} // '') eq 'amqp' } @{ $answer->{listeners} || [] };
	return eval { Pawl::Amqp->new(%$self{qw(host port user password)})->close; 1 } || 0;
}

sub address { my ($self) = @_; return "$self->{host}:$self->{port}:$self->{management_port}:$self->{user}:$self->{password}" }

sub attach
{
	my ($class, $address) = @_;
	my %self;
	@self{qw(host port management_port user password)} = split(/:/, $address);
	return bless \%self, $class;
}

sub pid { return $_[0]{process}->pid }
sub port { return $_[0]{port} }
sub management_url { my ($self) = @_; return "http://$self->{host}:$self->{management_port}/" }

# Stops it in order (the data stays; up() starts it again), or at once.
sub stop
{
	my ($self) = @_;
	$self->{process}->signal('TERM');
	$self->{process}->wait(60);
	return $self->crash;
}

sub crash { my ($self) = @_; $_ && $_->kill_group for @$self{qw(process epmd)}; return }
sub discard { my ($self) = @_; return $self->crash }

# rabbitmqctl; takes seconds. Dies when it fails.
sub ctl
{
	my ($self, @arguments) = @_;
	my $log = "$self->{dir}/ctl.log";
	unlink $log;
	(my $program = server_program()) =~ s/-server$/ctl/;
	my $run = Pawl::Process->new(name => 'rabbitmqctl', command => [ $program, '-n', $self->{node}, @arguments ], log => $log,
		user => $self->{run_as}, cwd => $self->{dir}, env => $self->{env});
	my $status = $run->wait(60);
	die "rabbitmqctl @arguments failed:\n" . $run->log if !defined $status || $status;
	return $run->log;
}

# The management API: the decoded answer; dies with the broker's reason.
sub api
{
	my ($self, $method, $path, $body) = @_;
	my $http = $self->{http} ||= HTTP::Tiny->new(timeout => 30, keep_alive => 0);
	my $answer = $http->request($method, "http://$self->{host}:$self->{management_port}$path", {
		headers => { Authorization => 'Basic ' . MIME::Base64::encode_base64("$self->{user}:$self->{password}", ''), 'Content-Type' => 'application/json' },
		defined $body ? (content => $json->encode($body)) : (),
	});
	die "$method $path: $answer->{status} $answer->{content}\n" if !$answer->{success};
	return length($answer->{content} // '') ? $json->decode($answer->{content}) : undef;
}

sub vhost { my ($self, $name) = @_; return Pawl::Rabbit::Vhost->new($self, $name) }

sub create_vhost
{
	my ($self, $name) = @_;
	$name //= "t$$-$^T-" . ++$serial;
	$self->api('PUT', "/api/vhosts/$name");
	$self->api('PUT', "/api/permissions/$name/$self->{user}", { configure => '.*', write => '.*', read => '.*' });
	return $self->vhost($name);
}

package Pawl::Rabbit::Vhost;
use strict;
use warnings;

sub new { my ($class, $broker, $name) = @_; return bless { broker => $broker, name => $name }, $class }
sub name { return $_[0]{name} }
sub broker { return $_[0]{broker} }
sub encoded { my ($text) = @_; $text =~ s/([^A-Za-z0-9._~-])/sprintf('%%%02X', ord $1)/ge; return $text }

sub uri
{
	my ($self) = @_;
	my $broker = $self->{broker};
	return "amqp://$broker->{user}:$broker->{password}\@$broker->{host}:$broker->{port}/" . encoded($self->{name});
}

# The vhost's own AMQP connection (a new one after a loss); connect() makes a further one.
sub connect
{
	my ($self) = @_;
	my $broker = $self->{broker};
	return Pawl::Amqp->new(%$broker{qw(host port user password)}, vhost => $self->{name});
}

sub amqp
{
	my ($self) = @_;
	$self->{amqp} = $self->connect if !$self->{amqp} || !$self->{amqp}{socket};
	return $self->{amqp};
}

sub publish { my ($self, %message) = @_; $self->amqp->publish(%message); return scalar $self->amqp->confirm }
sub get { my ($self, $queue, %option) = @_; return $self->amqp->get($queue, %option) }
sub drain { my ($self, $queue) = @_; return $self->amqp->drain($queue) }
sub count { my ($self, $queue) = @_; return $self->amqp->count($queue) }
sub exists { my ($self, $queue) = @_; return $self->amqp->exists($queue) }

# The management API below /api/KIND/VHOST, e.g. ->api('GET', 'queues', 'work').
sub api
{
	my ($self, $method, $kind, $name, $body) = @_;
	return $self->{broker}->api($method, "/api/$kind/" . encoded($self->{name}) . (defined $name ? '/' . encoded($name) : ''), $body);
}

# As the broker shows it (a second or so late): ready, unacked and all messages of a queue, and its consumers.
sub queue { my ($self, $name) = @_; return $self->api('GET', 'queues', $name) }
sub connections { my ($self) = @_; return @{ $self->{broker}->api('GET', '/api/vhosts/' . encoded($self->{name}) . '/connections') } }
sub close_connection { my ($self, $connection) = @_; return $self->{broker}->api('DELETE', '/api/connections/' . encoded($connection->{name})) }
sub drop { my ($self) = @_; return $self->{broker}->api('DELETE', '/api/vhosts/' . encoded($self->{name})) }

1;
