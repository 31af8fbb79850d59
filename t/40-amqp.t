#!/usr/bin/perl
# The AMQP modules against real brokers, and against one that misbehaves: t/helpers/amqp-probe does what it is told here and tells what
# happens.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use IO::Handle;
use IO::Socket::INET;
use POSIX ();
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Time::HiRes qw(time);

my $serial = 0;
my $library;		# rabbitmq-c's version

# A probe: ->tell(command, ...) and ->wait_log(pattern).
sub probe
{
	my ($uris, @options) = @_;
	my $fifo = tmp_dir() . '/commands-' . ++$serial;
	POSIX::mkfifo($fifo, 0600) or die "could not make $fifo: $!\n";
	my $probe = start_program({ name => "probe-$serial" }, Pawl::Program::build_dir() . '/t/helpers/amqp-probe', @options, $fifo, ref $uris ? @$uris : $uris);
	$library = $probe->wait_log(qr/^started (.*)/);
	open($probe->{commands}, '>', $fifo) or die "could not open $fifo: $!\n";
	$probe->{commands}->autoflush(1);
	return bless $probe, 'Probe';
}

{
	package Probe;
	our @ISA = ('Pawl::Program');
	sub tell { my ($self, @commands) = @_; print { $self->{commands} } "$_\n" for @commands; return }

	sub quit
	{
		my ($self) = @_;
		$self->tell('quit');
		my $status = $self->wait(10);
		local $Test::Builder::Level = $Test::Builder::Level + 1;
		Test::More::is($status, 0, "$self->{name} ends in order");
		return;
	}

	# The lines from the one that matches the first pattern to the one that matches the second.
	sub lines
	{
		my ($self, $first, $last) = @_;
		my @lines = ($self->wait_log(qr/^($first.*)/));
		push @lines, $self->wait_log(qr/^(.*)/) while $lines[-1] !~ /^$last/;
		return @lines;
	}
}

sub probe_connections { my ($of) = @_; return grep { ($_->{client_properties}{connection_name} // '') eq 'amqp-probe' } $of->connections }

my $vhost = new_vhost();
my $uri = $vhost->uri;
my $amqp = $vhost->amqp;

subtest 'consume and settle' => sub {
	my $probe = probe($uri);
	$amqp->declare_queue($_) for qw(work dead);
	$amqp->publish(routing_key => 'work', body => '', message_id => 'empty');
	$amqp->publish(routing_key => 'work', body => "body $_", message_id => "m$_", type => 'T', content_type => 'c', correlation_id => 'k',
		reply_to => 'r', app_id => 'a', user_id => 'guest', expiration => '600000', timestamp => 1700000000) for 1 .. 3;
	$amqp->confirm;
	$probe->tell('consume work 2');
	$probe->wait_log(qr/^consuming generation=1/);
	like($probe->wait_log(qr/^(delivery tag=1 .*)/), qr/ redelivered=0 size=0 exchange= key=work id=empty type= /, 'an empty message');
	is($probe->wait_log(qr/^delivered tag=1 sum=(\d+)/), 0, 'is delivered');
	like($probe->wait_log(qr/^(delivery tag=2 .*)/), qr/ size=6 exchange= key=work id=m1 type=T content_type=c correlation_id=k reply_to=r app_id=a user_id=guest expiration=600000 timestamp=1700000000 /,
		'all properties arrive');
	is($probe->wait_log(qr/^delivered tag=2 sum=(\d+)/), unpack('%32C*', 'body 1'), 'and the body');
	$probe->tell('old-ack');
	is_deeply([ $amqp->count('work') ], [ 2, 1 ], 'the prefetch holds the others back, and an ack of an older generation does nothing');
	wait_for { probe_connections($vhost) } 'the console shows its name';
	my ($connection) = probe_connections($vhost);
	is("$connection->{client_properties}{product} $connection->{client_properties}{version}", 'Pawl test', 'and the product');
	is($connection->{frame_max}, 131072, 'frame_max');
	is($connection->{timeout}, 15, 'heartbeat');

	$probe->tell('ack 1');
	$probe->wait_log(qr/^delivered tag=3/);
	$probe->tell('give-back 2', 'ack 3');
	like($probe->wait_log(qr/^(delivery .*id=m1.*)/), qr/redelivered=1/, 'what is given back comes again');
	$probe->tell('cancel');
	$probe->wait_log(qr/^cancelled/);
	$vhost->publish(routing_key => 'work', body => 'later', message_id => 'later');
	$probe->tell('ack-all 5');
	is(scalar($amqp->count('work')), 1, 'after a cancel no more comes');
	$probe->tell('resume');
	$probe->wait_log(qr/^consuming generation=1/);
	$probe->wait_log(qr/^delivery tag=6 .* id=later/);
	my $consumer;
	wait_for { ($consumer) = @{ $vhost->api('GET', 'consumers') } } 'the broker shows the consumer';
	is($consumer->{consumer_tag}, 'probe-1.1', 'under a tag of its own');
	$probe->tell('close 5000');
	$probe->wait_log(qr/^closed/);
	is($vhost->count('work'), 1, 'an orderly end gives the rest back, and only that');
	$vhost->drain('work');
	$probe->quit;
};

subtest 'cancel at any time' => sub {
	my $probe = probe($uri);
	$probe->tell('consume work 10', 'cancel');
	$probe->wait_log(qr/^cancelled/);
	$probe->tell('resume');
	$probe->wait_log(qr/^consuming generation=1/);
	$probe->tell('cancel', 'resume', 'cancel');
	$probe->wait_log(qr/^cancelled/);
	$probe->tell('resume');
	$probe->wait_log(qr/^consuming generation=1/);
	$probe->tell('cancel');
	$probe->wait_log(qr/^cancelled/);
	$probe->tell('recycle');
	$probe->wait_log(qr/^lost .*the test says so/);
	wait_for { !@{ $vhost->api('GET', 'consumers') } } 'cancelled stays cancelled over a loss';
	$probe->tell('resume');
	$probe->wait_log(qr/^consuming generation=2/);
	$probe->tell('cancel', 'recycle');
	# The broker's answer may still have been quicker.
	my %said = map { $probe->wait_log(qr/^(lost|cancelled)/) => 1 } 1 .. 2;
	is(scalar(keys %said), 2, 'a loss answers a cancel');
	$probe->quit;
};

subtest 'a queue that goes away' => sub {
	my $probe = probe($uri);
	$probe->tell('declare-exchange gone-x topic', 'declare-queue gone', 'bind gone gone-x a.#', 'consume gone 10');
	$probe->wait_log(qr/^consuming generation=1/);
	is($vhost->publish(exchange => 'gone-x', routing_key => 'a.b', body => 'x', mandatory => 1), 'ack', 'its binding works');
	$probe->wait_log(qr/^delivered tag=1/);
	$amqp->delete_queue('gone');
	like($probe->wait_log(qr/^(lost .*)/), qr/connection=1 configuration=0 .*the broker cancelled the consumer of queue "gone"/,
		'a deleted queue is noticed');
	$probe->wait_log(qr/^consuming generation=2/);
	pass('it is declared and consumed again');
	$vhost->publish(exchange => 'gone-x', routing_key => 'a.b', body => 'x');
	$probe->wait_log(qr/^delivered tag=1/);
	wait_for { probe_connections($vhost) } 'its connection is known';
	my ($connection) = probe_connections($vhost);
	$vhost->close_connection($connection);
	like($probe->wait_log(qr/^(lost .*)/), qr/code=320 connection=1 configuration=0 .*CONNECTION_FORCED/, 'a connection closed by an operator is told as such');
	$probe->wait_log(qr/^consuming generation=3/);
	like($probe->wait_log(qr/^(delivery .*)/), qr/generation=3 redelivered=1/, 'what was not acked comes again');
	$probe->tell('ack 77');
	like($probe->wait_log(qr/^(lost .*)/), qr/code=406 connection=0 configuration=0 .*unknown delivery tag 77/, 'a closed channel is told as such');
	$probe->wait_log(qr/^consuming generation=4/);
	$probe->tell('free-at-delivery');
	$vhost->publish(exchange => 'gone-x', routing_key => 'a.b', body => 'x' x 300_000);
	$probe->wait_log(qr/^freed/);
	wait_for { $vhost->count('gone') == 2 } 'a consumer can be freed in the middle of a delivery';
	$amqp->delete_queue('gone');
	$amqp->delete_exchange('gone-x');
	$probe->quit;
};

subtest 'what cannot be declared' => sub {
	my @cases = (
		[ 'missing', qr/code=404 connection=0 configuration=1 could not consume from queue "missing" at [\d.]+:\d+: NOT_FOUND/, 'consume missing 10' ],
		[ 'other', qr/code=406 .*configuration=1 could not declare queue "other" .*PRECONDITION_FAILED.*delete it or declare it alike \(durable, x-queue-type=quorum\)$/, 'declare-queue other', 'consume other 10' ],
		[ 'exchange', qr/code=406 .*configuration=1 could not declare exchange "fan" of type topic/, 'declare-exchange fan topic', 'consume work 10' ],
		[ 'kind', qr/code=(503|406) .*configuration=1 could not declare exchange "odd" of type odd/, 'declare-exchange odd odd', 'consume work 10' ],
		[ 'bind', qr/code=404 .*configuration=1 could not bind queue "work" to exchange "nox" with key "k"/, 'bind work nox k', 'consume work 10' ],
	);
	$amqp->declare_queue('other', arguments => { 'x-queue-type' => 'classic' });
	$amqp->declare_exchange('fan', 'fanout');
	for my $case (@cases) {
		my ($name, $error, @commands) = @$case;
		my $probe = probe($uri);
		$probe->tell(@commands);
		like($probe->wait_log(qr/^(lost .*)/), $error, "$name: the error says what is wrong");
		$probe->quit;
	}
};

subtest 'publish' => sub {
	my $probe = probe($uri);
	$probe->tell('publisher', 'channel 0', 'channel 1');
	$probe->wait_log(qr/^connected/);
	$probe->wait_log(qr/^ready channel=[01]/) for 1 .. 2;	# in any order
	$probe->tell('publish 0 - work p1 5 20');
	$probe->wait_log(qr/^confirmed channel=0 id=p1/);
	my $message = $vhost->get('work');
	is_deeply([ @$message{qw(body message_id type content_type content_encoding correlation_id reply_to app_id timestamp priority delivery_mode)} ],
		[ 'bbbbb', 'p1', 'Probed', 'text/plain', 'none', 'c1', 'r1', 'probe', 1700000000, 3, 2 ], 'a message arrives with its properties');
	delete $message->{headers}{'x-delivery-count'};		# the broker's
	is_deeply($message->{headers}, { text => 'h' x 20, int => '-9223372036854775808', bool => 1, double => 0.1, void => undef }, 'and its headers');

	$probe->tell('load 0 - work 10000 512 1000');
	like($probe->wait_log(qr/^(loaded .*)/), qr/confirmed=10000 returned=0 nacked=0/, '10,000 are confirmed');
	is($vhost->count('work'), 10000, 'and are there');
	$amqp->purge('work');
	$probe->tell('load 0 - nowhere 1000 100');
	like($probe->wait_log(qr/^(loaded .*)/), qr/confirmed=0 returned=1000 nacked=0/, 'what has no queue is returned, each one');
	$probe->tell('publish 0 - nowhere n1 200000', 'publish 0 - work n2 5', 'publish 0 - nowhere n1 200000', 'publish 0 - nowhere n1 0');
	my @outcomes = sort map { $probe->wait_log(qr/^((?:confirmed|returned) .*)/) } 1 .. 4;
	is_deeply(\@outcomes, [ 'confirmed channel=0 id=n2 code=0 ', ('returned channel=0 id=n1 code=312 NO_ROUTE') x 3 ], 'only those, large or empty');

	$probe->tell('publish 1 - work before 5');
	$probe->wait_log(qr/^confirmed channel=1 id=before/);
	$probe->tell('publish 0 nox k lost1 5', 'publish 1 - work through 5');
	my @lines = sort map { $probe->wait_log(qr/^((?:down|confirmed|ready) .*)/) } 1 .. 3;
	like($lines[0], qr/^confirmed channel=1 id=through/, 'a missing exchange leaves the other channel alone');
	like($lines[1], qr/^down channel=0 code=404 connection=0 configuration=1 channel closed by the broker at \S+: NOT_FOUND - no exchange 'nox'/, 'and closes its own');
	is($lines[2], 'ready channel=0', 'which opens again');
	$probe->tell('unconfirmed 0', 'publish 0 - work after 5');
	is($probe->wait_log(qr/^unconfirmed (\d+)/), 0, 'nothing is left unconfirmed on it');
	$probe->wait_log(qr/^confirmed channel=0 id=after/);
	$probe->tell('free-channel 0', 'channel 2', 'publish 1 - work neighbour 5');
	my %seen = map { $probe->wait_log(qr/^(ready channel=2|confirmed channel=1)/) => 1 } 1 .. 2;
	is(scalar(keys %seen), 2, 'channels come and go');
	$probe->tell('channel 3');
	$probe->wait_log(qr/^ready channel=3/);
	$amqp->purge('work');

	# The last body frame is full: rabbitmq-c would leave it in the socket's buffer for 200 ms.
	$probe->tell('load 1 - work 20 131064 1');
	my $ms = $probe->wait_log(qr/^loaded .* ms=(\d+)/);
	cmp_ok($ms, '<', 20 * 150 * ($ENV{PAWL_TEST_SLOW} || 1), 'bodies of exactly one frame are not held back');
	$amqp->purge('work');

	for my $what (qw(exchange key message_id type app_id header-name)) {
		$probe->tell("bad 1 $what 256");
		like($probe->wait_log(qr/^(bad .*)/), qr/256 bytes is too long/, "a too long $what is refused");
	}
	$probe->tell('bad 1 expiration 3', 'bad 1 priority 256', 'bad 1 timestamp 0', 'bad 1 body 134217729', 'publish 1 - work big 10 131072');
	my @bad = map { $probe->wait_log(qr/^(bad .*)/) } 1 .. 5;
	like($bad[0], qr/expiration is not a number/, 'so is an expiration that is no number,');
	like($bad[1], qr/priority 256 is too high/, 'a priority,');
	like($bad[2], qr/before 1970/, 'a time,');
	like($bad[3], qr/body of 134217729 bytes is too large/, 'a body,');
	like($bad[4], qr/are too large for one frame/, 'and headers that do not fit into a frame');
	$probe->tell('publish 1 - work fits 10 130000');
	$probe->wait_log(qr/^confirmed channel=1 id=fits/);
	pass('the channel has not noticed');
	is(length($vhost->get('work')->{headers}{text}), 130000, 'headers that nearly fill a frame arrive');
	$probe->tell('free-publisher', 'free-channel 1');
	$probe->quit;
};

# An encoded table without its length: one entry "deep" with so many levels of KIND in it.
sub nested
{
	my ($kind, $depth) = @_;
	my $head = $kind eq 'F' ? 6 : 5;	# a table's entry has a name, an empty one
	my $size = $depth * $head - ($kind eq 'F' ? 6 : 5);
	my $bytes = pack('C/a a N', 'deep', $kind, $size);
	for (my $left = $size - $head; $left >= 0; $left -= $head) {
		$bytes .= $kind eq 'F' ? pack('C a N', 0, 'F', $left) : pack('a N', 'A', $left);
	}
	return $bytes;
}

# rabbitmq-c 0.14 and later refuse what is nested deeper than 100.
sub decodes_all_depths { my ($major, $minor) = $library =~ /^(\d+)\.(\d+)/; return $major == 0 && $minor < 14 }

subtest 'headers of any kind' => sub {
	my $probe = probe($uri);
	$probe->tell('publisher', 'channel 0', 'consume work 100');
	$probe->wait_log(qr/^ready/);
	my %headers = (
		bool => [ t => 1 ], i8 => [ b => -128 ], u8 => [ B => 255 ], i16 => [ s => -32768 ], u16 => [ u => 65535 ], i32 => [ I => -2147483648 ],
		u32 => [ i => 4294967295 ], i64 => [ l => '-9223372036854775808' ], float => [ f => 0.5 ], double => [ d => 0.1 ],
		decimal => [ D => [ 2, 1234 ] ], text => "\xc3\xa4 b", bytes => [ x => "\0\xff" ], time => [ T => 1700000000 ],
		array => [ A => [ 'a', [ I => 1 ], [ A => [] ], undef ] ], table => { k => { n => [ t => 0 ] } }, void => undef,
	);
	$vhost->publish(routing_key => 'work', message_id => 'kinds', headers => \%headers);
	my ($delivery, @lines) = $probe->lines(qr/delivery tag=1/, qr/delivered/);
	pop @lines;
	is_deeply([ sort grep { !/x-delivery-count/ } @lines ], [
		'header array=["a",1,[],null]', 'header bool=true', 'header bytes=\x00\xff', 'header decimal=12.34', 'header double=0.1', 'header float=0.5',
		'header i16=-32768', 'header i32=-2147483648', 'header i64=-9223372036854775808', 'header i8=-128', 'header table={"k":{"n":false}}',
		"header text=\xc3\xa4\\x20b", 'header time=1700000000', 'header u16=65535', 'header u32=4294967295', 'header u8=255',
	], 'each kind has its text');
	$probe->tell('copy 0 1 dead 1');
	$probe->wait_log(qr/^confirmed channel=0 id=copy/);
	my $copy = $vhost->get('dead');
	my %wanted = (bool => 1, i8 => -128, u8 => 255, i16 => -32768, u16 => 65535, i32 => -2147483648, u32 => 4294967295, i64 => '-9223372036854775808',
		float => 0.5, double => 0.1, decimal => 12.34, text => "\xc3\xa4 b", bytes => "\0\xff", time => 1700000000, array => [ 'a', 1, [], undef ],
		table => { k => { n => 0 } }, void => undef, 'x-pawl-reason' => 'because', 'x-pawl-text' => '', 'x-pawl-attempt' => 3);
	delete $copy->{headers}{'x-delivery-count'};
	is_deeply($copy->{headers}, \%wanted, 'a copy keeps them all');
	is($copy->{message_id}, 'kinds', 'and its id');

	$vhost->publish(routing_key => 'work', message_id => 'long', body => 'b' x 200_000, expiration => '600000', user_id => 'guest',
		headers => { large => 'x' x 65536, CC => [ A => [ 'dead' ] ], 'x-death' => [ A => [] ], 'x-pawl-attempt' => 'forged' });
	$vhost->get('dead');		# by CC
	@lines = $probe->lines(qr/delivery tag=2/, qr/delivered/);
	ok((grep { $_ eq 'header large=(65536 bytes)' } @lines), 'a text of 64 KiB comes through');
	$probe->tell('copy 0 2 dead 1 40000');
	$probe->wait_log(qr/^confirmed channel=0 id=copy/);
	$copy = $vhost->get('dead');
	is($copy->{body}, 'b' x 200_000, 'a copy keeps a body of several frames');
	ok(!defined $copy->{expiration} && !defined $copy->{user_id}, 'it does not expire, nor name a user');
	delete $copy->{headers}{'x-delivery-count'};
	my $text = delete $copy->{headers}{'x-pawl-text'};
	my $cut = length $text;
	ok($cut > 60000 && $cut < 80000 && utf8::decode($text), 'a text that does not fit is cut between two characters') or diag("$cut bytes");
	is_deeply({ %{ $copy->{headers} }, large => length $copy->{headers}{large} }, { large => 65536, 'x-pawl-orig-CC' => [ 'dead' ],
		'x-pawl-orig-expiration' => '600000', 'x-pawl-orig-user-id' => 'guest', 'x-pawl-reason' => 'because', 'x-pawl-attempt' => 3 }, 'what would harm is moved or dropped');

	$probe->tell('ack-all 2', 'close 1000');
	$probe->wait_log(qr/^closed/);
	is($vhost->count('work'), 0, 'all is settled');

	# Seconds of the broker's time for each; the deepest come from a broker of ours, below.
	$amqp->declare_queue('hostile', arguments => { 'x-queue-type' => 'quorum', 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => 'dead' });
	is($vhost->publish(routing_key => 'hostile', message_id => 'deep', raw_headers => nested('F', 20000)), 'ack', '20,000 nested tables are published');
	$vhost->publish(routing_key => 'hostile', message_id => 'behind');
	$probe->tell('dead-letters', 'consume hostile 1');
	if (decodes_all_depths()) {
		my ($deep) = map { /^header deep=(.*)/ } $probe->lines(qr/delivery tag=1 .* id=deep/, qr/delivered/);
		is($deep, '{"":' x 16 . 'null' . '}' x 16, 'and told to a depth of 16');
		$probe->tell('copy 0 1 dead 1 100');
		$probe->wait_log(qr/^confirmed channel=0 id=copy/);
		pass('and copied');
		$probe->tell('ack 1');
	} else {
		unlike($probe->wait_log(qr/^lost (.*)/), qr/rejected/, 'the first time it costs the connection');
		like($probe->wait_log(qr/^lost (.*)/), qr/rejected .*exchange "" with routing key "hostile" has headers that cannot be decoded/,
			'the second time it is rejected');
	}
	$probe->wait_log(qr/^delivery .* id=behind/);
	wait_for { $vhost->count('dead') == 1 } 'it is where dead letters are, and what was behind it is delivered';
	$amqp->purge('dead');
	$probe->quit;
};

subtest 'back-pressure' => sub {
	my $probe = probe($uri, '-b', 2);
	my $total = 3000;
	$amqp->publish(routing_key => 'work', body => "m$_") for 1 .. $total;
	$amqp->confirm;
	$probe->tell('quiet 1', 'auto-ack 50', 'consume work 500', 'pause 1');
	$probe->wait_log(qr/^consuming/);
	my $until = time() + 7;		# three and a half heartbeats: the broker would have closed a silent connection
	wait_for { time() > $until } 'time goes by';
	$probe->tell('count');
	is($probe->wait_log(qr/^count (\d+)/), 0, 'while paused, nothing is read');
	$probe->tell('pause 0');
	wait_for { $probe->tell('count'); $probe->wait_log(qr/^count (\d+)/) == $total } 'then all of it';
	unlike($probe->log, qr/^lost/m, 'the connection lived on');
	$probe->tell('close 5000');
	$probe->wait_log(qr/^closed/);
	is($vhost->count('work'), 0, 'and all is acked');
	$probe->quit;
};

# A broker of its own, with TLS, that is stopped, starved and frozen.
my $dir = tmp_dir();
sub openssl { system("openssl @_ >>$dir/openssl.log 2>&1") == 0 or die "openssl @_ failed:\n" . read_file("$dir/openssl.log") }
openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$_ -keyout $dir/$_.key -out $dir/$_.pem") for qw(ca other-ca);
for my $name (qw(localhost elsewhere)) {
	openssl("req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $dir/$name.key -out $dir/$name.csr");
	write_file("$name.ext", "subjectAltName = DNS:$name\n");
	openssl("x509 -req -days 2 -CA $dir/ca.pem -CAkey $dir/ca.key -CAcreateserial -extfile $dir/$name.ext -in $dir/$name.csr -out $dir/$name.pem");
	chmod(0644, "$dir/$name.key");
}
my $tls_port = Pawl::Postgres::free_port();
my $broker = own_rabbit(config => { 'listeners.ssl.1' => "127.0.0.1:$tls_port", 'ssl_options.certfile' => "$dir/localhost.pem",
	'ssl_options.keyfile' => "$dir/localhost.key", 'ssl_options.cacertfile' => "$dir/ca.pem" });
my $own = $broker->create_vhost('own');
my $own_uri = $own->uri;

subtest 'TLS' => sub {
	my $tls_uri = "amqps://guest:guest\@localhost:$tls_port/own";
	my $probe = probe($tls_uri, '-c', "$dir/ca.pem");
	$probe->tell('declare-queue t', 'consume t 100');
	$probe->wait_log(qr/^consuming/);		# before that there may be no queue, and nobody misses what goes nowhere
	$probe->tell('publisher', 'channel 0');
	$probe->wait_log(qr/^ready channel=0/);
	$probe->tell('quiet 1', 'auto-ack 10', 'load 0 - t 2000 20000 100');
	like($probe->wait_log(qr/^(loaded .*)/), qr/confirmed=2000/, 'messages go over TLS');
	wait_for { $probe->tell('count'); $probe->wait_log(qr/^count (\d+)/) == 2000 } 'and come back';
	wait_for { grep { $_->{ssl} } probe_connections($own) } 'the broker says that it is TLS';
	my ($connection) = probe_connections($own);
	like($connection->{ssl_protocol}, qr/^tlsv1\.[23]$/, "at least 1.2: $connection->{ssl_protocol}");
	$probe->tell('close 2000');
	$probe->wait_log(qr/^closed/);
	$probe->quit;
	for my $case ([ 'an unknown CA', $tls_uri, qr/configuration=1 .*certificate is not trusted: check ca_file/, '-c', "$dir/other-ca.pem" ],
	    [ "the system's CAs", $tls_uri, qr/configuration=1 .*certificate is not trusted: check ca_file/ ],
	    [ 'another name', "amqps://guest:guest\@127.0.0.1:$tls_port/own", qr/configuration=1 .*not for this host name/, '-c', "$dir/ca.pem" ],
	    [ 'no CA file', $tls_uri, qr/configuration=1 .*ca_file cannot be used/, '-c', "$dir/none.pem" ],
	    [ 'a port without TLS', "amqps://guest:guest\@localhost:$broker->{port}/own", qr/TLS handshake failed/, '-c', "$dir/ca.pem" ],
	    [ 'a closed port', 'amqps://guest:guest@localhost:1/own', qr/localhost:1: Connection refused/, '-c', "$dir/ca.pem" ]) {
		my ($name, $case_uri, $error, @options) = @$case;
		$probe = probe($case_uri, @options);
		$probe->tell('publisher');
		like($probe->wait_log(qr/^(publisher-lost .*)/), $error, "$name: refused");
		$probe->quit;
	}
};

subtest 'brokers that cannot be reached' => sub {
	my $address = "127.0.0.1:$broker->{port}";
	for my $case ([ 'a wrong password', "amqp://guest:wrong\@$address/own", qr/code=403 connection=1 configuration=1 could not log in at \Q$address\E: access refused for user "guest": check/ ],
	    [ 'an unknown user', "amqp://nobody\@$address/own", qr/code=403 .*access refused for user "nobody"/ ],
	    [ 'an unknown vhost', "amqp://guest:guest\@$address/none", qr/code=530 connection=1 configuration=1 could not open vhost "none" at \Q$address\E as user "guest"/ ],
	    [ 'a closed port', 'amqp://guest:guest@127.0.0.1:1', qr/code=0 connection=1 configuration=0 could not connect to 127.0.0.1:1: Connection refused/ ],
	    [ 'an unknown name', 'amqp://guest:guest@no-such-host.invalid', qr/could not connect to no-such-host.invalid:5672: / ],
	    [ 'TLS without being asked', "amqp://guest:guest\@127.0.0.1:$tls_port/own", qr/could not log in/ ]) {
		my ($name, $case_uri, $error) = @$case;
		my $probe = probe($case_uri);
		$probe->tell('publisher');
		my $line = $probe->wait_log(qr/^(publisher-lost .*)/);
		like($line, $error, "$name: the error says so");
		unlike($line, qr/wrong:|:wrong/, "$name: without the password");
		$probe->quit;
	}
	my $probe = probe([ 'amqp://guest:guest@127.0.0.1:1', $own_uri, 'amqp://guest:guest@127.0.0.1:2' ]);
	$probe->tell('declare-queue t', 'consume t 10');
	$probe->wait_log(qr/^consuming generation=1/);
	pass('of several hosts one is enough');
	$probe->quit;

	# Whoever goes away while the thread dials does not wait for it.
	my $silent = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "could not listen: $!\n";
	$probe = probe('amqp://guest:guest@127.0.0.1:' . $silent->sockport);
	$probe->tell('publisher');
	my $client = $silent->accept;
	is(sysread($client, my $bytes, 8), 8, 'a broker that does not answer');
	my $begun = time();
	$probe->tell('free-publisher', 'publisher', 'consume t 1');
	$silent->accept for 1 .. 2;
	$probe->quit;
	cmp_ok(time() - $begun, '<', 5 * ($ENV{PAWL_TEST_SLOW} || 1), 'can be left at once');
};

# Without the queue there is no answer to the last consume: the connection is closed in order all the same.
subtest 'an orderly end while the queue goes away' => sub {
	my $amqp = $own->amqp;
	my $closings = sub { return map { grep { /closing AMQP connection .*amqp-probe/ } split(/\n/, read_file($_)) } glob("$broker->{dir}/logs/*.log") };
	for my $deleted (0, 1) {
		my $probe = probe($own_uri);
		my $before = () = $closings->();
		$amqp->declare_queue('going');
		$probe->tell('consume going 10');
		$probe->wait_log(qr/^consuming/);
		$probe->tell('cancel');
		$probe->wait_log(qr/^cancelled/);
		$amqp->delete_queue('going') if $deleted;
		$probe->tell('close 10000');
		$probe->wait_log(qr/^closed/);
		wait_for { my @now = $closings->(); return @now > $before } 'the broker logs that a connection is closed';
		like(($closings->())[-1], qr/ \[info\] /, 'and does not warn that it was not closed in order');
		$probe->quit;
	}
};

# A channel keeps back what comes after 32 commands that are not on disk yet, and forgets it when it is closed.
subtest 'an orderly end while the disk is slow' => sub {
	my $probe = probe($own_uri);
	my $amqp = $own->amqp;
	$amqp->declare_queue('slow');
	$amqp->publish(routing_key => 'slow', body => $_) for 1 .. 100;
	$amqp->confirm;
	$probe->tell('consume slow 90');
	$probe->wait_log(qr/^delivered tag=90 /);
	$probe->tell('cancel');
	$probe->wait_log(qr/^cancelled/);
	$broker->ctl('eval', '[begin sys:suspend(N), timer:apply_after(2000, sys, resume, [N]) end || N <- registered(), string:find(atom_to_list(N), "log_wal") =/= nomatch].');
	$probe->tell((map { "ack $_" } 1 .. 88), 'close 20000');
	$probe->wait_log(qr/^closed/);
	wait_for { $own->count('slow') >= 12 } 'what was not acked is given back';
	is($own->count('slow'), 12, 'and only that');
	$probe->quit;
};

subtest 'alarm' => sub {
	my $probe = probe($own_uri, '-b', 2);
	$own->amqp->declare_queue('t');
	$own->amqp->purge('t');
	$probe->tell('publisher', 'channel 0', 'consume t 10');
	$probe->wait_log(qr/^ready channel=0/);
	$broker->ctl(qw(set_vm_memory_high_watermark absolute 1MiB));
	wait_for { $broker->api('GET', '/api/nodes')->[0]{mem_alarm} } 'the broker has an alarm';
	$probe->tell('publish 0 - t b1 5');
	like($probe->wait_log(qr/^(blocked.*)/), qr/low on memory/, 'the publisher is told');
	$probe->tell('publish 0 - t b2 5');
	$probe->wait_log(qr/^not-ready channel=0 id=b2/);
	pass('it publishes nothing meanwhile');
	$probe->tell('unconfirmed 0');
	is($probe->wait_log(qr/^unconfirmed (\d+)/), 1, 'and keeps what is out');
	my $until = time() + 7;
	wait_for { time() > $until } 'time goes by';
	$broker->ctl(qw(set_vm_memory_high_watermark absolute 1GB));
	my %seen = map { $probe->wait_log(qr/^(unblocked|ready channel=0|confirmed channel=0 id=b1|delivered tag=1)/) => 1 } 1 .. 4;
	is(scalar(keys %seen), 4, 'then it goes on, on the same connection');
	$probe->tell('ack 1');
	unlike($probe->log, qr/lost/, 'nothing was lost');
	$probe->quit;
};

subtest 'a large message into an alarm' => sub {
	my $probe = probe($own_uri, '-b', 2);
	my $size = 16 * 1024 * 1024;
	$own->amqp->purge('t');
	$probe->tell('publisher', 'channel 0', 'channel 1', 'channel 2', 'consume t 10');
	$probe->wait_log(qr/^ready channel=[012]/) for 1 .. 3;
	$broker->ctl(qw(set_vm_memory_high_watermark absolute 1MiB));
	wait_for { $broker->api('GET', '/api/nodes')->[0]{mem_alarm} } 'the broker has an alarm';
	$probe->tell("publish 0 - t large $size");
	$probe->wait_log(qr/^blocked/);
	$probe->tell('publish 1 - t small 5');
	$probe->wait_log(qr/^not-ready channel=1 id=small/);
	pass('others wait until it is out');
	my $until = time() + 7;		# more than the 4 s after which unread bytes would end the connection
	wait_for { time() > $until } 'time goes by';
	$probe->tell('free-channel 0', 'gap');
	cmp_ok($probe->wait_log(qr/^gap ms=(\d+)/), '<', 2000 * ($ENV{PAWL_TEST_SLOW} || 1), 'the loop is not held up');
	my $cpu = sub { my @stat = split / /, read_file("/proc/$probe->{pid}/stat"); return ($stat[13] + $stat[14]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()) };
	cmp_ok($cpu->(), '<', 3, 'and does not turn in vain');
	$broker->ctl(qw(set_vm_memory_high_watermark absolute 1GB));
	is($probe->wait_log(qr/^delivery tag=1 .* size=(\d+) .* id=large/), $size, 'then the message arrives, though its channel is freed');
	is($probe->wait_log(qr/^delivered tag=1 sum=(\d+)/), ord('b') * $size, 'whole');
	$probe->tell('publish 1 - t small2 5', "publish 2 - t large2 $size", 'ack 1');
	my %seen = map { $probe->wait_log(qr/^(confirmed channel=1 id=small2|(?:confirmed|not-ready) channel=2 id=large2)/) => 1 } 1 .. 2;
	ok($seen{'confirmed channel=1 id=small2'} && $seen{'confirmed channel=2 id=large2'}, 'the others go on, large ones are confirmed') or diag(join "\n", keys %seen);
	unlike($probe->log, qr/lost/, 'nothing was lost');
	$probe->quit;
};

subtest 'stop and start' => sub {
	my $probe = probe($own_uri, '-b', 2);
	$probe->tell('declare-queue t', 'consume t 10', 'publisher', 'channel 0');
	my %up = map { $probe->wait_log(qr/^(consuming|ready)/) => 1 } 1 .. 2;
	is(scalar(keys %up), 2, 'both connections are up');
	$broker->stop;
	my %lost = map { $probe->wait_log(qr/^(lost|publisher-lost|down channel=0)/) => 1 } 1 .. 3;
	is_deeply([ sort keys %lost ], [ 'down channel=0', 'lost', 'publisher-lost' ], 'both notice that the broker is gone') or diag(join "\n", keys %lost);
	$probe->tell('publish 0 - t n 5');
	$probe->wait_log(qr/^not-ready channel=0 id=n/);
	$broker->up;
	%up = ();
	wait_for { $up{ $probe->wait_log(qr/^(consuming|ready)/, 60) } = 1; keys %up == 2 } 'and come back';
	$probe->tell('publish 0 - t again 5');
	$probe->wait_log(qr/^delivered/);
	pass('messages flow again');

	# Frozen: TCP lives, AMQP does not.
	$broker->{process}->signal('STOP');
	my $begun = time();
	$probe->tell('load 0 - t 100000 1000', 'count');
	$probe->wait_log(qr/^count/);
	cmp_ok(time() - $begun, '<', 2, 'a frozen broker does not stop the loop');
	%lost = ();
	wait_for { $lost{ $probe->wait_log(qr/^(lost|publisher-lost)/, 60) } = 1; keys %lost == 2 } 'it is noticed on both connections';
	my $took = time() - $begun;
	cmp_ok($took, '<', 15 * ($ENV{PAWL_TEST_SLOW} || 1), sprintf('by the heartbeat: %.1f s', $took));
	$probe->tell('free-publisher', 'free-channel 0');
	$probe->quit;
	$broker->{process}->signal('CONT');
};

# A broker of ours, for so many connections, one after the other. 'misbehave' gets the name of each method that comes, its frame, and the
# number of the connection; what it returns is sent after the answer, or, if it is code, called with the connection.
sub fake_broker
{
	my ($misbehave, $connections) = @_;
	my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "could not listen: $!\n";
	setsockopt($listener, SOL_SOCKET, SO_RCVBUF, 4096);
	my $pid = fork() // die "could not fork: $!\n";
	return ($listener->sockport, $pid) if $pid;
	for my $number (1 .. $connections // 1) {
		my $socket = $listener->accept;
		serve($socket, sub { return $misbehave->(@_, $number) });
	}
	POSIX::_exit(0);
}

sub serve
{
	my ($socket, $misbehave) = @_;
	my $peer = bless { socket => $socket, in => '', timeout => 20 }, 'Pawl::Amqp';
	eval {
		sysread($socket, my $greeting, 8);
		$peer->send_method(0, 10, 10, "\0\x09" . Pawl::Amqp::table({ product => 'fake' }) . Pawl::Amqp::long('PLAIN') . Pawl::Amqp::long('en_US'));
		for (;;) {
			my ($type, $channel, $payload) = $peer->read_frame(20);
			next if $type != 1;
			my ($class, $method) = unpack('n n', $payload);
			my %answer = ('10.11' => [ 10, 30, pack('n N n', 10, 131072, 60) ], '10.40' => [ 10, 41, "\0" ], '20.10' => [ 20, 11, pack('N', 0) ],
				'85.10' => [ 85, 11, '' ], '60.10' => [ 60, 11, '' ], '60.20' => [ 60, 21, Pawl::Amqp::short('tag') ],
				'10.50' => [ 10, 51, '' ]);
			my $bytes = $misbehave->("$class.$method", $payload);
			my $answer = $answer{"$class.$method"};
			$peer->send_method($channel, @$answer) if $answer;
			ref $bytes ? $bytes->($peer) : $peer->send_bytes($bytes) if defined $bytes;
		}
	};
	return;
}

subtest 'a broker that does not read' => sub {
	my $total = 150_000;
	my $wait_for_word = sub { my ($from) = @_; sysread($from, my $word, 1) };
	pipe(my $told, my $tell) or die "could not make a pipe: $!\n";
	my $result = tmp_dir() . '/acks';
	my ($port, $pid) = fake_broker(sub {
		return if $_[0] ne '60.20';
		return sub {
			my ($peer) = @_;
			my $tail = Pawl::Amqp::short('') . Pawl::Amqp::short('k');
			my $header = Pawl::Amqp::frame(2, 1, pack('n n Q> n', 60, 0, 0, 0));
			$peer->send_bytes(join('', map { Pawl::Amqp::frame(1, 1, pack('n n', 60, 60) . "\3tag" . pack('Q> C', $_, 0) . $tail) . $header } 1 .. $total));
			$wait_for_word->($told);
			my $next = 1;
			while ($next <= $total) {
				my ($type, undef, $payload) = $peer->read_frame(20);
				next if $type != 1;
				my ($class, $method, $tag) = unpack('n n Q>', $payload);
				die if "$class.$method" ne '60.80' || $tag != $next++;
			}
			write_file($result, $next - 1);
		};
	});
	my $probe = probe("amqp://guest:guest\@127.0.0.1:$port");
	$probe->tell('quiet 1', 'auto-ack 1', 'consume q 60000');
	wait_for { $probe->tell('count'); $probe->wait_log(qr/^count (\d+)/) == $total } 'acks for which the socket has no room do not stop the loop';
	syswrite($tell, '.');
	wait_for { -s $result } 'they all go out later';
	is(read_file($result), $total, 'in order');
	$probe->quit;
	kill('KILL', $pid);
	waitpid($pid, 0);

	($port, $pid) = fake_broker(sub {
		return if $_[0] ne '85.10';
		return sub {
			my ($peer) = @_;
			$wait_for_word->($told);
			my $published = 0;
			while ($published < 30_000) {
				my ($type) = $peer->read_frame(20);
				$published++ if $type == 3;
			}
			$peer->send_method(1, 60, 80, pack('Q> C', $published, 1));
		};
	});
	$probe = probe("amqp://guest:guest\@127.0.0.1:$port");
	$probe->tell('publisher', 'channel 0');
	$probe->wait_log(qr/^ready/);
	$probe->tell('load 0 - k 30000 1000', 'unconfirmed 0');
	my $unconfirmed = $probe->wait_log(qr/^unconfirmed (\d+)/);
	cmp_ok($unconfirmed, '<', 30_000, "publishing stops when the socket is full: after $unconfirmed");
	syswrite($tell, '.');
	like($probe->wait_log(qr/^(loaded .*)/), qr/confirmed=30000/, 'and goes on when there is room');
	$probe->quit;
	kill('KILL', $pid);
	waitpid($pid, 0);
};

subtest 'a broker that breaks the protocol' => sub {
	my $frame = \&Pawl::Amqp::frame;
	my $deliver = $frame->(1, 1, pack('n n', 60, 60) . Pawl::Amqp::short('tag') . pack('Q> C', 1, 0) . Pawl::Amqp::short('') . Pawl::Amqp::short('k'));
	my $header = sub { my ($size) = @_; return $frame->(2, 1, pack('n n Q> n', 60, 0, $size, 0)) };
	my $returned = $frame->(1, 1, pack('n n n', 60, 50, 312) . Pawl::Amqp::short('NO_ROUTE') . Pawl::Amqp::short('') . Pawl::Amqp::short('other'));
	my %consumer = (
		'a body that is longer than its header says' => $deliver . $header->(5) . $frame->(3, 1, 'x' x 10),
		'a body without a header' => $deliver . $frame->(3, 1, 'x'),
		'a header without a delivery' => $header->(5),
		'a delivery in the middle of another' => $deliver . $header->(5) . $deliver,
		'a body of 2^63 bytes' => $deliver . $header->(2**63),
		'a header of another class' => $deliver . $frame->(2, 1, pack('n n Q> n', 90, 0, 5, 0)),
		'a header cut short' => $deliver . $frame->(2, 1, pack('n n Q> n C', 60, 0, 5, 1 << 15, 200)),
		'a frame of another channel' => $frame->(1, 7, pack('n n', 60, 60)),
		'an answer to nothing' => $frame->(1, 1, pack('n n', 50, 11) . Pawl::Amqp::short('q') . pack('N N', 0, 0)),
		'an unknown method' => $frame->(1, 1, pack('n n', 60, 999)),
		'an unknown class' => $frame->(1, 1, pack('n n', 77, 1)),
		'a frame without its end' => substr($frame->(1, 1, pack('n n', 60, 60) . 'x' x 30), 0, -1) . 'x',
		'a frame that is too large' => pack('C n N', 3, 1, 200_000) . 'x' x 1000,
		'a frame of almost 2 GiB' => pack('C n N', 3, 1, 2**31 - 2),
		'another protocol' => "HTTP/1.1 400 Bad Request\r\n\r\n",
		'a body on channel 0' => $frame->(3, 0, 'x'),
		'a method on channel 0' => $frame->(1, 0, pack('n n', 60, 60) . Pawl::Amqp::short('t') . pack('Q> C', 1, 0) . "\0\0"),
	);
	for my $name (sort keys %consumer) {
		my ($port, $pid) = fake_broker(sub { return $_[0] eq '60.20' ? $consumer{$name} : undef });
		my $probe = probe("amqp://guest:guest\@127.0.0.1:$port");
		$probe->tell('consume q 10');
		$probe->wait_log(qr/^consuming/);
		like($probe->wait_log(qr/^(lost .*)/), qr/connection=1/, "$name: given up");
		$probe->quit;
		kill('KILL', $pid);
		waitpid($pid, 0);
	}
	for my $case ([ F => 21800 ], [ A => 26000 ]) {
		my ($kind, $depth) = @$case;
		my $bytes = $deliver . $frame->(2, 1, pack('n n Q> n N/a', 60, 0, 0, 1 << 13, nested($kind, $depth)));
		my ($port, $pid) = fake_broker(sub { return $_[0] eq '60.20' ? $bytes : undef });
		my $probe = probe("amqp://guest:guest\@127.0.0.1:$port");
		$probe->tell('consume q 10');
		my ($deep) = decodes_all_depths() ? map { /^header deep=(.*)/ } $probe->lines(qr/delivery tag=1/, qr/delivered/) : $probe->wait_log(qr/^(lost)/);
		is($deep, !decodes_all_depths() ? 'lost' : $kind eq 'F' ? '{"":' x 16 . 'null' . '}' x 16 : '[' x 16 . 'null' . ']' x 16, "$depth nested $kind: told to a depth of 16");
		$probe->quit;
		kill('KILL', $pid);
		waitpid($pid, 0);
	}
	# A delivery whose header cannot be decoded, first and again.
	my $odd_header = $frame->(2, 1, pack('n n Q> n N/a', 60, 0, 0, 1 << 13, pack('C/a a', 'odd', '?')));
	my $seen = tmp_dir() . '/seen';
	for my $case ([ 'with dead letters', 'dead-letters', 3, "60.90 1 0\n10.50\n" ], [ 'without', 'quiet 0', 4, '' ]) {
		my ($name, $command, $connections, $methods) = @$case;
		write_file($seen, '');
		my ($port, $pid) = fake_broker(sub {
			my ($method, $payload, $number) = @_;
			if ($method =~ /^(60.90|10.50)$/) {
				my (undef, undef, $tag, $requeue) = unpack('n n Q> C', $payload);
				open(my $file, '>>', $seen);
				print $file $method eq '60.90' ? "$method $tag $requeue\n" : "$method\n";
			}
			return if $method ne '60.20' || $number > 2;
			return $frame->(1, 1, pack('n n', 60, 60) . Pawl::Amqp::short('tag') . pack('Q> C', 1, $number > 1) . Pawl::Amqp::short('') . Pawl::Amqp::short('k')) .
			    $odd_header . $deliver . $header->(5);
		}, $connections);
		my $probe = probe("amqp://guest:guest\@127.0.0.1:$port");
		$probe->tell($command, 'consume q 10');
		my @lost = map { $probe->wait_log(qr/^(lost .*)/) } 1 .. 2;
		unlike($lost[0], qr/rejected/, "a header that cannot be decoded, $name: the first time it may have been the network");
		is($lost[1] =~ /rejected/ ? 1 : 0, $methods ? 1 : 0, 'the second time it is rejected, if there is a place for it');
		$probe->wait_log(qr/^consuming generation=3/);
		is(read_file($seen), $methods, 'the broker has seen that');
		$probe->quit;
		kill('KILL', $pid);
		waitpid($pid, 0);
	}
	my $confirm = sub { my ($method, $tag, $flags) = @_; return $frame->(1, 1, pack('n n Q> C', 60, $method, $tag, $flags)) };
	my %publisher = (
		'a confirm of what was not published' => $confirm->(80, 2, 0), 'of number 0' => $confirm->(80, 0, 0), 'of all before 99' => $confirm->(120, 99, 1),
		'of one twice' => $confirm->(80, 1, 0) . $confirm->(80, 1, 0), 'a return of something else' => $returned . $header->(0),
		'a return that is longer than it says' => $frame->(1, 1, pack('n n n', 60, 50, 312) . Pawl::Amqp::short('NO_ROUTE') . Pawl::Amqp::short('') . Pawl::Amqp::short('k')) .
		    $frame->(2, 1, pack('n n Q> n', 60, 0, 5, 1 << 7) . Pawl::Amqp::short('id')) . $frame->(3, 1, 'x' x 10),
		'a delivery to a publisher' => $deliver,
	);
	for my $name (sort keys %publisher) {
		my ($port, $pid) = fake_broker(sub { return $_[0] eq '60.40' ? $publisher{$name} : undef });
		my $probe = probe("amqp://guest:guest\@127.0.0.1:$port");
		$probe->tell('publisher', 'channel 0');
		$probe->wait_log(qr/^ready/);
		$probe->tell('publish 0 - k id 5');
		$probe->wait_log(qr/^down channel=0/);
		like($probe->wait_log(qr/^(publisher-lost .*)/), qr/connection=1/, "$name: given up");
		$probe->quit;
		kill('KILL', $pid);
		waitpid($pid, 0);
	}
};

$own->amqp->close;
done_testing;
