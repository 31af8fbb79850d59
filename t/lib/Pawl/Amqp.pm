# A small AMQP 0-9-1 client for tests: blocking, one channel, exact counts, and headers of any shape.
#
#   my $amqp = Pawl::Amqp->new(host => ..., port => ..., user => ..., password => ..., vhost => ...);
#   $amqp->publish(exchange => 'x', routing_key => 'k', body => '...', message_id => '...', type => '...', headers => {...});
#   $amqp->confirm;                          # waits for all confirms: ('ack' or 'nack' or 'return') for each publish since the last
#   my $message = $amqp->get('queue');       # acked at once; undef when the queue is empty; header_kinds has the letters of its headers' types
#
# Header values: a text is a longstr; [ 'I', 5 ] and so on are typed (see encode_value); a hash is a table; [ 'A', [...] ] an array.
# raw_headers gives the encoded table without its length, for what no sane client would send.
package Pawl::Amqp;
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);
use Pawl::Process;

my %CALLS = (	# what a call is answered with
	'10.40' => '10.41', '20.10' => '20.11', '40.10' => '40.11', '40.20' => '40.21', '40.30' => '40.31',
	'50.10' => '50.11', '50.20' => '50.21', '50.30' => '50.31', '50.40' => '50.41', '60.10' => '60.11', '60.20' => '60.21',
	'60.30' => '60.31', '85.10' => '85.11', '10.50' => '10.51', '20.40' => '20.41',
);
my @PROPERTIES = (	# name, bit, kind
	[ content_type => 15, 's' ], [ content_encoding => 14, 's' ], [ headers => 13, 'F' ], [ delivery_mode => 12, 'C' ],
	[ priority => 11, 'C' ], [ correlation_id => 10, 's' ], [ reply_to => 9, 's' ], [ expiration => 8, 's' ],
	[ message_id => 7, 's' ], [ timestamp => 6, 'Q' ], [ type => 5, 's' ], [ user_id => 4, 's' ], [ app_id => 3, 's' ],
);

sub new
{
	my ($class, %option) = @_;
	my $self = bless { user => 'guest', password => 'guest', vhost => '/', timeout => 30, in => '', %option }, $class;
	$self->{socket} = IO::Socket::INET->new(PeerAddr => $self->{host}, PeerPort => $self->{port}, Timeout => 10)
	    or die "could not connect to the broker at $self->{host}:$self->{port}: $@\n";
	binmode $self->{socket};
	setsockopt($self->{socket}, IPPROTO_TCP, TCP_NODELAY, 1);
	$self->send_bytes("AMQP\0\0\x09\x01");
	$self->wait_method('10.10');
	$self->send_method(0, 10, 11, table({ product => 'pawl-test' }) . short('PLAIN') . long("\0$self->{user}\0$self->{password}") . short('en_US'));
	my $tune = $self->wait_method('10.30');
	my ($channels, $frame_max) = unpack('n N', $tune);
	$self->{frame_max} = $frame_max || 131072;
	$self->send_method(0, 10, 31, pack('n N n', $channels, $self->{frame_max}, 0));
	$self->call(0, 10, 40, short($self->{vhost}) . short('') . "\0");
	$self->open_channel;
	return $self;
}

sub open_channel
{
	my ($self) = @_;
	$self->call(1, 20, 10, short(''));
	$self->call(1, 85, 10, "\0");
	@$self{qw(sequence confirmed first outcome channel_open)} = (0, 0, 1, {}, 1);
	return;
}

sub close
{
	my ($self) = @_;
	my $socket = delete $self->{socket} or return;
	close($socket);
	return;
}

# ---- what tests use

sub declare_queue
{
	my ($self, $queue, %option) = @_;
	my $arguments = $option{arguments} // { 'x-queue-type' => 'quorum' };
	$self->call(1, 50, 10, pack('n', 0) . short($queue) . chr(2 | ($option{exclusive} ? 4 : 0)) . table($arguments));
	return;
}

sub declare_exchange
{
	my ($self, $exchange, $kind) = @_;
	$self->call(1, 40, 10, pack('n', 0) . short($exchange) . short($kind // 'topic') . chr(2) . table({}));
	return;
}

sub delete_exchange { my ($self, $exchange) = @_; $self->call(1, 40, 20, pack('n', 0) . short($exchange) . "\0"); return }

sub bind
{
	my ($self, $queue, $exchange, $key) = @_;
	$self->call(1, 50, 20, pack('n', 0) . short($queue) . short($exchange) . short($key // '') . "\0" . table({}));
	return;
}

sub unbind
{
	my ($self, $queue, $exchange, $key) = @_;
	$self->call(1, 50, 50, pack('n', 0) . short($queue) . short($exchange) . short($key // '') . table({}));
	return;
}

sub purge { my ($self, $queue) = @_; return unpack('N', $self->call(1, 50, 30, pack('n', 0) . short($queue) . "\0")) }
sub delete_queue { my ($self, $queue) = @_; return unpack('N', $self->call(1, 50, 40, pack('n', 0) . short($queue) . "\0")) }

# (ready messages, consumers); dies when there is no such queue.
sub count
{
	my ($self, $queue) = @_;
	my $answer = $self->call(1, 50, 10, pack('n', 0) . short($queue) . chr(1) . table({}));
	my (undef, $messages, $consumers) = unpack('C/a N N', $answer);
	return wantarray ? ($messages, $consumers) : $messages;
}

sub exists { my ($self, $queue) = @_; return eval { $self->count($queue); 1 } || 0 }

sub publish
{
	my ($self, %m) = @_;
	$self->open_channel if !$self->{channel_open};
	my $body = $m{body} // '';
	utf8::encode($body) if utf8::is_utf8($body);
	my ($flags, $values) = (0, '');
	$m{delivery_mode} //= 2;
	for my $property (@PROPERTIES) {
		my ($name, $bit, $kind) = @$property;
		my $value = $m{$name};
		if ($name eq 'headers' && defined $m{raw_headers}) {
			$values .= long($m{raw_headers});
		} elsif (!defined $value) {
			next;
		} else {
			$values .= $kind eq 's' ? short($value) : $kind eq 'F' ? table($value) : $kind eq 'Q' ? pack('Q>', $value) : pack('C', $value);
		}
		$flags |= 1 << $bit;
	}
	my $bytes = frame(1, 1, pack('n n n', 60, 40, 0) . short($m{exchange} // '') . short($m{routing_key} // '') . chr($m{mandatory} ? 1 : 0));
	$bytes .= frame(2, 1, pack('n n Q> n', 60, 0, length $body, $flags) . $values);
	my $part = $self->{frame_max} - 8;
	for (my $at = 0; $at < length $body; $at += $part) {
		$bytes .= frame(3, 1, substr($body, $at, $part));
	}
	$self->{sequence}++;
	$self->send_bytes($bytes);
	return $self->{sequence};
}

# Waits until every publish so far is settled; what became of each since the last call, in order.
sub confirm
{
	my ($self) = @_;
	while ($self->{channel_open} && $self->{confirmed} < $self->{sequence}) {
		$self->take_frame($self->{timeout});
	}
	my @outcome = map { $self->{outcome}{$_} // 'closed' } $self->{first} .. $self->{sequence};
	$self->{first} = $self->{sequence} + 1;
	$self->{outcome} = {};
	return wantarray ? @outcome : $outcome[-1];
}

# The next message, acked (ack => 0: left unacked on this channel, give back with requeue()), or undef.
sub get
{
	my ($self, $queue, %option) = @_;
	my $answer = $self->call(1, 60, 70, pack('n', 0) . short($queue) . "\0");
	return undef if $self->{answer} eq '60.72';
	my ($tag, $redelivered, $rest) = unpack('Q> C a*', $answer);
	my ($exchange, $routing_key) = unpack('C/a C/a', $rest);
	my $message = { tag => $tag, redelivered => $redelivered, exchange => $exchange, routing_key => $routing_key, %{ $self->take_content } };
	$self->send_method(1, 60, 80, pack('Q> C', $tag, 0)) if $option{ack} // 1;
	return $message;
}

# All that is ready, acked. Consumes, which is much quicker than to get one by one.
sub drain
{
	my ($self, $queue) = @_;
	my @messages;
	local $self->{deliveries} = [];
	while (my $ready = $self->count($queue)) {
		my $tag = 'drain' . ++$self->{drains};
		# No more than are read: what is on its way when the consumer is cancelled can come back out of order.
		$ready = 60_000 if $ready > 60_000;
		$self->call(1, 60, 10, pack('N n C', 0, $ready, 0));
		$self->call(1, 60, 20, pack('n', 0) . short($queue) . short($tag) . "\0" . table({}));
		for (1 .. $ready) {
			push @messages, $self->next_delivery // die "the broker did not deliver what is ready in $queue\n";
		}
		$self->call(1, 60, 30, short($tag) . "\0");
		$self->ack($messages[-1], 1);
	}
	return @messages;
}

sub requeue { my ($self, @messages) = @_; $self->send_method(1, 60, 120, pack('Q> C', $_->{tag}, 2)) for @messages; return }

# Consumes (without acks unless ack() is called; with $no_ack there are none): next_delivery waits for one.
sub consume
{
	my ($self, $queue, $prefetch, $no_ack) = @_;
	$self->call(1, 60, 10, pack('N n C', 0, $prefetch // 100, 0));
	$self->call(1, 60, 20, pack('n', 0) . short($queue) . short('pawl-test') . ($no_ack ? "\2" : "\0") . table({}));
	return;
}

sub next_delivery
{
	my ($self, $seconds) = @_;
	my $deadline = time() + ($seconds // $self->{timeout});
	while (!@{ $self->{deliveries} || [] }) {
		return undef if time() > $deadline;
		$self->take_frame($deadline - time(), 1);
	}
	return shift @{ $self->{deliveries} };
}

sub ack { my ($self, $message, $multiple) = @_; $self->send_method(1, 60, 80, pack('Q> C', $message->{tag}, $multiple ? 1 : 0)); return }

# ---- frames

sub send_bytes
{
	my ($self, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my $at = 0;
	while ($at < length $bytes) {
		my $n = syswrite($self->{socket}, $bytes, length($bytes) - $at, $at);
		die "could not write to the broker: $!\n" if !defined $n;
		$at += $n;
	}
	return;
}

sub frame { my ($type, $channel, $payload) = @_; return pack('C n N', $type, $channel, length $payload) . $payload . "\xce" }
sub send_method { my ($self, $channel, $class, $method, $arguments) = @_; return $self->send_bytes(frame(1, $channel, pack('n n', $class, $method) . $arguments)) }

# One frame of the socket; undef when nothing came in time and that is allowed.
sub read_frame
{
	my ($self, $seconds, $may_be_quiet) = @_;
	my $deadline = time() + $seconds * Pawl::Process::slow_factor();
	for (;;) {
		if (length $self->{in} >= 7) {
			my ($type, $channel, $size) = unpack('C n N', $self->{in});
			if (length $self->{in} >= $size + 8) {
				my $payload = substr($self->{in}, 7, $size);
				substr($self->{in}, 0, $size + 8, '');
				return ($type, $channel, $payload);
			}
		}
		my $left = $deadline - time();
		if ($left <= 0 || !IO::Select->new($self->{socket})->can_read($left)) {
			return if $may_be_quiet;
			die "the broker did not answer in time\n";
		}
		my $n = sysread($self->{socket}, $self->{in}, 262144, length $self->{in});
		die 'the broker closed the connection' . (defined $n ? '' : ": $!") . "\n" if !$n;
	}
}

# Takes one frame and does what does not wait for an answer; for an answer: (id, arguments).
sub take_frame
{
	my ($self, $seconds, $may_be_quiet) = @_;
	my ($type, $channel, $payload) = $self->read_frame($seconds, $may_be_quiet);
	return if !defined $type || $type != 1;
	my ($class, $method, $arguments) = unpack('n n a*', $payload);
	my $id = "$class.$method";
	if ($id eq '60.80' || $id eq '60.120') {
		my ($tag, $flags) = unpack('Q> C', $arguments);
		for my $n ($flags & 1 ? $self->{first} .. $tag : $tag) {
			next if ($self->{outcome}{$n} // '') =~ /^(ack|nack|return)$/;
			$self->{outcome}{$n} = $id eq '60.120' ? 'nack' : delete $self->{returned}{$n} ? 'return' : 'ack';
			$self->{confirmed}++;
		}
	} elsif ($id eq '60.50') {	# basic.return carries no tag: it comes just before the confirm of its message
		my $content = $self->take_content;
		my ($n) = grep { !$self->{outcome}{$_} && !$self->{returned}{$_} } $self->{first} .. $self->{sequence};
		$self->{returned}{$n} = $content if $n;
	} elsif ($id eq '60.60') {
		my ($tag_name, $tag, $redelivered, $exchange, $routing_key) = unpack('C/a Q> C C/a C/a', $arguments);
		push @{ $self->{deliveries} }, { tag => $tag, redelivered => $redelivered, exchange => $exchange,
			routing_key => $routing_key, %{ $self->take_content } };
	} elsif ($id eq '20.40') {
		my ($code, $text) = unpack('n C/a', $arguments);
		$self->send_method(1, 20, 41, '');
		$self->{channel_open} = 0;
		die "channel closed: $code $text\n";
	} elsif ($id eq '10.50') {
		my ($code, $text) = unpack('n C/a', $arguments);
		$self->send_method(0, 10, 51, '');
		$self->close;
		die "connection closed: $code $text\n";
	} else {
		return ($id, $arguments);
	}
	return;
}

sub take_content
{
	my ($self) = @_;
	my (undef, undef, $header) = $self->read_frame($self->{timeout});
	my ($class, $weight, $size, $flags, $values) = unpack('n n Q> n a*', $header);
	my %content = (body => '', headers => {});
	for my $property (@PROPERTIES) {
		my ($name, $bit, $kind) = @$property;
		next if !($flags & 1 << $bit);
		if ($kind eq 's') {
			($content{$name}, $values) = unpack('C/a a*', $values);
		} elsif ($kind eq 'F') {
			(my $bytes, $values) = unpack('N/a a*', $values);
			$content{$name} = decode_table($bytes, $content{header_kinds} = {});
		} else {
			($content{$name}, $values) = unpack(($kind eq 'Q' ? 'Q>' : 'C') . ' a*', $values);
		}
	}
	while (length $content{body} < $size) {
		my (undef, undef, $part) = $self->read_frame($self->{timeout});
		$content{body} .= $part;
	}
	return \%content;
}

sub wait_method
{
	my ($self, @wanted) = @_;
	for (;;) {
		my ($id, $arguments) = $self->take_frame($self->{timeout});
		next if !$id;
		$self->{answer} = $id;
		return $arguments if grep { $_ eq $id } @wanted;
	}
}

sub call
{
	my ($self, $channel, $class, $method, $arguments) = @_;
	$self->open_channel if $channel && !$self->{channel_open} && $class != 20 && $class != 85;
	$self->send_method($channel, $class, $method, $arguments);
	my @answers = $class == 60 && $method == 70 ? ('60.71', '60.72') : ($CALLS{"$class.$method"} // "$class." . ($method + 1));
	return $self->wait_method(@answers);
}

# ---- values

sub short { my ($text) = @_; utf8::encode($text) if utf8::is_utf8($text); return pack('C/a', $text) }
sub long { my ($text) = @_; utf8::encode($text) if utf8::is_utf8($text); return pack('N/a', $text) }
sub table { my ($table) = @_; return pack('N/a', join '', map { short($_) . encode_value($table->{$_}) } sort keys %$table) }

sub encode_value
{
	my ($value) = @_;
	return 'V' if !defined $value;
	return 'S' . long($value) if !ref $value;
	return 'F' . table($value) if ref $value eq 'HASH';
	my ($kind, $v) = @$value;
	my %packing = (t => 'C', b => 'c', B => 'C', s => 's>', U => 's>', u => 'n', I => 'l>', i => 'N', l => 'q>', L => 'q>', f => 'f>', d => 'd>', T => 'Q>');
	return $kind . pack($packing{$kind}, $v) if $packing{$kind};
	return $kind . long($v) if $kind eq 'S' || $kind eq 'x';
	return $kind . pack('C l>', $v->[0], $v->[1]) if $kind eq 'D';
	return 'V' if $kind eq 'V';
	return 'F' . table($v) if $kind eq 'F';
	return 'A' . pack('N/a', join '', map { encode_value($_) } @$v) if $kind eq 'A';
	die "no AMQP type '$kind'\n";
}

sub decode_table
{
	my ($bytes, $kinds) = @_;
	my %table;
	while (length $bytes) {
		(my $name, $bytes) = unpack('C/a a*', $bytes);
		$kinds->{$name} = substr($bytes, 0, 1);
		($table{$name}, $bytes) = decode_value($bytes);
	}
	return \%table;
}

sub decode_value
{
	my ($bytes) = @_;
	my ($kind, $rest) = unpack('a a*', $bytes);
	my %packing = (t => 'C', b => 'c', B => 'C', s => 's>', U => 's>', u => 'n', I => 'l>', i => 'N', l => 'q>', L => 'q>', f => 'f>', d => 'd>', T => 'Q>');
	return unpack("$packing{$kind} a*", $rest) if $packing{$kind};
	return unpack('N/a a*', $rest) if $kind eq 'S' || $kind eq 'x';
	return (undef, $rest) if $kind eq 'V';
	if ($kind eq 'D') {
		my ($scale, $number, $left) = unpack('C l> a*', $rest);
		return ($number / 10**$scale, $left);
	}
	my ($inner, $left) = unpack('N/a a*', $rest);
	our $depth;
	local $depth = ($depth // 0) + 1;
	return ($inner, $left) if $depth > 50;	# hostile: as bytes
	return (decode_table($inner), $left) if $kind eq 'F';
	if ($kind eq 'A') {
		my @values;
		while (length $inner) {
			(my $value, $inner) = decode_value($inner);
			push @values, $value;
		}
		return (\@values, $left);
	}
	die "no AMQP type '$kind'\n";
}

1;
