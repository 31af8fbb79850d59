#!/usr/bin/perl
# What a handler sees and records: pawl/handler.h, each member of the host's table.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use JSON::PP ();
use Pawl::Slot;

my $db = migrated_db();
$db->do('create table effects (n bigserial, key text); create table seen (n bigserial, key text, what text, value text)');
my $driver = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'h')->handler(script => Pawl::Slot::script_handler());
my $slot = $driver->ready;
my $serial = 0;
# A message with that body whose handler does these lines: the outcome, and what it has seen.
sub look
{
	my ($body, @lines) = @_;
	my %more = ref $lines[-1] eq 'HASH' ? %{ pop @lines } : ();
	my $id = 'm' . ++$serial;
	my $script = join('', map { join("\t", map { $_ // '\N' } @$_) . "\n" } @lines);
	my ($out) = $driver->batch($slot, { id => $id, body => $body, 'h.script' => $script, %more });
	my @seen = map { $_->[1] } $db->query("select n, value from seen where key = '$id' order by n");
	return wantarray ? ($out, @seen) : $out;
}
sub field_is
{
	my ($body, $pointer, $value, $name) = @_;
	my ($out, $seen) = look($body, [ field => $pointer ]);
	is($out->{outcome}, 'done', "$name: done") or diag("$out->{code} $out->{text}");
	is($seen, $value, "$name: its value");
	return;
}
sub field_fails
{
	my ($body, $pointer, $code, $text, $name, $how) = @_;
	my ($out) = look($body, [ sql => 'insert into effects (key) values ($1)', $name ], [ $how // 'field' => $pointer ]);
	is("$out->{outcome} $out->{code}", "reject $code", "$name: rejected");
	like($out->{text}, $text, "$name: the text says why");
	is($db->value("select count(*) from effects"), 0, "$name: nothing is done");
	return;
}

# Fields
my $body = '{"n":12.50,"big":1234567890123456789012345678901234567890,"e":1E+400,"s":"a\"b\\\\c\u00e4\ud83d\ude00","t":true,"f":false,"z":null,"o":{"a":[1, 2,{"x":"y"}]},"":"empty","a/b":1,"m~n":2,"arr":[10,20]}';
field_is($body, '/n', '12.50', 'a number as written');
field_is($body, '/big', '1234567890123456789012345678901234567890', 'forty digits');
field_is($body, '/e', '1E+400', 'a number that no double can hold');
field_is($body, '/s', "a\"b\\c\xc3\xa4\xf0\x9f\x98\x80", 'a string without its escapes');
field_is($body, '/t', 'true', 'true');
field_is($body, '/f', 'false', 'false');
field_is($body, '/z', undef, 'null is NULL');
field_is($body, '/o', '{"a":[1, 2,{"x":"y"}]}', 'an object as JSON');
field_is($body, '/o/a', '[1, 2,{"x":"y"}]', 'an array as JSON');
field_is($body, '/o/a/2/x', 'y', 'deep');
field_is($body, '/', 'empty', 'the member without a name');
field_is($body, '/a~1b', '1', '~1 is a slash');
field_is($body, '/m~0n', '2', '~0 is a tilde');
field_is($body, '/arr/1', '20', 'an element');
field_is('"text"', '', 'text', 'the whole text');
field_is(' 5 ', '', '5', 'a number alone');
field_fails($body, '/missing', 'bad_field', qr{^/missing is missing; let the publisher send it, or the handler do without it$}, 'a missing field');
field_fails($body, '/arr/2', 'bad_field', qr{/arr/2 is missing}, 'a missing element');
field_fails($body, '/n/x', 'bad_field', qr{/n/x is missing}, 'a member of a number');
field_fails($body, 'n', 'bad_field', qr{"n" is no JSON pointer}, 'no pointer');
field_fails($body, undef, 'bad_field', qr{without a pointer}, 'no pointer at all');
field_fails('{"a":1', '/a', 'bad_body', qr{^the body is no JSON: .* at byte 6; let the publisher send JSON$}, 'half a body');
field_fails('', '/a', 'bad_body', qr{at byte 0}, 'no body');
field_fails("{\"a\":\"\xff\"}", '/a', 'bad_body', qr{UTF-8.* at byte 6}, 'no UTF-8');
field_fails('{"a":1,"b":2,"a":3}', '/a', 'bad_body', qr{/a: .* at byte \d+; let the publisher mend it$}, 'a double key');
field_fails('{"a":"x\u0000y"}', '/a', 'bad_body', qr{/a: .* at byte \d+}, 'an escaped NUL');
field_fails('[' x 100 . ']' x 100, '/0', 'bad_body', qr{at byte 6[45]}, 'too deep');
field_is('{"a":1,"b":2,"c":{"x":1,"x":2},"d":"\u0000"}', '/b', '2', 'double keys and NULs elsewhere');
{
	my ($out, @seen) = look($body, [ field_if => '/missing' ], [ field_if => '/n' ], [ json => '/s' ], [ json => '/z' ], [ json => '/n' ]);
	is_deeply(\@seen, [ undef, '12.50', '"a\"b\\\\c\u00e4\ud83d\ude00"', 'null', '12.50' ], 'optional fields, and JSON as it stands');
	field_fails('{', '/a', 'bad_body', qr{byte 1}, 'an optional field of a bad body', 'field_if');
	field_fails('{}', '/a', 'bad_field', qr{/a is missing}, 'JSON that is missing', 'json');
	is(look('{', [ sql => 'select 1' ])->{outcome}, 'done', 'a body that nobody looks into may be anything');
	($out) = look('{"a":1}', [ field => '/b' ], [ fail => 1, 'later', 'no' ], [ return => 0 ]);
	is("$out->{outcome} $out->{code}", 'reject bad_field', 'the first error sticks');
}

# Everything else of the message
{
	my ($out, @seen) = look("t\xc3\xa4xt", [ 'body' ], [ header => 'x' ], [ header => 'nothing' ], [ header => 'empty' ], { 'h.x' => 'y z', 'h.empty' => '' });
	is_deeply(\@seen, [ "t\xc3\xa4xt", 'y z', undef, '' ], 'body and headers');
	($out) = look("a\0b", [ 'body' ]);
	is("$out->{outcome} $out->{code}", 'reject bad_body', 'a body with a NUL is no text');
	like($out->{text}, qr/byte 1; let the publisher send a text$/, 'its place is told, and what to do');
	my $trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
	($out, @seen) = look('x', [ 'view' ], { type => 'OrderPlaced', routing_key => 'r.k', attempt => 2, attempts => 6, 'h.traceparent' => $trace });
	my %seen;
	@seen{qw(key id type queue exchange routing_key reply_to traceparent attempt timeout_ms timestamp_ms)} = @seen;
	like($seen{traceparent}, qr/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/, 'a child of the trace');
	unlike($seen{traceparent}, qr/b7ad6b7169203331/, 'with a span of its own');
	delete $seen{traceparent};
	is_deeply(\%seen, { key => "m$serial", id => "m$serial", type => 'OrderPlaced', queue => 'test.queue', exchange => 'x', routing_key => 'r.k', reply_to => '',
		attempt => '2/6', timeout_ms => 30000, timestamp_ms => 1700000000000 }, 'its properties');
	($out, @seen) = look('x', [ quote => "a\"b\\c\x01" ], [ quote => undef ], [ bytes => "\x01\xfez" ]);
	is_deeply(\@seen, [ '"a\"b\\\\c\u0001"', 'null', '\x01fe7a' ], 'quote and bytes');
	my $long = 'y' x 100_000;
	($out, @seen) = look('{"a":"' . $long . '","b":1}', [ field => '/a' ], [ field => '/b' ], [ quote => $long ]);
	is(length($seen[0]) . " $seen[1] " . length($seen[2]), '100000 1 100002', 'long texts');
}

# Walking over headers, and over the keys of a group
{
	my ($out, @seen) = look('x', [ 'headers' ], { 'h.a' => '1', 'h.b' => '' });
	my %walk = map { @$_ } $db->query("select what, coalesce(value, 'null') from seen where key = 'm$serial'");
	is_deeply([ sort keys %walk ], [ 'a', 'b', 'script' ], 'all headers have a name');
	is($walk{a} . '|' . $walk{b}, '1|', 'and a value');
	my $grouped = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'g')->handler(script => Pawl::Slot::script_handler(),
		{ 'group.Accept' => 'x', 'group.b.deep' => 1, 'group.c' => 2 });
	($out) = $grouped->batch($grouped->ready, { id => 'group', body => 'members' });
	is($db->value("select value from seen where key = 'group'"), 'Accept=x;b=(group);c=2;', 'the members of a group, in their order');
	$grouped->finish;
}

# Emits
sub events { return map { { seq => $_->[0], at => $_->[1], aid => $_->[2], type => $_->[3], payload => $_->[4], headers => JSON::PP::decode_json($_->[5]), due => $_->[6] } }
	$db->query('select seq, aggregatetype, aggregateid, type, payload, headers, extract(epoch from not_before - created_at) from pawl.outbox order by seq') }
{
	my ($out) = look('x', [ emit => 'order', 'o1', 'Placed', '{"n": 12.50}' ], [ emit_header => 'who', "m\xc3\xa4" ], [ emit_header => 'who', 'me' ], [ emit_header => 'null', undef ],
		[ sql => 'insert into seen (key, what, value) select $1, $1, count(*) from pawl.outbox', "m" . ($serial + 1) ],
		[ emit => undef, undef, 'Later', undef ], [ emit_delay => 90000 ], [ emit => 'a', 'b', 'Traced', '[]' ], [ emit_header => 'traceparent', 'mine' ],
		{ 'h.traceparent' => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' });
	is($out->{outcome}, 'done', 'a message that emits') or diag $out->{text};
	my @e = events();
	is(scalar(@e), 3, 'its events are in the outbox');
	is_deeply([ @{ $e[0] }{qw(at aid type payload)} ], [ 'order', 'o1', 'Placed', '{"n": 12.50}' ], 'the first, as emitted');
	like(delete $e[0]{headers}{traceparent}, qr/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/, 'with the trace');
	is_deeply($e[0]{headers}, { who => 'me', null => undef }, 'and its headers');
	is_deeply([ @{ $e[1] }{qw(at aid type payload)} ], [ undef, undef, 'Later', undef ], 'nulls are nulls');
	cmp_ok(abs($e[1]{due} - 90), '<', 5, 'a delayed one');
	is($e[0]{due}, undef, 'the others are due at once');
	is($e[2]{headers}{traceparent}, 'mine', 'a trace of the handler\'s own stays');
	is($db->value("select value from seen where key = 'm$serial'"), 0, 'emits come after the statements of their message');
	look('x', [ emit => 'a', 'b', 'Plain', '{}' ]);
	like((events())[-1]{headers}{traceparent}, qr/^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/, 'without a trace one begins');
	$db->do('truncate pawl.outbox');
	my @bad = (
		[ [ emit => 'a', 'b', '', '{}' ] ], [ [ emit => 'a', 'b', undef, '{}' ] ], [ [ emit => 'a', 'b', 'x' x 256, '{}' ] ], [ [ emit => 'a', 'b', 'T', '{' ] ],
		[ [ emit_header => 'a', 'b' ] ], [ [ emit_delay => 5 ] ], [ [ emit => 'a', 'b', 'T', '{}' ], [ emit_delay => -5 ] ],
		[ [ emit => 'a', 'b', 'T', '{}' ], [ emit_header => '', 'x' ] ], [ [ emit => 'a', 'b', 'T', '{}' ], [ emit_header => 'x-pawl-reason', 'x' ] ],
		[ [ emit => 'a', 'b', 'T', '{}' ], [ emit_header => 'n' x 256, 'x' ] ],
	);
	for my $bad (@bad) {
		my $o = look('x', @$bad);
		is("$o->{outcome} $o->{code}", 'reject bad_emit', 'bad emit: ' . join(' ', map { substr($_ // 'null', 0, 20) } map { @$_ } @$bad)) or diag $o->{text};
	}
	my $o = look('x', [ emit => 'a', 'b', 'T', '{"x":"\u0000"}' ]);
	is("$o->{outcome} $o->{code}", 'reject sql_22P05', 'what jsonb does not take is rejected by the database');
	look('x', [ emit => 'a', 'b', 'T', '{}' ], [ fail => 1, 'later', '' ]);
	is($db->value('select count(*) from pawl.outbox'), 0, 'none of these emitted anything');
}

# What this kind cannot do, and misuse
for my $case ([ 'no_query', [ query => 'select 1' ] ], [ 'bad_reply', [ reply => 'hello' ], [ reply => 'again' ] ], [ 'bad_reply', [ reply => 'x' x 131073 ] ], [ 'bad_statement', [ sql => undef ] ], [ 'bad_expect', [ expect => 1, 3, 'x' ] ],
	[ 'bad_expect', [ sql => 'select 1' ], [ expect => 1, 0, 'x' ] ], [ 'bad_expect', [ sql => 'select 1' ], [ expect => -1, 3, 'x' ] ], [ 'bad_verdict', [ return => -3 ] ],
	[ 'bad_format', [ misuse => 'format' ] ], [ 'bad_bytes', [ misuse => 'bytes' ] ], [ 'bad_bytes', [ misuse => 'size' ] ]) {
	my ($code, @lines) = @$case;
	my $o = look('x', @lines);
	is("$o->{outcome} $o->{code}", "reject $code", join(' ', map { $_ // 'null' } map { @$_ } @lines));
}
{
	my $o = look('x', [ fail => 3, 'c' x 500, "t" . "\xc3\xa4" x 3000 ]);
	is(length $o->{code}, 64, 'a long code is cut');
	is(look('x', [ fail => 3, "no such\x01\r;'\xc3\xa4\xff/Card-1_2.x", '' ])->{code}, 'no_such_______Card-1_2.x', 'a code is one word');
	is(look('x', [ fail => 3, "\xc3\xa4" x 70, '' ])->{code}, '_' x 64, 'of 64 bytes, when it is mended too');
	is(look('x', [ sql => 'select 1 where false' ], [ expect => 1, 3, 'no row' ])->{code}, 'no_row', "an expectation's, too");
	is(length $o->{text}, 4095, 'so is a long text, between characters') or diag substr($o->{text}, -3);
	$o = look('x', [ sql => 'select 1' ], [ expect => 1, 3, undef ]);
	is($o->{outcome}, 'done', 'an expectation without a code');
	$o = look('x', [ sql => 'select 1 where false' ], [ expect => 1, 1, undef ], [ again_after => 777 ]);
	is("$o->{outcome} $o->{code} $o->{delay_ms}", 'retry unexpected_rows 777', 'has a code of its own; the delay stays');
	$driver->allow_log(qr/my complaint/);
	look('x', [ log => 1, "my complaint\twith a tab" =~ s/\t/ /r ], [ log => 3, 'quietly' ], { attempt => 3 });
	like($driver->log, qr/level=warning program=pawl-slot .*queue=h slot=0 handler=script key=m$serial attempt=3 msg="my complaint with a tab"/, 'a handler logs with its context');
	like($driver->log, qr/level=debug .*msg="?quietly/, 'at any level');
	$driver->allow_log(qr/cannot make a text of/);
	is(look('x', [ misuse => 'log' ])->{outcome}, 'done', 'a log that cannot be formatted');
	like($driver->log, qr/handler=script key=m$serial .*printf\(\) cannot make a text of/, 'is told');
}

# A handler that forks when it starts, and comes back in both
$driver->clear->set(conninfo => $db->conninfo, consumer => 'forked')->handler(script => Pawl::Slot::script_handler(), { fork => 'yes' });
$slot = $driver->ready;
is($driver->wait($slot, 1)->{is}, 'nothing', 'one slot is ready');
is((look('x', [ sql => 'select 1' ]))[0]{outcome}, 'done', 'and works') for 1 .. 3;
$driver->finish;
done_testing;
