# A TCP proxy that fails as networks do. One process, any number of connections.
#
#   my $proxy = Pawl::Proxy->start($host, $port);     # $proxy->port on 127.0.0.1
#   $proxy->mute;       # from now on nothing that the server says comes through, on connections that are there
#   $proxy->cut;        # connections that are there are closed to the client; the server sees nothing of it
#   $proxy->refuse;     # new connections are closed at once; allow() takes them again
#   $proxy->hold;       # new connections are made, and nothing comes through until go()
#   $proxy->stop;
package Pawl::Proxy;
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Pawl::Process;

sub start
{
	my ($class, $host, $port) = @_;
	my $listen = IO::Socket::INET->new(Listen => 16, LocalAddr => '127.0.0.1', LocalPort => 0) or die "could not listen: $!\n";
	pipe(my $from, my $to) or die "could not make a pipe: $!\n";
	pipe(my $done_from, my $done_to) or die "could not make a pipe: $!\n";
	my $pid = fork() // die "could not fork: $!\n";
	if ($pid == 0) {
		# Nothing of the test's is held open: others wait for its end.
		my %mine = map { fileno($_) => 1 } $listen, $from, $done_to;
		$mine{$_} || POSIX::close($_) for 3 .. 255;
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
		$SIG{PIPE} = 'IGNORE';
		eval { serve($listen, $host, $port, $from, $done_to) };
		print STDERR $@ if $@;
		POSIX::_exit(0);
	}
	close($from);
	close($done_to);
	return bless { pid => $pid, port => $listen->sockport, to => $to, done => $done_from, owner => $$ }, $class;
}

sub port { return $_[0]{port} }
sub order { my ($self, $letter) = @_; syswrite($self->{to}, $letter); sysread($self->{done}, my $answer, 1); return }
sub mute { return $_[0]->order('m') }
sub cut { return $_[0]->order('c') }
sub refuse { return $_[0]->order('r') }
sub allow { return $_[0]->order('a') }
sub hold { return $_[0]->order('h') }
sub go { return $_[0]->order('g') }
sub stop { my ($self) = @_; close($self->{to}); waitpid($self->{pid}, 0); return }
sub DESTROY { my ($self) = @_; local ($?, $!); $self->stop if $self->{owner} == $$ && fileno($self->{to}); return }

# Ends when the test does: then the pipe of orders is closed.
sub serve
{
	my ($listen, $host, $port, $orders, $done) = @_;
	my $select = IO::Select->new($listen, $orders);
	my (%peer, %muted, %client);
	my $refuse = 0;
	my $drop = sub {
		my @sockets = @_;	# no aliases: they are values of what is deleted
		for my $socket (@sockets) {
			$select->remove($socket);
			delete $peer{$socket};
			delete $client{$socket};
			shutdown($socket, 2);	# close() alone counts handles of the number that the parent had
			close($socket);
		}
	};
	for (;;) {
		for my $ready ($select->can_read) {
			if ($ready == $orders) {
				my $n = sysread($orders, my $letter, 1);
				return if !$n;
				$refuse = 1 if $letter eq 'r';
				$refuse = 0 if $letter eq 'a';
				$select->remove($listen) if $letter eq 'h';
				$select->add($listen) if $letter eq 'g';
				$muted{$_} = 1 for $letter eq 'm' ? keys %peer : ();
				my @clients = $letter eq 'c' ? values %client : ();
				for my $socket (@clients) {
					my $server = $peer{$socket};
					$peer{$server} = undef;		# its other end stays open
					$drop->($socket);
				}
				syswrite($done, 'd');
			} elsif ($ready == $listen) {
				my $client = $listen->accept or next;
				my $server = $refuse ? undef : IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port);
				if (!$server) {
					shutdown($client, 2);
					close($client);
					next;
				}
				@peer{ $client, $server } = ($server, $client);
				delete @muted{ $client, $server };	# addresses are used again
				$client{$client} = $client;
				$select->add($client, $server);
			} elsif (exists $peer{$ready}) {
				my $peer = $peer{$ready};
				my $n = sysread($ready, my $bytes, 65536);
				if (!$n) {
					$drop->(grep { defined } $ready, $peer);
				} elsif (defined $peer && !($muted{$ready} && !$client{$ready})) {
					for (my $at = 0; $at < length $bytes;) {
						my $sent = syswrite($peer, $bytes, length($bytes) - $at, $at) // last;
						$at += $sent;
					}
				}
			}
		}
	}
}

1;
