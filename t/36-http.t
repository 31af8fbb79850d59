#!/usr/bin/perl
# The handler "http", against a real server: what is sent, and what becomes of the message for every kind of answer.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use JSON::PP ();
use Pawl::HttpServer;
use Pawl::Slot;

my $http = Pawl::Program::build_dir() . '/handlers/.libs/http.so';
plan(skip_all => 'built without libcurl') if !-e $http;
my $db = migrated_db();
$db->do('create table calls (id text, status int, answer text, key text primary key)');
my $driver = Pawl::Slot->new(conninfo => $db->conninfo);
my ($serial, $id) = (0, 0);
sub spawn { my (%settings) = @_; $driver->clear->set(conninfo => $db->conninfo, consumer => 'http' . ++$serial)->handler(http => $http, \%settings); return $driver->spawn }
sub ready { my (%settings) = @_; my $slot = spawn(%settings); my $answer = $driver->wait($slot); is($answer->{is}, 'ready', "ready: $settings{url}") or diag $answer->{text}; return $slot }
sub end { my ($slot) = @_; $driver->shutdown($slot); $driver->{ended}{$slot} = 1; return }
sub put { my ($slot, $body, %more) = @_; my ($o) = $driver->batch($slot, { id => 'm' . ++$id, type => 'OrderPaid', content_type => 'application/json', body => $body, %more }); return $o }
sub outcome { my ($o) = @_; return join(' ', grep { $_ } @$o{qw(outcome code)}) }

my $server = Pawl::HttpServer->start(sub {
	my ($request, $client) = @_;
	my $path = $request->{target};
	return [ $1, {}, '{"ok": true}' ] if $path =~ m{^/status/(\d+)};
	return [ 503, { 'Retry-After' => $1 }, 'busy' ] if $path =~ m{^/after/([^/]+)$};
	return [ 429, { 'Retry-After' => POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time() + $1)) }, '' ] if $path =~ m{^/date/(\d+)$};
	return [ 200, {}, { nul => "a\0b", latin => "\xfc", long => 'x' x 1025, most => 'x' x 1024 }->{$1} ] if $path =~ m{^/bytes/(\w+)};
	return [ $request->{same} < 3 ? 503 : 200, {}, '' ] if $path eq '/third';
	return [ 200, {}, 'done' ];
});

# The URL
sub sent { my $last = ($server->requests)[-1]; return $last }
{
	my $slot = ready(url => $server->url('/orders/{/order}/{?/line}?type={type}&id={id}&q={/q}&r={routing_key}&h={header:who}&none={?/none}{?header:none}'));
	is(outcome(put($slot, '{"order": "a b/c?d#e%f", "line": 7, "q": "x&y=z+\u00fc"}', routing_key => 'r.k', 'h.who' => 'me;')), 'done', 'a URL of the message');
	is(sent()->{target}, "/orders/a%20b%2Fc%3Fd%23e%25f/7?type=OrderPaid&id=m$id&q=x%26y%3Dz%2B%C3%BC&r=r.k&h=me%3B&none=", 'all is escaped where it stands');
	my $before = $server->requests;
	for my $case ([ '{"order": "..", "q": 1}', 'bad_field' ], [ '{"order": "../../admin", "q": 1}', 'bad_field' ], [ '{"order": "x\\\\..\\\\y", "q": 1}', 'bad_field' ],
		[ '{"order": ".", "q": 1}', 'bad_field' ], [ '{"order": "", "q": 1}', 'bad_field' ], [ '{"order": null, "q": 1}', 'bad_field' ], [ '{"q": 1}', 'bad_field' ],
		[ '{"order": 1}', 'bad_field' ], [ '{"order": "' . 'x' x 9000 . '", "q": 1}', 'bad_field' ], [ '{"order": "a\u0000b", "q": 1}', 'bad_body' ], [ 'no', 'bad_body' ]) {
		is(outcome(put($slot, $case->[0], 'h.who' => 'me')), "reject $case->[1]", 'refused: ' . substr($case->[0], 0, 40));
	}
	is(put($slot, '{"order": 1, "q": 1}')->{text}, 'header "who" is missing, and the url needs it: let the publisher send it, or the url have {?...} there', 'what is missing, and what to do');
	like(put($slot, '{"order": "' . 'x' x 9000 . '", "q": 1}', 'h.who' => 'me')->{text}, qr/ is the most: let the publisher send less/, 'too long, and what to do');
	like(put($slot, '{"order": "..", "q": 1}', 'h.who' => 'me')->{text}, qr/leads elsewhere: let the publisher mend it$/, 'elsewhere, and what to do');
	is(scalar($server->requests), $before, 'nothing of that was sent');
	is(outcome(put($slot, '{"order": "..x", "line": "a..b", "q": ""}', 'h.who' => '')), 'done', 'dots in a name');
	like(sent()->{target}, qr{^/orders/\.\.x/a\.\.b\?}, 'stay');
	end($slot);
}

# Values of all kinds: what arrives is the value again, or it was one that leads elsewhere.
{
	my $slot = ready(url => $server->url('/x/{/v}/y?q={/v}'));
	my @alphabet = ('a', 'Z', '0', '-', '_', '~', '.', '.', '..', '/', '\\', '%', '%2e', '%2F', '?', '#', '&', '=', '+', ' ', ':', ';', '@', '{', '}', '<', '"', "'", "\t", "\n", "\x{e9}", "\x{6f22}", "\x{1f418}");
	srand(seed());
	my $escape = sub { my ($text) = @_; utf8::encode($text); $text =~ s/([^A-Za-z0-9._~-])/sprintf('%%%02X', ord $1)/ge; return $text };
	my $first = $server->requests;
	my (@messages, @verdicts, @targets);
	for my $n (1 .. 200) {
		my $value = join('', map { $alphabet[rand @alphabet] } 1 .. 1 + rand 4);
		my $leads = grep { $_ eq '.' || $_ eq '..' } split(m{[/\\]}, $value, -1);
		push @messages, { id => "v$n", type => 'T', body => JSON::PP->new->utf8->encode({ v => $value }) };
		push @verdicts, $leads ? 'reject bad_field' : 'done';
		push @targets, '/x/' . $escape->($value) . '/y?q=' . $escape->($value) if !$leads;
	}
	is_deeply([ map { outcome($_) } $driver->batch($slot, @messages) ], \@verdicts, 'values of all kinds: ' . scalar(@targets) . ' of 200 are sent');
	is_deeply([ map { $_->{target} } ($server->requests)[$first .. $first + $#targets] ], \@targets, 'and arrive as they were');
	end($slot);
}

# What is sent with it
{
	my $slot = ready(url => $server->url('/in'), 'headers.X-Order' => 'no {/order}', 'headers.X-Maybe' => '{?/maybe}', 'headers.X-Braces' => '{{"a": 1}}', 'headers.Accept' => 'text/plain');
	my $body = "{\"order\": 12.50, \"text\": \"\xc3\xbc\"}\n ";
	is(outcome(put($slot, $body, 'h.traceparent' => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')), 'done', 'a message');
	my $sent = sent();
	is("$sent->{method} $sent->{target}", 'POST /in', 'method and path');
	is($sent->{body}, $body, 'the body, byte for byte');
	is_deeply({ map { $_ => $sent->{headers}{$_} } qw(x-order x-braces accept content-type idempotency-key user-agent content-length) },
		{ 'x-order' => 'no 12.50', 'x-braces' => '{"a": 1}', accept => 'text/plain', 'content-type' => 'application/json', 'idempotency-key' => "m$id",
		'user-agent' => 'pawl/0.1.0', 'content-length' => length $body }, 'headers');
	like($sent->{headers}{traceparent}, qr/^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/, 'a child of its trace');
	is_deeply([ grep { exists $sent->{headers}{$_} } qw(x-maybe expect cookie authorization) ], [], 'nothing else');
	for my $bad ("a\\r\\nX-Evil: 1", "a\\nb", "a\\u007f") {
		my $o = put($slot, "{\"order\": \"$bad\"}");
		is(outcome($o), 'reject bad_field', 'a control character in a header');
		is($o->{text}, '/order has a control character, which the header X-Order cannot hold: let the publisher mend it', 'is told, and what to do');
	}
	is(outcome(put($slot, '{"order": 1}', id => "m\n" . ++$id)), 'reject bad_field', 'in the key');
	is(outcome(put($slot, '{"order": 1}', content_type => "a\r\nb: c")), 'reject bad_field', 'in the content type');
	my $binary = join('', map { chr } 0 .. 255) x 40;
	end($slot);
	$slot = ready(url => $server->url('/in'), method => 'PUT', 'headers.Idempotency-Key' => '"{key}"');
	is(outcome(put($slot, $binary, content_type => '')), 'done', 'a body of any bytes');
	is(sent()->{body} eq $binary, 1, 'as it is');
	is_deeply([ @{ sent()->{headers} }{qw(content-type idempotency-key)}, sent()->{method} ], [ undef, "\"m$id\"", 'PUT' ], 'without a type it has none; a header of ours can be set');
	is(outcome(put($slot, 'x' x 3_000_000)), 'done', 'a large one');
	is(sent()->{size}, 3_000_000, 'is whole');
	is(outcome(put($slot, '')), 'done', 'an empty one');
	is(sent()->{headers}{'content-length'}, 0, 'is empty');
	end($slot);
	for my $method (qw(GET DELETE PATCH)) {
		$slot = ready(url => $server->url('/orders/{/id}'), method => $method);
		is(outcome(put($slot, '{"id": 5}')), 'done', $method);
		is(join(' ', sent()->{method}, sent()->{target}, sent()->{body}), "$method /orders/5 " . ($method eq 'PATCH' ? '{"id": 5}' : ''), 'is sent');
		end($slot);
	}
}

# Verdicts
{
	my $place = '127.0.0.1:' . $server->port;
	my %verdict = (200 => 'done', 201 => 'done', 299 => 'done', 409 => 'done', (map { $_ => "reject http_$_" } 400, 403, 404, 410, 422, 451, 499),
		(map { $_ => "retry http_$_" } 300, 304, 401, 407, 408, 425, 429, 500, 502, 503, 504, 599), 600 => 'retry http_broken');
	my $slot = ready(url => $server->url('/status/{/status}'), 'done.[0]' => 409);
	for my $status (sort keys %verdict) {
		my $o = put($slot, "{\"status\": $status}");
		is(outcome($o), $verdict{$status}, "status $status");
		like($o->{text}, qr/^\Q$place\E answered $status/, 'says who') if $verdict{$status} ne 'done';
		unlike($o->{text} // '', qr{/status/}, 'but not the path');
		like($o->{text}, qr/: \{"ok": true\}$/, 'and what') if $verdict{$status} =~ /^reject/;
	}
	end($slot);
	$slot = ready(url => $server->url('/after/{/s}'));
	is(put($slot, '{"s": 17}')->{delay_ms}, 17_000, 'Retry-After: seconds');
	is(put($slot, '{"s": 99999999}')->{delay_ms}, 6 * 3600_000, 'six hours at most');
	is(put($slot, "{\"s\": $_}")->{delay_ms}, 0, "nonsense: $_") for '-5', '"soon"', 0;
	end($slot);
	$slot = ready(url => $server->url('/date/{/s}'));
	my $ms = put($slot, '{"s": 120}')->{delay_ms};
	ok($ms > 60_000 && $ms <= 120_000, "a date ($ms ms)");
	is(put($slot, '{"s": 0}')->{delay_ms}, 0, 'one that is over');
	end($slot);
}
# The same message again and again
{
	my $slot = ready(url => $server->url('/third'));
	is(outcome(put($slot, '{}', id => 'same', attempt => $_)), $_ < 3 ? 'retry http_503' : 'done', "attempt $_") for 1 .. 3;
	my @same = grep { $_->{target} eq '/third' } $server->requests;
	is(join(' ', map { $_->{headers}{'idempotency-key'} } @same), 'same same same', 'has the same key');
	is(outcome(put($slot, '{}', id => 'same')), 'duplicate', 'once it is done it is not sent again');
	end($slot);
}

# CloudEvents
{
	my $slot = ready(url => $server->url('/ce'), envelope => 'cloudevents', source => '/orders/{header:shop}', subject => '{?/order}');
	is(outcome(put($slot, '{"order": "a \"b\" 100% \u00fc"}', 'h.shop' => 'x')), 'done', 'CloudEvents, binary mode');
	my %ce = map { /^(ce-.*|content-type)$/ ? ($_ => sent()->{headers}{$_}) : () } keys %{ sent()->{headers} };
	is_deeply(\%ce, { 'ce-specversion' => '1.0', 'ce-id' => "m$id", 'ce-source' => '/orders/x', 'ce-type' => 'OrderPaid', 'ce-subject' => 'a%20%22b%22%20100%25%20%C3%BC',
		'ce-time' => '2023-11-14T22:13:20.000Z', 'content-type' => 'application/json' }, 'attributes');
	is(sent()->{body}, '{"order": "a \"b\" 100% \u00fc"}', 'the body as it is');
	put($slot, '{}', 'h.shop' => 'x');
	is(sent()->{headers}{'ce-subject'}, undef, 'no subject');
	is(outcome(put($slot, '{}', type => '', 'h.shop' => 'x')), 'reject bad_field', 'no type');
	is(outcome(put($slot, '{}')), 'reject bad_field', 'no source');
	end($slot);
	my $json = JSON::PP->new->utf8;
	$slot = ready(url => $server->url('/ce'), envelope => 'cloudevents-structured', source => '/orders');
	is(outcome(put($slot, '{"price": 12.50}', 'h.aggregateid' => 'o"1')), 'done', 'structured mode');
	like(sent()->{body}, qr/"data":\{"price": 12\.50\}\}$/, 'data as it was written');
	my $event = $json->decode(sent()->{body});
	is_deeply([ map { $event->{$_} } qw(specversion id source type subject time datacontenttype) ],
		[ '1.0', "m$id", '/orders', 'OrderPaid', 'o"1', '2023-11-14T22:13:20.000Z', 'application/json' ], 'attributes');
	is(sent()->{headers}{'content-type'}, 'application/cloudevents+json; charset=UTF-8', 'its type');
	put($slot, "a \"text\"\n\xc3\xbc", content_type => 'text/plain');
	is($json->decode(sent()->{body})->{data}, "a \"text\"\n\xfc", 'a text');
	for my $bytes ("\0", "\xff\0", "ab\xff", "\xed\xa0\x80c") {
		put($slot, $bytes, content_type => 'application/octet-stream');
		require MIME::Base64;
		is(MIME::Base64::decode_base64($json->decode(sent()->{body})->{data_base64}), $bytes, 'bytes');
	}
	is(outcome(put($slot, '{"a": ')), 'reject bad_body', 'what says it is JSON and is none');
	end($slot);
}

# The answer, recorded
{
	my $insert = 'insert into calls values (:/id, :status, :answer, :key)';
	my $slot = ready(url => $server->url('/status/201'), 'record.[0]' => $insert, 'record.[1]' => "select pawl.emit('order', :/id, 'Told', :answer::jsonb)");
	my $again = { id => 'recorded', type => 'T', body => '{"id": 7}' };
	is(join(', ', map { outcome($_) } $driver->batch($slot, $again, $again)), 'done, duplicate', 'a call with a record, and once more');
	is($db->value("select concat_ws(' ', id, status, answer, key) from calls"), '7 201 {"ok": true} recorded', 'the answer');
	is($db->value("select payload->>'ok' from pawl.outbox where aggregateid = '7'"), 'true', 'an event');
	my $before = $server->requests;
	is(outcome(put($slot, '{}')), 'reject bad_field', 'what the record lacks is missed');
	is(scalar($server->requests), $before, 'before anything is sent');
	is(outcome(put($slot, '{"id": 8}', id => 'recorded2')), 'done', 'another');
	end($slot);
	$slot = ready(url => $server->url('/status/404'), record => $insert, 'done.[0]' => 404);
	is(outcome(put($slot, '{"id": 9}')), 'done', 'a status that counts as done');
	is($db->value("select status from calls where id = '9'"), 404, 'is recorded');
	end($slot);
	$slot = ready(url => $server->url('/status/500'), record => $insert);
	is(outcome(put($slot, '{"id": 10}')), 'retry http_500', 'a failure');
	is($db->value("select count(*) from calls where id = '10'"), 0, 'is not');
	end($slot);
	$slot = ready(url => $server->url('/bytes/{/what}'), record => $insert, max_answer => '1KiB');
	is(outcome(put($slot, "{\"id\": 11, \"what\": \"$_\"}")), 'reject http_answer', "an answer that cannot be recorded: $_") for qw(nul latin long);
	is(outcome(put($slot, '{"id": 11, "what": "most"}')), 'done', 'the longest that can');
	is($db->value("select length(answer) from calls where id = '11'"), 1024, 'is whole');
	end($slot);
	$slot = ready(url => $server->url('/bytes/long'), record => 'insert into calls (id, status, key) values (:/id, :status, :key)', max_answer => '1KiB');
	is(outcome(put($slot, '{"id": 12}')), 'done', 'who records the status alone needs no whole answer');
	end($slot);
	if (Pawl::Program::built_with('PAWL_FAULTS')) {
		my %settings = (url => $server->url('/status/200'), record => $insert);
		my $killed = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'killed', env => { PAWL_FAULT => 'slot.before_commit:kill' })->handler(http => $http, \%settings);
		my $dying = $killed->ready;
		$again = { id => 'killed', type => 'T', body => '{"id": 13}' };
		$killed->send($dying, 0, $again);
		like($killed->wait($dying)->{text}, qr/^was killed by SIGKILL/, 'killed between the answer and the commit');
		$killed->{ended}{$dying} = 1;
		wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot killed'") == 0 } 'its backend goes';
		my $next = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'killed')->handler(http => $http, \%settings);
		is(outcome($next->batch($next->ready, { %$again, attempt => 2 })), 'done', 'another slot sends again');
		is(join(' ', map { $_->{headers}{'idempotency-key'} } grep { $_->{body} eq '{"id": 13}' } $server->requests), 'killed killed', 'with the same key');
		is($db->value("select count(*) from calls where id = '13'"), 1, 'and it is recorded once');
		$_->finish for $killed, $next;
	}
}

# Mistakes in the configuration: a handler for each, in one slot
my @cases = ([ {}, 'url: is missing' ], [ { url => 'ftp://a/' }, 'url: must begin with https:// or http://' ], [ { url => 'https://{/host}/' }, 'url: has a placeholder in host or port' ],
	[ { url => 'https://a:{/port}/' }, 'url: has a placeholder in host' ], [ { url => 'https://a{{b/' }, 'url: has a placeholder in host' ], [ { url => 'https://u:p@a/' }, 'url: has a user in it' ],
	[ { url => 'https:///x' }, 'url: names no host' ], [ { url => 'https://:80/x' }, 'url: names no host' ], [ { url => 'https://a:99999/' }, 'url: is no good URL' ],
	[ { url => 'https://a/b#c' }, "url: has a '#'" ], [ { url => 'https://a/b c' }, 'url: has a character that no URL has: write %20' ], [ { url => 'https://a/100%{/x}' }, 'url: has a character that no URL has: write %25' ], [ { url => "https://m\xc3\xbcller.example/" }, 'url: has a character in its host' ],
	[ { url => 'https://a/../{/x}' }, 'url: has a segment' ],
	[ { url => 'https://a/{x}' }, 'url: unknown placeholder {x} at character 11' ], [ { url => 'https://a/{/x' }, "url: a single '{' at character 11" ], [ { url => 'https://a/{/x~2}' }, 'url: unknown placeholder' ],
	[ { method => 'HEAD' }, 'method: is POST, PUT' ], [ { 'headers.Host' => 'x' }, 'headers.Host: cannot be set' ], [ { 'headers.authorization' => 'x' }, 'headers.authorization: is a secret' ],
	[ { 'headers.A B' => 'x' }, 'headers.A B: is no name' ], [ { 'headers.A' => "x\r\nB: y" }, 'headers.A: has a control character' ], [ { 'headers.A' => '{nosuch}' }, 'headers.A: unknown placeholder' ],
	[ { envelope => 'x' }, 'envelope: is "cloudevents"' ], [ { envelope => 'cloudevents' }, 'source: is missing' ], [ { source => '/x' }, 'source: is for CloudEvents' ],
	[ { envelope => 'cloudevents', source => '/x', method => 'GET' }, 'envelope: is for methods with a body' ], [ { timeout => 'soon' }, 'timeout: ' ], [ { connect_timeout => '0s' }, 'connect_timeout: ' ],
	[ { max_answer => '1GiB' }, 'max_answer: is a size' ], [ { max_answer => '65MiB' }, 'max_answer: is a size' ], [ { 'done.[0]' => 500 }, 'done.[0]: is a status from 400' ], [ { redirects => 99 }, 'redirects: is a number' ],
	[ { ca_file => '/nosuch' }, 'ca_file: could not read "/nosuch": No such file' ], [ { cert_file => $0 }, 'key_file: is missing' ], [ { user => 'x' }, 'password_file: is missing' ],
	[ { bearer_file => '/nosuch' }, 'bearer_file: could not open "/nosuch"' ], [ { bearer_file => $0 }, 'bearer_file: ' ], [ { 'header_files.Host' => $0 }, 'header_files.Host: ' ], [ { proxy => 'socks5://a' }, 'proxy: is like' ],
	[ { record => 'insert into t values (:nosuch)' }, 'record: unknown placeholder :nosuch' ], [ { record => 'commit' }, 'record: the statement' ], [ { insecure => 'true' }, 'insecure: unknown setting' ],
);
$driver->clear->set(conninfo => $db->conninfo, consumer => 'wrong');
for my $i (0 .. $#cases) {
	my ($settings, $expected) = @{ $cases[$i] };
	$driver->handler("c$i", $http, { ($expected =~ /^url: is missing/ ? () : (url => 'https://api.example/x')), %$settings });
}
$driver->handler('several', $http, { url => 'x', method => 'y', timeout => 'z' });
my $wrong = $driver->spawn;
my $answer = $driver->wait($wrong);
$driver->{ended}{$wrong} = 1;
is($answer->{is}, 'refused', 'mistakes are refused');
like($answer->{text}, qr/handlers\.c$_\.config\.\Q$cases[$_][1]\E/, $cases[$_][1]) for 0 .. $#cases;
like($answer->{text}, qr/handlers\.several\.config\.$_: /, "$_ is among them") for qw(url method timeout);
$server->stop;
$driver->finish;
done_testing;
