# An HTTP server whose answers a test scripts. A process for each connection, so a slow or hanging answer keeps nobody else waiting.
#
#   my $server = Pawl::HttpServer->start(sub { my ($request, $client) = @_; return [ 201, { 'X-A' => 'b' }, 'body' ] });
#   $server->url('/path')         http://127.0.0.1:PORT/path;  $server->port
#   $server->tls($cert, $key [, $client_ca])    the port of another server before it, with TLS (python3); client_ca: who has no certificate of it is refused
#   $server->requests             what came, in its order: { method, target, headers => { lower case }, body (its first 64 KiB),
#                                 size, connection, began, ended }
#   $server->stop
#
# The code runs in the connection's process; it gets the request, with { same } counting those with its Idempotency-Key so far, itself
# included. It may also write to the client by itself, and return nothing: the connection is closed then. Headers that it returns replace
# Content-Length. It ends with the test.
package Pawl::HttpServer;
use strict;
use warnings;
use Fcntl qw(:flock);
use File::Temp ();
use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use POSIX ();
use Time::HiRes ();

# Starts code($from) in a process group of its own, where $from is at its end when we are.
sub spawn
{
	my ($code, @keep) = @_;
	pipe(my $from, my $to) or die "could not make a pipe: $!\n";
	my $pid = fork() // die "could not fork: $!\n";
	if ($pid == 0) {
		setpgrp(0, 0);
		my %mine = map { fileno($_) => 1 } $from, @keep;
		$mine{$_} || POSIX::close($_) for 3 .. 255;	# nothing of the test's is held open
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP ALRM);
		$SIG{CHLD} = $SIG{PIPE} = 'IGNORE';
		alarm(0);
		eval { $code->($from) };
		print STDERR $@ if $@;
		kill('KILL', -$$);
		POSIX::_exit(0);
	}
	setpgrp($pid, $pid);
	close($from);
	return { pid => $pid, to => $to };
}

sub end
{
	my ($process) = @_;
	return if !$process || !$process->{pid};
	kill('KILL', -$process->{pid});
	waitpid(delete $process->{pid}, 0);
	close($process->{to});
	return;
}

sub start
{
	my ($class, $answer) = @_;
	my $listen = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', LocalPort => 0) or die "could not listen: $!\n";
	my $log = File::Temp->new;
	my $self = bless { port => $listen->sockport, log => $log, owner => $$, fronts => [] }, $class;
	$self->{process} = spawn(sub { serve($listen, $_[0], $answer, "$log") }, $listen);
	return $self;
}

sub port { return $_[0]{port} }
sub url { my ($self, $path) = @_; return "http://127.0.0.1:$self->{port}" . ($path // '/') }
sub stop { my ($self) = @_; end($_) for @{ $self->{fronts} }, $self->{process}; return }
sub DESTROY { my ($self) = @_; local ($?, $!); $self->stop if $self->{owner} == $$; return }

sub requests
{
	my ($self) = @_;
	open(my $file, '<', "$self->{log}") or die "could not read $self->{log}: $!\n";
	my (@requests, %request);
	while (my $line = readline($file)) {
		my $entry = JSON::PP->new->decode($line);	# bytes, not UTF-8
		if ($entry->{ended}) {
			$request{ $entry->{id} }{ended} = $entry->{ended};
			next;
		}
		push @requests, $request{ $entry->{id} } = $entry;
	}
	return @requests;
}

sub serve
{
	my ($listen, $life, $answer, $log) = @_;
	my $select = IO::Select->new($listen, $life);
	my $connection = 0;
	for (;;) {
		my %ready = map { fileno($_) => 1 } $select->can_read;
		return if $ready{ fileno($life) };
		my $client = $listen->accept or next;
		$connection++;
		next if fork() // die "could not fork: $!\n";
		close($listen);
		eval { converse($client, $answer, $log, $connection) };
		print STDERR $@ if $@;
		POSIX::_exit(0);
	}
}

# One line at a time, whoever writes.
sub note
{
	my ($log, $entry) = @_;
	open(my $file, '>>', $log) or die "could not write $log: $!\n";
	flock($file, LOCK_EX);
	syswrite($file, JSON::PP->new->latin1->canonical->encode($entry) . "\n");
	close($file);
	return;
}

sub same_key
{
	my ($log, $key) = @_;
	open(my $file, '<', $log) or return 0;
	return scalar grep { /"idempotency-key":"\Q$key\E"/ } readline($file);
}

sub converse
{
	my ($client, $answer, $log, $connection) = @_;
	my $serial = 0;
	binmode($client);
	while (my $request = read_request($client)) {
		$request->{connection} = $connection;
		$request->{id} = "$connection." . ++$serial;
		$request->{began} = Time::HiRes::time();
		note($log, { %$request, body => substr($request->{body}, 0, 65536), size => length $request->{body} });
		$request->{same} = same_key($log, $request->{headers}{'idempotency-key'} // '');
		my $result = $answer->($request, $client);
		note($log, { id => $request->{id}, ended => Time::HiRes::time() });
		last if ref $result ne 'ARRAY';
		my ($status, $headers, $body) = @$result;
		$body = '' if $status == 204 || $status == 304;
		my %header = ('Content-Length' => length($body // ''), %{ $headers || {} });
		my $text = "HTTP/1.1 $status Scripted\r\n" . join('', map { "$_: $header{$_}\r\n" } sort keys %header) . "\r\n" . ($body // '');
		defined syswrite($client, $text) or last;
	}
	shutdown($client, 2);
	return;
}

sub read_request
{
	my ($client) = @_;
	my $line = readline($client) // return;
	my ($method, $target) = $line =~ m{^(\S+) (\S+) HTTP/1\.1\r\n$} or return;	# TLS, where none is
	my (%headers, $body);
	while (defined($line = readline($client)) && $line =~ /^([^:]+): ?(.*?)\r\n$/s) {
		my $name = lc $1;
		die "header $name comes twice\n" if exists $headers{$name};
		$headers{$name} = $2;
	}
	$body = '';
	if ($headers{'content-length'}) {
		my $left = $headers{'content-length'};
		while ($left > 0) {
			my $got = read($client, $body, $left, length $body) or return;
			$left -= $got;
		}
	}
	return { method => $method, target => $target, headers => \%headers, body => $body };
}

# TLS is Python's; what is inside goes to the server.
my $front = <<'END';
import socket, ssl, sys, threading
backend, cert, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
if len(sys.argv) > 4:
	context.load_verify_locations(sys.argv[4])
	context.verify_mode = ssl.CERT_REQUIRED
def relay(a, b):
	try:
		while True:
			data = a.recv(65536)
			if not data:
				break
			b.sendall(data)
	except OSError:
		pass
	for s in (a, b):
		try:
			s.shutdown(socket.SHUT_RDWR)
		except OSError:
			pass
def serve(raw):
	try:
		inner = context.wrap_socket(raw, server_side=True)
	except (OSError, ssl.SSLError):
		return
	outer = socket.create_connection(("127.0.0.1", backend))
	threading.Thread(target=relay, args=(outer, inner), daemon=True).start()
	relay(inner, outer)
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)
while True:
	threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
END

sub tls
{
	my ($self, $cert, $key, $client_ca) = @_;
	pipe(my $out, my $in) or die "could not make a pipe: $!\n";
	my $process = spawn(sub {
		open(STDOUT, '>&', $in) or die;
		close($in);
		exec('setpriv', '--pdeathsig', 'KILL', 'python3', '-c', $front, $self->{port}, $cert, $key, $client_ca // ()) or die "could not execute python3: $!\n";
	}, $in);
	close($in);
	push @{ $self->{fronts} }, $process;
	chomp(my $port = readline($out) // die "no TLS server: is python3 here?\n");
	return $port;
}

1;
