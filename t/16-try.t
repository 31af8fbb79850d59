#!/usr/bin/perl
# pawlctl try: what a handler would do with a message, without broker and database; and handlers that crash or hang.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use JSON::PP ();
use Pawl::Slot;

my $script = Pawl::Slot::script_handler();
sub lines { return join('', map { join("\t", map { $_ // '\N' } @$_) . "\n" } @_) }
sub try { my (@arguments) = @_; return run_program('pawlctl', 'try', @arguments) }
sub documents { my ($run) = @_; return map { JSON::PP::decode_json($_) } split(/\n/, $run->{out}) }

# For people
my $run = try('-t', 'Placed', '--id', 'm1', '-H', 'who=me', $script, lines([ sql => 'insert into t values ($1, $2)', 'a', undef ], [ expect => 1, 3, 'no_row' ],
	[ emit => 'order', 'o1', 'OrderSeen', '{"n": 12.50}' ], [ emit_delay => 90000 ]));
is($run->{status}, 0, 'a message that is done') or diag($run->{err});
like($run->{out}, qr/^m1 \(script 2\.1, EFFECTS\): done$/m, 'key, handler, verdict');
like($run->{out}, qr/^  sql   insert into t values \(\$1, \$2\)\n    \$1 = 'a'\n    \$2 = NULL\n    expects 1 rows, else reject no_row$/m, 'a statement');
like($run->{out}, qr/^  event OrderSeen of order o1 in 90000 ms: '\{"n": 12\.50\}'\n    headers \{"traceparent":/m, 'an event');
like(try($script, lines([ log => 2, "told\tx" ]))->{err}, qr/handler=script-handler key=try-1 attempt=1 msg="?told/, 'what the handler logs');
is(try($script, '')->{out}, "try-1 (script 2.1, EFFECTS): done\n  nothing to do\n", 'nothing to do');

# For programs
$run = try('--json', $script, lines([ sql => 'select $1', "x\ty" =~ s/\t/ /r ], [ sql => 'select 2' ], [ emit => undef, undef, 'T', undef ]), lines([ again_after => 500 ], [ fail => 1, 'later', 'a reason' ]),
	lines([ field => '/missing' ]));
is($run->{status}, 1, 'not all of them are done');
my @out = documents($run);
is(scalar @out, 3, 'an object a message');
is_deeply([ map { delete $_->{events}[0]{headers}; $_ } $out[0] ], [ { key => 'try-1', type => '', handler => 'script', version => '2.1', kind => 'EFFECTS', verdict => 'done',
	statements => [ { text => 'select $1', parameters => [ 'x y' ] }, { text => 'select 2', parameters => [] } ],
	events => [ { aggregatetype => undef, aggregateid => undef, type => 'T', payload => undef, delay_ms => undef } ] } ], 'the first');
is_deeply([ @{ $out[1] }{qw(key verdict code text again_after_ms)} ], [ 'try-2', 'retry', 'later', 'a reason', 500 ], 'one that fails');
is("$out[2]{verdict} $out[2]{code} $out[2]{text}", 'reject bad_body the body is no JSON: syntax error at byte 1; let the publisher send JSON', 'one whose body is bad') or diag($out[2]{text});
is_deeply($out[2]{statements}, [], 'which does nothing');

is((documents(try('--json', $script, lines([ fail => 1, "no such\x0bthing" . 'x' x 99, 'a reason' ]))))[0]{code}, 'no_such_thing' . 'x' x 51, 'a code is the word that a dead letter has');

# Events have the same trace each time: outputs can be compared
my @twice = map { try('--json', $script, lines([ emit => 'a', 'b', 'T', '{}' ]))->{out} } 1 .. 2;
is($twice[0], $twice[1], 'the same output from run to run');
like($twice[0], qr/"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"/, 'with the trace of the W3C example');

like(try($script, lines([ fail => 3, 'no', "red \x1b[31m \xc2\x9b31m \xff \xc3\xa9" ]))->{out}, qr/: reject no: red \\x1b\[31m \\xc2\\x9b31m \\xff \xc3\xa9$/m, 'nothing that a terminal obeys');

my $parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00';
like(try('--json', '-H', "traceparent=$parent", $script, lines([ emit => 'a', 'b', 'T', '{}' ]))->{out}, qr/"traceparent":"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"/,
	'or a child of the message\'s own');
like(try('--json', '-H', 'traceparent=00-nonsense', $script, lines([ emit => 'a', 'b', 'T', '{}' ]))->{out}, qr/"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"/, 'if that is one');
sub timestamp_of { my (@arguments) = @_; my ($seen) = grep { $_->{parameters}[1] eq 'timestamp_ms' } @{ (documents(try('--json', @arguments)))[0]{statements} }; return $seen->{parameters}[2] }
is(timestamp_of($script, "view\n"), 0, 'the time is not known, so that it is the same');
is(timestamp_of('-m', $script, '{"timestamp_ms": 1700000000123, "body": "view\\n"}'), 1700000000123, 'or what the message says');

# Replies
like(try($script, lines([ reply => 'an answer' ]))->{out}, qr/: done\n  reply text\/plain: 'an answer'\n\z/, 'a reply');
is_deeply((documents(try('--json', $script, lines([ reply => 'an answer' ]))))[0]{reply}, { content_type => 'text/plain', body => 'an answer', bytes => 9 }, 'as JSON');
like(try($script, lines([ reply => 'an answer' ], [ fail => 3, 'no', '' ]))->{out}, qr/reject no\n\z/, 'who fails does not reply');

# Bodies from files and lines
my $file = write_file('bodies', "{\"a\":1}\n\n{\"a\":2}\n");
@out = documents(try('--json', '--lines', $script, "\@$file"));
is(scalar @out, 2, 'a message a line');
my $bodies = write_file('one', lines([ sql => 'select 7' ]));
is((documents(try('--json', $script, "\@$bodies")))[0]{statements}[0]{text}, 'select 7', 'a body from a file');

# Whole messages, a line each
my $messages = write_file('messages', join('', map { "$_\n" } '{"id": "a\\u00e9\"1", "type": "One", "headers": {"who": "me", "n": 12.50, "none": null}, "body": "header\\twho\\nheader\\tn\\nheader\\tnone\\n"}',
	'', '{"body": {"a": 1.50}, "routing_key": "there"}', '{}'));
@out = documents(try('--json', '--messages', '-t', 'Default', '--id', 'm', $script, "\@$messages"));
is(join(' ', map { "$_->{key}:$_->{type}" } @out), "a\x{e9}\"1:One m-2:Default m-3:Default", 'id and type of each, or those of the command line');
is_deeply([ map { $_->{parameters}[2] } @{ $out[0]{statements} } ], [ 'me', '12.50', undef ], 'its headers, and the body that asks for them') or diag(JSON::PP::encode_json($out[0]));
is_deeply($out[2]{statements}, [], 'nothing in it');
for my $case ([ '[1]', 'line 1 is no message: write a JSON object with id, type, headers, body' ], [ '{"a', 'line 1 is no message: .* at byte \d+' ],
	[ "\n{\"ID\": \"x\"}", 'line 2 is no message: there is no "ID": use id, type' ], [ '{"id": 7}', '"id" must be a string' ], (map { [ "{\"timestamp_ms\": $_}", '"timestamp_ms" must be a whole number' ] } '"7"', '1.5', '-1', '1e3', '99999999999999999999', '[]'), [ '{"headers": []}', '"headers" must be an object' ],
	[ '{"id": "x", "id": "y"}', '"id" is there twice' ], [ '{"type": "x\\u0000y"}', '"type" has an escaped NUL' ], [ '{"headers": {"h": "\\u0000"}}', 'a header has an escaped NUL' ]) {
	my ($line, $error) = @$case;
	$run = try('-m', $script, $line);
	is($run->{status}, 65, "not a message: " . $line =~ s/\n/ /r);
	like($run->{err}, qr/$error/, 'what it says');
}
is(try($script, '@/nowhere')->{status}, 66, 'one that is not there');

# Handlers that crash, hang, exit; the others go on
for my $case ([ 'crash', 'crashed', qr/killed by SIGSEGV/ ], [ 'exit', 'crashed', qr/exited with/ ], [ 'hang', 'timeout', qr/did not return within 1000 ms/ ]) {
	my ($what, $verdict, $text) = @$case;
	$run = try('--json', '--timeout', 1, $script, lines([ sql => 'select 1' ]), lines([ $what ]), lines([ sql => 'select 3' ]));
	is($run->{status}, 1, "$what: told by the status");
	@out = documents($run);
	is(join(' ', map { $_->{verdict} } @out), "done $verdict done", "$what: costs its message alone");
	like($out[1]{text}, $text, "$what: is told");
	like($out[1]{text}, qr/#\d+ [^ ]*script-handler\.so\+0x/, "$what: with a backtrace through the handler") if $what ne 'exit';
}
like((documents(try('--json', $script, lines([ misuse => 'config' ]))))[0]{text}, qr/^the slot exited with 70 .*: the handler uses its pawl_config when start\(\) has returned/,
	'one that keeps its configuration is told so');
$run = try('--set', 'fail=crash', $script, '');
is($run->{status}, 78, 'one that crashes in start()');
like($run->{err}, qr/could not start: the slot was killed by SIGSEGV: .*#\d+ [^ ]*script-handler\.so\+0x/, 'is told, with a backtrace');
my $stopped = tmp_dir() . '/stopped';
is(try('--set', "stop=$stopped", $script, '')->{status}, 0, 'a handler that is done');
ok(-e $stopped, 'is stopped in order');
$run = try('--set', 'stop=crash', $script, '');
is($run->{status}, 1, 'one that crashes in stop()');
like($run->{out}, qr/: done$/m, 'has done its message');
like($run->{err}, qr/the slot was killed by SIGSEGV in the handler's stop\(\), which has 2 s: SIGSEGV.*; #\d+ /, 'and is told');
is(try('--set', 'fail=fork', $script, '', '')->{status}, 0, 'one that forks in start(): the child has no part in it');
for my $case ([ daemon => qr/could not start: the slot exited with 0/ ], [ close => qr/could not start: the slot exited with 70: the handler closed its slot's socket/ ]) {
	$run = try('--set', "fail=$case->[0]", $script, '');
	is($run->{status}, 78, "one that does $case->[0] in start()");
	like($run->{err}, $case->[1], 'is told');
}
$run = try('--timeout', 1, $script, lines([ 'crash' ]));
like($run->{out}, qr/^try-1: crashed: the slot was killed by SIGSEGV/, 'for people, too');

# Settings, and mistakes
is(try('--set', 'name=x', '--set', 'list.[0].name=y', $script, '')->{status}, 0, 'settings of its own');
$run = try('--set', 'nmae=x', $script, '');
is($run->{status}, 78, 'one that nobody reads');
like($run->{err}, qr/queues\.try\.handlers\.script-handler\.config\.nmae: unknown setting/, 'is named');
is(try('/nowhere.so')->{status}, 64, 'no such handler');
like(try('/nowhere.so')->{err}, qr{could not find handler "/nowhere\.so": No such file}, 'is told');
is(try()->{status}, 64, 'none at all');
is(try('--set', 'x', $script)->{status}, 64, 'a setting without a value');
is(try('-t')->{status}, 64, 'an option without its value');
like(try('sql', '--set', 'x=y')->{err}, qr/handlers\.sql.*config\.x: unknown setting|handlers\.sql: .*statement/, 'an installed one by its name');

# With a configuration the type chooses.
my $config = write_config('pawl.conf', <<'END', script => $script);
broker: { uri = "amqp://localhost/%2f"; };
database: { conninfo = "host=/nowhere"; };
queues: { work: { handlers: {
  one: { type = "One";  use = "{script}";  config: { name = "x"; }; };
  sql: { type = "Sql";  use = "sql";  config: { statement = "insert into t values (:/a, :key)"; }; };
  rest: { type = "Rest";  use = "ignore"; };
}; }; };
END
@out = documents(try('--json', '-c', $config, '-q', 'work', '-t', 'Sql', '{"a": 1.50}'));
is_deeply($out[0]{statements}, [ { text => 'insert into t values ($1, $2)', parameters => [ '1.50', 'try-1' ] } ], 'the sql handler');
is((documents(try('--json', '-c', $config, '-q', 'work', '-t', 'One', '')))[0]{handler}, 'script', 'another type, another handler');
like(try('-c', $config, '-q', 'work', '-t', 'Rest', '')->{out}, qr/ignored/, 'one that is ignored');
like(try('-c', $config, '-q', 'work', '-t', 'Other', '')->{out}, qr/^try-1: reject unknown_type: no handler/, 'a type that nobody takes');
is((documents(try('--json', '-c', $config, '-q', 'work', '-t', 'Other', '')))[0]{code}, 'unknown_type', 'and its code');
is(try('-c', $config, '-q', 'nosuch', '')->{status}, 64, 'no such queue');

# Queries need a database; nothing stays of them.
my $db = migrated_db();
$db->do('create table effects (key text); create table seen (key text, what text, value text)');
for my $kind (qw(reads external)) {
	$run = try('--json', '--set', "kind=$kind", $script, lines([ rows => 'select 1' ]));
	@out = documents($run);
	is("$out[0]{verdict} $out[0]{code}", 'retry no_database', "$kind: without a database");
	@out = documents(try('--json', '-d', $db->conninfo, '--set', "kind=$kind", $script, lines([ sql => 'insert into effects values ($1)', 'k' ], [ rows => 'select count(*) from effects' ])));
	is($out[0]{verdict}, 'done', "$kind: with one") or diag($out[0]{text});
	is_deeply([ map { $_->{parameters}[2] // $_->{parameters}[0] } @{ $out[0]{statements} } ], [ 'k', 1, 1, $kind eq 'reads' ? 1 : 0 ], "$kind: what it sees and does");
	@out = documents(try('--json', '-d', $db->conninfo, '--set', "kind=$kind", $script, lines([ rows => 'select no_such' ]), lines([ rows => 'select 1' ])));
	is(join(' ', map { $_->{verdict} . ($_->{code} ? " $_->{code}" : '') } @out), 'retry sql_42703 done', "$kind: a query that fails");
}
# Statements are prepared with a database, and not without.
sub verdicts { return join(' ', map { $_->{verdict} . ($_->{code} ? " $_->{code}" : '') } documents(@_)) }
for my $kind (qw(effects reads external)) {
	my @messages = map { lines($_) } [ sql => 'insert into effects values ($1)', 'k' ], [ sql => 'insert into effects values ($1)', 'k', 'l' ], [ sql => 'insert into nowhere values (1)' ],
		[ sql => 'insert into nowhere values (1)' ], [ sql => 'insret' ], [ emit => 'a', 'b', 'T', '{}' ], [ sql => 'insert into effects values ($1)', 'k' ];
	$run = try('--json', '-d', $db->conninfo, '--set', "kind=$kind", $script, @messages);
	is(verdicts($run), 'done reject bad_statement retry sql_42P01 retry sql_42P01 reject bad_statement done done', "$kind: mistakes in statements");
	is($run->{status}, 1, "$kind: told by the status");
	like((documents($run))[1]{text}, qr/^the statement has 1 parameters, and 2 were given: insert into effects/, "$kind: and the text") or diag($run->{out});
	is_deeply((documents($run))[2]{statements}, [], "$kind: which does nothing");
	is(verdicts(try('--json', '--set', "kind=$kind", $script, @messages)), join(' ', ('done') x 7), "$kind: unknown without a database");
}
is(verdicts(try('--json', '-d', $db->conninfo, '--set', 'kind=reads', $script, lines([ sql => 'create table made (a int)' ], [ rows => 'select 1' ], [ sql => 'insert into made values (1)' ]))), 'done',
	'reads: a table that it made, before a query');
is($db->value('select (select count(*) from effects) + (select count(*) from seen) + (select count(*) from pawl.inbox)'), 0, 'nothing was done');
{
	my ($host, $port, $user) = map { $db->conninfo =~ /\b$_=(\S+)/ ? $1 : '' } qw(host port user);
	local %ENV = (%ENV, PGHOST => $host, PGPORT => $port, PGUSER => $user, PGDATABASE => $db->name);
	is((documents(try('--json', '-d', '', '--set', 'kind=reads', $script, lines([ rows => 'select 1' ]))))[0]{verdict}, 'done', 'the database of PGHOST, PGDATABASE ...');
}
like(try('-d', 'host=/nowhere', $script, '')->{err}, qr/the database cannot be asked: /, 'a database that is not there');
done_testing;
