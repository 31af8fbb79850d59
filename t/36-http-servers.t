#!/usr/bin/perl
# The handler "http" against servers that are slow, broken, hostile, or not who they should be; and what of its secrets is shown.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::HttpServer;
use Pawl::Slot;

my $http = Pawl::Program::build_dir() . '/handlers/.libs/http.so';
plan(skip_all => 'built without libcurl') if !-e $http;
my $db = migrated_db();
my $home = tmp_dir() . '/home';
mkdir($home);
chmod(0600, write_file("$home/.netrc", "machine 127.0.0.1 login netrc password n3trc\n"));
my $driver = Pawl::Slot->new(conninfo => $db->conninfo, env => { HOME => $home, map { $_ => 'http://127.0.0.1:1' } qw(http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY) });
my ($serial, $id, $queue_timeout) = (0, 0, 30000);
sub spawn { my (%settings) = @_; $driver->clear->set(conninfo => $db->conninfo, timeout_ms => $queue_timeout, consumer => 'http' . ++$serial)->handler(http => $http, \%settings); return $driver->spawn }
sub ready { my (%settings) = @_; my $slot = spawn(%settings); my $answer = $driver->wait($slot); is($answer->{is}, 'ready', "ready: $settings{url}") or diag $answer->{text}; return $slot }
sub end { my ($slot) = @_; $driver->shutdown($slot); $driver->{ended}{$slot} = 1; return }
sub put { my ($slot, $body, %more) = @_; my ($o) = $driver->batch($slot, { id => 'm' . ++$id, type => 'OrderPaid', body => $body, %more }); return $o }
sub outcome { my ($o) = @_; return join(' ', grep { $_ } @$o{qw(outcome code)}) }
sub once { my ($body, %settings) = @_; my $slot = ready(%settings); my $o = put($slot, $body); end($slot); return $o }

my %raw = (
	chunked => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	'broken-chunk' => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
	'endless-chunk' => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
	short => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 'short-400' => "HTTP/1.1 400 No\r\nContent-Length: 100\r\n\r\nabc",
	nothing => '', garbage => "SSH-2.0-OpenSSH_9.2\r\n", half => "HTTP/1.1 200", 'no-status' => "HTTP/1.1 OK\r\n\r\n", 'two-lengths' => "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
	'until-close' => "HTTP/1.0 200 OK\r\n\r\nabc", continue => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
);
my $evil = "\e[31m\x07\r\n\xff\xc2\x9b" . "\xc3\xbc" x 400;
my $server = Pawl::HttpServer->start(sub {
	my ($request, $client) = @_;
	my $path = $request->{target};
	if ($path =~ m{^/raw/([\w-]+)}) {
		syswrite($client, $raw{$1});
		return;
	}
	if ($path eq '/hang') {
		sysread($client, my $byte, 1);
		return;
	}
	if ($path eq '/trickle') {
		syswrite($client, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
		select(undef, undef, undef, 0.05) while defined syswrite($client, 'x');
		return;
	}
	if ($path =~ m{^/(?:huge|huge-(\d+))$}) {
		syswrite($client, 'HTTP/1.1 ' . ($1 // 200) . " OK\r\nContent-Length: 1000000000\r\n\r\n");
		my $block = 'x' x 65536;
		while (syswrite($client, $block)) { }
		return;
	}
	if ($path eq '/headers') {
		syswrite($client, "HTTP/1.1 200 OK\r\n");
		my $line = 'X-Filler: ' . 'x' x 1000 . "\r\n";
		while (syswrite($client, $line)) { }
		return;
	}
	if ($path eq '/long-header') {
		syswrite($client, "HTTP/1.1 200 OK\r\nX-Filler: ");
		while (syswrite($client, 'x' x 65536)) { }
		return;
	}
	if ($path eq '/two') {		# answers, one of them to nobody
		syswrite($client, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
		select(undef, undef, undef, 0.05);
		syswrite($client, "HTTP/1.1 400 No\r\nContent-Length: 3\r\n\r\nbad");
		open(my $mark, '>', "$home/two");
		sysread($client, my $byte, 1);
		return;
	}
	if ($path eq '/close') {
		syswrite($client, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
		return;
	}
	return [ 400, {}, $evil ] if $path eq '/evil';
	return [ 400, {}, join("\n", map { "$_: $request->{headers}{$_}" } sort keys %{ $request->{headers} }) ] if $path =~ m{^/echo};
	return [ $1, { Location => $2 }, '' ] if $path =~ m{^/to/(\d+)\?(.*)};
	select(undef, undef, undef, 0.05) if $path eq '/slow';
	return [ 200, {}, 'ok' ];
});
my $place = '127.0.0.1:' . $server->port;
sub sent { my $last = ($server->requests)[-1]; return $last }

# Answers that break off, and such that only look odd
{
	my $slot = ready(url => $server->url('/raw/{/what}'), timeout => '5s');
	my %verdict = (map { $_ => 'done' } qw(chunked until-close continue));
	for my $what (sort keys %raw) {
		my $o = put($slot, "{\"what\": \"$what\"}");
		is(outcome($o), $verdict{$what} // 'retry http_broken', $what) or diag($o->{text});
		like($o->{text}, qr/^the answer of \Q$place\E broke off or is no HTTP: /, 'is told') if !$verdict{$what};
	}
	end($slot);
	is(outcome(once('{}', url => $server->url("/$_"))), 'retry http_broken', "$_ without end") for qw(headers long-header);
	my $o = once('{}', url => $server->url('/evil'));
	is(outcome($o), 'reject http_400', 'an answer for terminals');
	utf8::decode(my $text = $o->{text}) or fail('its text is UTF-8');
	unlike($text, qr/[\x00-\x1f\x7f-\x9f]/, 'without its control characters');
	like($text, qr/^\Q$place\E answered 400: +\[31m.*\?.*\xfc{100,150}\.\.\.$/, 'the beginning of it');
}

# Too much: neither stored nor waited for
{
	my $slot = ready(url => $server->url('/{/what}'));
	my $memory = sub { return read_file('/proc/' . $driver->pid($slot) . '/status') =~ /^VmHWM:\s+(\d+)/m ? $1 : die };
	is(outcome(put($slot, '{"what": "ok"}')), 'done', 'an answer');
	my $before = $memory->();
	is(outcome(put($slot, '{"what": "huge"}')), 'done', 'a huge one') for 1 .. 3;
	is(outcome(put($slot, '{"what": "huge-404"}')), 'reject http_404', 'a huge refusal');
	my $grown = $memory->() - $before;
	ok($grown < 4096 * ($ENV{PAWL_TEST_SLOW} || 1), "takes no memory ($grown KiB)");
	is(outcome(put($slot, '{"what": "ok"}')), 'done', 'and does no harm');
	end($slot);
}

# Time
{
	my $slot = ready(url => $server->url('/{/what}'), timeout => '300ms');
	for my $what (qw(hang trickle)) {
		my $o = put($slot, "{\"what\": \"$what\"}");
		is(outcome($o), 'retry http_timeout', $what);
		like($o->{text}, qr/^\Q$place\E did not answer in time: .*; see why it is slow, or raise timeout$/, 'is told');
		ok($o->{handle_us} >= 250_000 && $o->{handle_us} < 5_000_000, 'in time');
	}
	is(outcome(put($slot, '{"what": "ok"}')), 'done', 'others are not touched');
	end($slot);
	for my $timeout (undef, '1h') {
		$queue_timeout = 1500;
		my $o = once('{"what": "hang"}', url => $server->url('/{/what}'), $timeout ? (timeout => $timeout) : ());
		is(outcome($o), 'retry http_timeout', 'before the queue\'s timeout');
		ok($o->{handle_us} < 1_500_000, "$o->{handle_us} us");
	}
	$queue_timeout = 30000;

	# A name server that never answers
	my $build = Pawl::Program::build_dir();
	my $nameless = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'nameless',
		env => { LD_PRELOAD => "$build/t/helpers/.libs/slow-names.so", ASAN_OPTIONS => join(':', $ENV{ASAN_OPTIONS} // (), 'verify_asan_link_order=0') });
	$nameless->handler(http => $http, { url => 'http://slow.invalid/', timeout => '300ms' });
	$slot = $nameless->ready;
	$nameless->send($slot, 0, { id => 'nameless', type => 'T', body => '{}' });
	my $answer = $nameless->wait($slot, 5);
	is($answer->{is}, 'result', 'a name server that does not answer is not waited for');
	is(outcome(($answer->{outcomes} // [{}])->[0]), 'retry http_timeout', 'the message is');
	kill('KILL', $nameless->pid($slot)) if $answer->{is} ne 'result';
	$nameless->finish;
}

# Connections
{
	my $slot = ready(url => $server->url('/{/what}'));
	my $first = $server->requests;
	my @out = $driver->batch($slot, map { { id => "reuse$_", type => 'T', body => '{"what": "ok"}' } } 1 .. 100);
	is(scalar(grep { $_->{outcome} eq 'done' } @out), 100, 'a hundred messages');
	my %connections = map { $_->{connection} => 1 } ($server->requests)[$first .. $first + 99];
	is(scalar keys %connections, 1, 'go over one connection');
	is(outcome(put($slot, '{"what": "close"}')), 'done', 'one that is closed afterwards') for 1 .. 5;
	is(outcome(put($slot, '{"what": "ok"}')), 'done', 'is opened again');
	is(outcome(put($slot, '{"what": "two"}')), 'done', 'a server that answers twice');
	wait_for { -e "$home/two" } 'it has';
	is(outcome(put($slot, '{"what": "ok"}')), 'done', 'the second answer is not taken for that to the next message');
	is(sent()->{headers}{authorization}, undef, '.netrc and proxies of the environment are not looked at');
	end($slot);
	my $free = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0);
	my $port = $free->sockport;
	close($free);
	my $o = once('{}', url => "http://127.0.0.1:$port/secret/path?key=geheim");
	is(outcome($o), 'retry http_connect', 'nobody there');
	like($o->{text}, qr/^could not connect to 127\.0\.0\.1:$port: .*; see that the server runs and can be reached from here$/, 'is told');
	is(outcome(once('{}', url => 'http://nosuch.invalid/')), 'retry http_connect', 'no such host');
	is(outcome(once('{}', url => 'http://nosuch.invalid/x', proxy => $server->url(''))), 'done', 'by a proxy');
	is(sent()->{target}, 'http://nosuch.invalid/x', 'that is asked');
}

# Redirects
{
	my $other = Pawl::HttpServer->start(sub { return [ 200, {}, '' ] });
	my $go = sub { my ($how, %more) = @_; return once('{"n": 1}', url => $server->url("/to/$how"), %more) };
	my $o = $go->('307?/ok');
	is(outcome($o), 'retry http_307', 'a redirect is not followed');
	is($o->{text}, "$place answered 307 and sends us to http://$place, which is not followed; set the new url, or redirects for those of the same host", 'is told');
	is(outcome($go->("$_?/to/307?/ok", redirects => 3)), 'done', "$_: followed to the same host where that is allowed") for 307, 308;
	is(join(' ', map { sent()->{$_} } qw(method target body)), 'POST /ok {"n": 1}', 'as it is');
	is(outcome($go->("$_?/ok", redirects => 3)), "retry http_$_", "$_: not, for it would lose the body") for 301, 302, 303;
	is(outcome($go->("$_?/ok", redirects => 3, method => 'GET')), 'done', "$_: but a GET is") for 301, 302, 303, 307;
	my $before = $server->requests;
	is(outcome($go->('307?' . $server->url('/to/307?/ok'), redirects => 1)), 'retry http_307', 'not more often than allowed');
	is(scalar($server->requests) - $before, 2, 'once');
	for my $elsewhere ($other->url('/x'), 'http://localhost:' . $server->port . '/ok', 'https://' . $place . '/ok', 'file:///etc/passwd', "//127.0.0.1:" . $other->port . '/', 'http://u:p@' . $other->url('/x') =~ s{http://}{}r) {
		$o = $go->("307?$elsewhere", redirects => 3, method => 'PUT');
		is(outcome($o), 'retry http_307', "never elsewhere: $elsewhere") or diag($o->{text});
	}
	is(scalar($other->requests), 0, 'nobody else was asked');
	$other->stop;
}

# TLS
SKIP: {
	skip('openssl or python3 is not here', 1) if !$ENV{PAWL_TEST_NO_SKIP} && system('command -v openssl python3 >/dev/null') != 0;
	my $dir = tmp_dir();
	my $openssl = sub { system("openssl $_[0] >>$dir/openssl.log 2>&1") == 0 or die "openssl $_[0] failed:\n" . read_file("$dir/openssl.log") };
	$openssl->("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$_ -keyout $dir/$_.key -out $dir/$_.pem") for qw(ca other-ca);
	my %name = (good => 'IP:127.0.0.1', wrong => 'DNS:other.example', client => 'DNS:client');
	for my $cert (sort keys %name) {
		$openssl->("req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout $dir/$cert.key -out $dir/$cert.csr");
		write_file("$cert.ext", "subjectAltName=$name{$cert}\n");
		$openssl->("x509 -req -days 2 -CA $dir/ca.pem -CAkey $dir/ca.key -CAcreateserial -extfile $dir/$cert.ext -in $dir/$cert.csr -out $dir/$cert.pem");
	}
	chmod(0600, glob("$dir/*.key"));
	my $good = 'https://127.0.0.1:' . $server->tls("$dir/good.pem", "$dir/good.key");
	my $wrong = 'https://127.0.0.1:' . $server->tls("$dir/wrong.pem", "$dir/wrong.key");
	my $mutual = 'https://127.0.0.1:' . $server->tls("$dir/good.pem", "$dir/good.key", "$dir/ca.pem");
	my $slot = ready(url => "$good/{/what}", ca_file => "$dir/ca.pem");
	is(outcome(put($slot, '{"what": "ok"}')), 'done', 'TLS');
	my $first = $server->requests;
	is(scalar(grep { $_->{outcome} eq 'done' } $driver->batch($slot, map { { id => "tls$_", type => 'T', body => '{"what": "ok"}' } } 1 .. 20)), 20, 'twenty messages');
	my %connections = map { $_->{connection} => 1 } ($server->requests)[$first .. $first + 19];
	is(scalar keys %connections, 1, 'over one connection');
	is(outcome(put($slot, '{"what": "close"}')), 'done', 'a server that closes') for 1 .. 3;
	is(outcome(put($slot, '{"what": "ok"}')), 'done', 'costs nobody anything');
	end($slot);
	my $o = once('{}', url => "$good/ok");
	is(outcome($o), 'retry http_tls', 'an authority that the system does not know');
	like($o->{text}, qr/^no TLS with 127\.0\.0\.1:\d+: .*certificate.*; see its certificate and host name, and ca_file/, 'is told');
	is(outcome(once('{}', url => "$good/ok", ca_file => "$dir/other-ca.pem")), 'retry http_tls', 'another authority');
	is(outcome(once('{}', url => "$wrong/ok", ca_file => "$dir/ca.pem")), 'retry http_tls', 'another host\'s certificate');
	is(outcome(once('{}', url => $server->url('') =~ s/^http:/https:/r, ca_file => "$dir/ca.pem")), 'retry http_tls', 'a server without TLS');
	is(outcome(once('{}', url => "$mutual/ok", ca_file => "$dir/ca.pem", cert_file => "$dir/client.pem", key_file => "$dir/client.key")), 'done', 'a certificate of ours');
	like(outcome(once('{}', url => "$mutual/ok", ca_file => "$dir/ca.pem")), qr/^retry http_(tls|broken)$/, 'which is missing');
	is(outcome(once('{}', url => "$good/to/307?" . $server->url('/ok'), ca_file => "$dir/ca.pem", redirects => 3)), 'retry http_307', 'never from https to http');
	chmod(0644, "$dir/client.key");
	my $open = spawn(url => "$mutual/ok", ca_file => "$dir/ca.pem", cert_file => "$dir/client.pem", key_file => "$dir/client.key");
	like($driver->wait($open)->{text}, qr/key_file: .* can be read by everybody.* chmod o= /, 'a key that everybody can read');
	$driver->{ended}{$open} = 1;
}

# Secrets: sent, shown nowhere
{
	my %file = (token => "b3arer-s3cret\n", password => 'p4ssw0rd', key => 'k3y-s3cret');
	chmod(0600, write_file($_, $file{$_})) for keys %file;
	my $dir = tmp_dir();
	my $o = once('{}', url => $server->url('/echo?token=qu3ry-s3cret'), bearer_file => "$dir/token", 'header_files.X-Api-Key' => "$dir/key");
	is(outcome($o), 'reject http_400', 'a server that tells what it was sent');
	is(join(' ', @{ sent()->{headers} }{qw(authorization x-api-key)}), 'Bearer b3arer-s3cret k3y-s3cret', 'it was sent');
	like($o->{text}, qr{authorization: Bearer \*{13} .*x-api-key: \*{10}$}, 'but is not shown') or diag($o->{text});
	my $basic = once('{}', url => $server->url('/echo'), user => 'pawl', password_file => "$dir/password");
	is(sent()->{headers}{authorization}, 'Basic cGF3bDpwNHNzdzByZA==', 'user and password');
	unlike($o->{text} . $basic->{text} . $driver->log, qr/s3cret|p4ssw0rd|cGF3bDpw|geheim|n3trc/, 'not in texts, not in the log');
	like($driver->log, qr{POST http://127\.0\.0\.1:\d+/echo\?\.\.\. .*with X-Api-Key: \(secret\)}s, 'which says that there was one');
	write_file("$dir/token", "two\nlines");
	my $slot = spawn(url => $server->url('/'), bearer_file => "$dir/token", user => 'x');
	my $refused = $driver->wait($slot)->{text};
	like($refused, qr/config\.bearer_file: the file has a control character/, 'a secret that is no header');
	like($refused, qr/config\.password_file: is missing/, 'a user without a password');
	unlike($refused, qr/two|lines/, 'is not shown');
	$driver->{ended}{$slot} = 1;
}
$server->stop;
$driver->finish;
done_testing;
