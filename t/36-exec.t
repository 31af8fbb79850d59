#!/usr/bin/perl
# The handler "exec": programs that live on and get messages as lines, commands for each message, and what they can do wrong.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Cwd ();
use JSON::PP ();
use Pawl::Slot;

my $db = migrated_db();
$db->do('create table effect (key text); create table said (key text, what text); create table n (t text, j jsonb, b bytea, i numeric, n text)');
my $dir = tmp_dir();
my $program = Cwd::abs_path("$FindBin::Bin/helpers/exec-program");
my ($serial, $id) = (0, 0);
my $exec_so = Pawl::Program::build_dir() . '/handlers/.libs/exec.so';
my $driver = Pawl::Slot->new(conninfo => $db->conninfo);
$driver->allow_log(qr/said something that was not asked for/, qr/which had nothing to do, /, qr/could not start /, qr/lines of the program's stderr were left out/);

sub with	# a slot whose handler has these settings
{
	my (%settings) = @_;
	my $timeout = delete $settings{queue_timeout} // 30000;
	$driver->clear->set(conninfo => $db->conninfo, consumer => 'exec' . ++$serial, timeout_ms => $timeout)->handler(exec => $exec_so, \%settings);
	return $driver->spawn;
}
sub command { my @words = @_; return map { ("command.[$_]" => $words[$_]) } 0 .. $#words }
sub ready { my $slot = with(@_); my $answer = $driver->wait($slot); is($answer->{is}, 'ready', 'a slot') or diag($answer->{text}); return $slot }
sub lines { my ($start, %more) = @_; return ready(command($program, $dir, $start), %more) }
sub end { my ($slot) = @_; $driver->shutdown($slot); $driver->{ended}{$slot} = 1; return }
sub message { my ($type, %more) = @_; return { id => 'm' . ++$id, type => $type, body => '{}', %more } }
sub outcome { my ($o) = @_; return join(' ', grep { $_ } $o->{outcome}, $o->{code}) }
sub pids { return grep { $_ } map { my $file = "$dir/$_"; -e $file ? split(/\n/, read_file($file)) : () } @_ }
sub alive { my ($pid) = @_; return -e "/proc/$pid/stat" && read_file("/proc/$pid/stat") !~ /\) [ZX] / }
sub said { my ($key) = @_; return $db->value("select what from said where key = '$key'") }

# What a program gets
my $slot = lines('plain');
sub line_of
{
	my (%more) = @_;
	my ($o) = $driver->batch($slot, message(Line => %more));
	is($o->{outcome}, 'done', "line of m$id") or diag("$o->{code}: $o->{text}");
	return said("m$id");
}
my $written = '{"a": 12.50, "big": 123456789012345678901234567890, "e": 1E400, "s": "\\u00e9\\/"}';
my $line = line_of(body => $written);
like($line, qr/"body":\Q$written\E\}$/, 'a JSON body as it was written');
my $message = JSON::PP::decode_json($line);
is_deeply([ sort keys %$message ], [ sort qw(n key id type queue exchange routing_key content_type correlation_id reply_to traceparent timestamp_ms attempt attempts timeout_ms headers body) ], 'all members');
is("$message->{key} $message->{id} $message->{type} $message->{n} $message->{attempt} $message->{timeout_ms}", "m$id m$id Line 1 1 27000", 'their values');
like($message->{traceparent}, qr/^00-[0-9a-f]{32}-[0-9a-f]{16}-\d\d$/, 'a child trace');
like(line_of(body => "{\n  \"a\":\r\n [1,\n2]}\n"), qr/"body":\{   "a":   \[1, 2\]\} \}$/, 'a body over several lines is one');
for my $case ([ 'hello "you"', body_text => 'hello "you"' ], [ '', body_text => '' ], [ "\xc3\xa9\n", body_text => "\x{e9}\n" ], [ "a\0b", body_base64 => 'YQBi' ], [ "\xff\xfe", body_base64 => '//4=' ],
	[ '{"a":1,}', body_text => '{"a":1,}' ], [ 'NaN', body_text => 'NaN' ], [ '[' x 65 . ']' x 65, body_text => '[' x 65 . ']' x 65 ], [ ' 12.0 ', body => '12.0' ], [ 'null', body => undef ]) {
	my ($body, $member, $value) = @$case;
	my $text = line_of(body => $body);
	my $m = JSON::PP->new->utf8->allow_nonref->decode($text);
	ok(exists $m->{$member}, "$member for " . ($body =~ s/([^ -~])/sprintf('\\x%02x', ord $1)/ger)) or diag($text);
	is($m->{$member}, $value, 'its value') if $member ne 'body';
	is(scalar(grep { /^body/ } keys %$m), 1, 'and no other');
}
$message = JSON::PP::decode_json(line_of('h.text' => 'a "b"', 'h.bytes' => "\xff\0", 'h.nul' => "a\0b", 'h.empty' => ''));
is_deeply($message->{headers}, { text => 'a "b"', bytes => { base64 => '/wA=' }, nul => { base64 => 'YQBi' }, empty => '' }, 'headers: texts, and bytes');

# What it can answer
sub raw { my ($answer, %more) = @_; my ($o) = $driver->batch($slot, message(Raw => body => $answer, %more)); return $o }
my $o = raw('{"n":N,"verdict":"done","sql":[{"text":"insert into n values ($1, $2, $3, $4, $5)","params":["it\'s \\u00e9",{"a":1.10,"a2":[true]},"\\\\x00ff",12345678901234567890.10,null]},{"text":"update n set n = $1","params":[1e2],"expect":1}]}');
is(outcome($o), 'done', 'parameters of all kinds') or diag($o->{text});
is_deeply([ $db->row('select t, j::text, b::text, i::text, n from n') ], [ "it's \xc3\xa9", '{"a": 1.10, "a2": [true]}', '\\x00ff', '12345678901234567890.10', '1e2' ], 'each digit as it was written');
$o = raw('{"n":N,"verdict":"done","sql":[{"text":"update n set n = 1 where t = $1","params":["nobody"],"expect":1,"otherwise":"reject","code":"no_row"}]}');
is(outcome($o), 'reject no_row', 'an expectation');
is(outcome(raw('{"n":N,"verdict":"done","sql":[{"text":"update n set n = 1 where false","expect":1}]}')), 'retry unexpected_rows', 'its defaults');
is(outcome(raw('{"n":N,"verdict":"done","emit":[{"aggregatetype":"order","aggregateid":17,"type":"Seen","payload":{"total":12.50,"big":123456789012345678901234567890},"headers":{"who":"me","n":1.50},"delay_ms":60000},{"type":"Bare"}]}')), 'done', 'events');
my @event = $db->query(q(select aggregatetype, aggregateid, type, payload::text, headers->>'who', headers->>'n', not_before > now() + interval '50 s' from pawl.outbox order by seq));
is_deeply($event[0], [ 'order', 17, 'Seen', '{"big": 123456789012345678901234567890, "total": 12.50}', 'me', '1.50', 't' ], 'one with all of it');
is_deeply([ @{ $event[1] }[ 0 .. 3 ] ], [ undef, undef, 'Bare', undef ], 'one with its type alone');
$o = raw('{"n":N,"verdict":"reject","code":"no_account","text":"customer \\"7\\" is unknown","sql":[{"text":"insert into effect values (1)"}]}');
is("$o->{outcome} $o->{code} $o->{text}", 'reject no_account customer "7" is unknown', 'a reason');
$o = raw('{"verdict":"snooze","n":N,"again_after_ms":1500,"code":null}');
is("$o->{outcome} $o->{delay_ms}", 'snooze 1500', 'later');
is(outcome(raw('{"n":N,"verdict":"retry"}')), 'retry', 'a verdict alone');
is(outcome(raw('{"n":N,"verdict":"done","log":[{"text":"from the program","level":"debug"},{"text":"and more"}]}')), 'done', 'words for the log');
like($driver->log, qr/level=debug .* handler=exec key=m\d+ attempt=1 msg="from the program"/, 'are there');
is(outcome(raw('{"n":N,"verdict":"done","sql":[{"text":"commit"}]}')), 'reject bad_statement', 'what the ABI refuses');
is(outcome(raw('{"n":N,"verdict":"done","reply":{"body_text":"x"}}')), 'done', 'a reply that nobody waits for');
is($db->value('select count(*) from effect'), 0, 'what was not done has no effect');

# Answers that cannot be used: the message is charged, the next one finds another program.
for my $case (
	[ '{"n":N,"verdict":"done","emits":[]}', qr/the answer has a member "emits", which is unknown/ ],
	[ '{"n":N,"verdict":"done","verdict":"retry"}', qr/the answer has "verdict" twice/ ],
	[ '{"n":N,"verdict":"ok"}', qr/"verdict" is "ok": there are done, retry, snooze and reject/ ],
	[ '{"n":N}', qr/the answer has no "verdict"/ ],
	[ '{"verdict":"done"}', qr/the answer has no "n"/ ],
	[ '{"n":99,"verdict":"done"}', qr/the answer is for message 99, and message \d+ was asked/ ],
	[ '{"n":"N","verdict":"done"}', qr/the answer is for message "\d+", and message \d+ was asked/ ],
	[ '{"n":N,"verdict":"done"} x', qr/at byte \d+/ ],
	[ '[N]', qr/it is no object/ ],
	[ '', qr/at byte 0/ ],
	[ "{\"n\":N,\"verdict\":\"done\",\"text\":\"\xff\"}", qr/UTF-8|at byte/ ],
	[ '{"n":N,"verdict":"done","sql":{"text":"select 1"}}', qr/"sql" is no list/ ],
	[ '{"n":N,"verdict":"done","sql":[{"text":"select $1","params":["a\\u0000b"]}]}', qr/"params" holds a NUL/ ],
	[ '{"n":N,"verdict":"done","sql":[{"text":"select 1","code":"x"}]}', qr/"code" or "otherwise" without "expect"/ ],
	[ '{"n":N,"verdict":"done","sql":[{"text":"select 1","expect":1.5}]}', qr/"expect" is no whole number/ ],
	[ '{"n":N,"verdict":"done","emit":[{"payload":1}]}', qr/an event has no "type"/ ],
	[ '{"n":N,"verdict":"done","last":1}', qr/"last" is neither true nor false/ ],
	[ '{"n":N,"verdict":"done","reply":{}}', qr/the reply has not one of/ ],
	[ '{"n":N,"verdict":"done","log":[{"text":"x","level":"loud"}]}', qr/"level" is "loud"/ ],
	[ '{"n":N,"verdict":"done","text":' . '[' x 70 . ']' x 70 . '}', qr/at byte \d+/ ],
) {
	my ($answer, $text) = @$case;
	my @two = $driver->batch($slot, message(Raw => body => $answer), message('Good'));
	is(outcome($two[0]), 'retry exec_protocol', 'refused: ' . substr($answer, 0, 70)) or diag($two[0]{text});
	like($two[0]{text}, $text, 'with a reason');
	is(outcome($two[1]), 'done', 'and the next message is done') or diag($two[1]{text});
}

# A program that does other things than to answer
end($slot);
my $patience = 1000 * Pawl::Process::slow_factor();
$slot = lines('plain', timeout => "${patience}ms", max_line => '64KiB');
for my $case (
	[ Segv => 'exec_crashed', qr/^the program \(pid \d+\) was killed by SIGSEGV.*; it said: the last words$/ ],
	[ Exit => 'exec_crashed', qr/exited with 3; it said: cannot go on$/ ],
	[ Close => 'exec_crashed', qr/closed its stdout and had to be killed/ ],
	[ Half => 'exec_crashed', qr/^the program \(pid \d+\) was killed by SIGSEGV[^;]*; in the middle of a line: \{"n":\d+,"ver$/ ],
	[ Hang => 'exec_timeout', qr/did not answer within $patience ms and was killed/ ],
	[ Regroup => 'exec_timeout', qr/did not answer within $patience ms and was killed/ ],
	[ Deaf => 'exec_timeout', qr/did not answer within $patience ms and was killed/ ],
	[ Babble => 'exec_protocol', qr/is stdout for answers only\?.*Loading the model/ ],
	[ Endless => 'exec_protocol', qr/longer than max_line/ ],
	[ Binary => 'exec_crashed', qr/exited with 2; it said: \?\?caf\xc3\xa9$/ ],
	[ Two => 'exec_protocol', qr/said more than one line/ ],
	[ Heir => 'exec_crashed', qr/^the program \(pid \d+\) was killed by SIGSEGV/ ],
) {
	my ($type, $code, $text) = @$case;
	my @out = $driver->batch($slot, (map { message('Good') } 1 .. 3), message($type), map { message('Good') } 1 .. 3);
	is(join(' ', map { outcome($_) } @out), "done done done retry $code done done done", "$type: costs its message alone");
	like($out[3]{text}, $text, "$type: is told");
}
my @words = $driver->batch($slot, message('Warn'), message('Hang'), message('Good'));
is($words[1]{text} =~ s/^the program \(pid \d+\) //r, "did not answer within $patience ms and was killed", 'what it said about another message is not quoted');
is($db->value('select count(*) - count(distinct key) from effect'), 0, 'nothing was done twice');
sub descriptors { return scalar(() = glob('/proc/' . $driver->pid($slot) . '/fd/*')) }
my $open = descriptors();
my @fails = $driver->batch($slot, message('Good'), map { message('Segv') } 1 .. 6);
is(join(' ', map { outcome($_) } @fails[ 0 .. 3 ]), 'done retry exec_crashed retry exec_crashed snooze exec_start', 'failures in a row are throttled: the next one waits, uncharged');
cmp_ok($fails[3]{delay_ms}, '>=', 100, 'some time');
wait_for { outcome($driver->batch($slot, message('Good'))) eq 'done' } 'then there is a program again';
is(descriptors(), $open, 'and no descriptor is left open');
ok(!(grep { alive($_) } pids(qw(hangs grandchild deaf heir))), 'who was killed is gone, with its children');
is(outcome($driver->batch($slot, message('Stray'))), 'done', 'an answer, then more');
wait_for { -e "$dir/stray" } 'it said more';
is(outcome($driver->batch($slot, message('Good'))), 'done', 'the next message is not charged');
like($driver->log, qr/said something that was not asked for, and is killed \(exec_protocol\): \{\\?"more\\?":1\}/, 'the log tells it');
is(outcome($driver->batch($slot, message('Leave'))), 'done', 'a program that leaves when it has answered');
wait_for { my $pid = (pids('left'))[-1]; $pid && !alive($pid) } 'it has left';
is(outcome($driver->batch($slot, message('Good'))), 'done', 'is started again');
my $started = () = pids('pids');
is(join(' ', map { outcome($_) } $driver->batch($slot, message('Last'), message('Good'), message('Good'))), 'done done done', 'the last answer of a program');
ok(-e "$dir/last-ended", 'it ends in order');
is(scalar(() = pids('pids')), $started + 1, 'and the next message finds another one');
is(outcome($driver->batch($slot, message('Noise'))), 'done', 'ten thousand lines on stderr');
my $noise = () = $driver->log =~ /stderr: noise \d+"/g;
cmp_ok($noise, '<=', 300, 'not all of them are in the log');
cmp_ok($noise, '>=', 1, 'but some');
end($slot);
ok(-e "$dir/ended", 'at the end it reads the end of its stdin');
ok(!(grep { alive($_) } pids('pids')), 'and no program is left');
$slot = lines('plain', queue_timeout => 1500);
($o) = $driver->batch($slot, message('Linger'));
is(outcome($o), 'done', 'a last answer, and a program that does not end');
cmp_ok($o->{handle_us}, '<', 1_900_000, 'is not waited for until the slot would be killed');
end($slot);

# Large bodies, and programs that do not read
{
	my $large = '"' . 'x' x (10 << 20) . '"';
	$slot = lines('plain');
	is(outcome($driver->batch($slot, message(Good => body => $large))), 'done', 'a body of 10 MB');
	end($slot);
	$slot = lines('blind', timeout => '500ms');
	is(outcome($driver->batch($slot, message(Good => body => $large))), 'retry exec_timeout', 'a program that does not read it');
	end($slot);
	$slot = lines('early', timeout => '5s');
	$o = ($driver->batch($slot, message(Good => body => $large)))[0];
	is(outcome($o), 'retry exec_protocol', 'one that answers before it has read');
	like($o->{text}, qr/answered before it had read the message/, 'is told');
	end($slot);
}

# A program that cannot be started is nobody's fault: messages wait, longer each time.
for my $case ([ exit => qr/it exited with 4/ ], [ mute => qr/did not say that it is ready in time/ ], [ babble => qr/its first line is not .*hello there/ ], [ newer => qr/speaks protocol 2, and this is 1/ ],
	[ refuse => qr/it is not ready: there is no model/ ], [ member => qr/has a member "color"/ ]) {
	my ($start, $text) = @$case;
	$slot = lines($start, $start eq 'mute' ? (start_timeout => '300ms') : ());
	my @out = $driver->batch($slot, message('Good'), message('Good'));
	is(join(' ', map { outcome($_) } @out), 'snooze exec_start snooze exec_start', "$start: messages wait");
	like($out[0]{text}, $text, "$start: is told");
	cmp_ok($out[1]{delay_ms}, '>=', 100, "$start: it is not started for each message");
	end($slot);
}

# Settings
my $token = write_file('token', "s3cret\n");
chmod(0600, $token);
$slot = lines('plain', directory => $dir, 'environment.GIVEN' => 'a b', 'environment_files.SECRET' => $token);
is(outcome($driver->batch($slot, message('Env'))), 'done', 'environment and directory');
is(said('env'), "a b s3cret $dir", 'are its own');
unlike($driver->log, qr/s3cret/, 'and not in the log');
end($slot);
write_file('text', "no program\n");
chmod(0777, write_file('open', "#!/bin/sh\n"));
for my $case (
	[ {}, qr/has no command/ ], [ { command => 'ls -l' }, qr/config\.command: is a list/ ], [ { command('/nowhere/x') }, qr/command\.\[0\]: cannot run "\/nowhere\/x": No such file/ ],
	[ { command("$dir/text") }, qr/is not executable: run chmod \+x/ ], [ { command("$dir/open") }, qr/can be written by everybody: run chmod o-w/ ], [ { command($dir) }, qr/is no regular file/ ], [ { command('./x') }, qr/is relative/ ],
	[ { command('no-such-program') }, qr/there is no program "no-such-program" in PATH/ ], [ { command('sh'), directory => '/nowhere' }, qr/directory: could not find/ ],
	[ { command('sh'), mode => 'often' }, qr/mode: is "lines" or "once"/ ], [ { command('sh'), kind => 'reads' }, qr/kind: is "effects" or "external"/ ],
	[ { command('sh'), kind => 'effects', mode => 'once' }, qr/kind: is "external" with/ ], [ { command('sh'), max_line => '1GiB' }, qr/max_line: is a size/ ],
	[ { command('sh'), timeout => '0s' }, qr/timeout: is more than 0/ ], [ { command('sh'), tmeout => '1s' }, qr/tmeout: unknown setting/ ],
	[ { command('sh'), 'watch_files.[0]' => '/nowhere' }, qr/watch_files\.\[0\]: could not find "\/nowhere"/ ],
	[ { command('sh'), 'environment_files.X' => '/nowhere' }, qr/environment_files\.X: could not open/ ],
) {
	my ($settings, $text) = @$case;
	my $slot = with(%$settings);
	my $answer = $driver->wait($slot);
	is($answer->{is}, 'refused', 'refused');
	like($answer->{text}, $text, 'with a reason');
	$driver->wait_until($slot, 'closed');
	$driver->{ended}{$slot} = 1;
}

# mode = "once"
sub once
{
	my ($script, %more) = @_;
	$slot = ready(command('sh', '-c', $script), mode => 'once', $script =~ /; sleep/ ? (timeout => '500ms') : ());
	my ($o) = $driver->batch($slot, message(T => %more));
	end($slot);
	return $o;
}
for my $case (
	[ 'exit 0', 'done', qr/^$/ ], [ 'echo busy >&2; exit 75', 'retry exec_retry', qr/^busy$/ ], [ 'echo first >&2; echo wrong >&2; exit 65', 'reject exec_reject', qr/^wrong$/ ],
	[ 'echo oops >&2; exit 3', 'retry exec_failed', qr/^the command exited with 3: oops$/ ], [ 'exit 1', 'retry exec_failed', qr/^the command exited with 1$/ ], [ 'exit 65', 'reject exec_reject', qr/^exited with 65$/ ],
	[ 'kill -SEGV $$', 'retry exec_crashed', qr/^the command was killed by SIGSEGV/ ], [ "echo \$\$ >>$dir/once; sleep 1000", 'retry exec_timeout', qr/did not end within 500 ms/ ],
	[ "sleep 1000 & echo \$! >>$dir/once", 'done', qr/^$/ ], [ 'exec <&-; exit 0', 'done', qr/^$/, body => 'x' x 1000000 ], [ 'test $(wc -c) = 1000000', 'done', qr/^$/, body => 'x' x 1000000 ],
	[ 'cat; test "$PAWL_KEY/$PAWL_ID/$PAWL_TYPE/$PAWL_ATTEMPT/$PAWL_HEADER_X_WHO" = "m' . ($id + 12) . '/m' . ($id + 12) . '/T/1/a b"', 'done', qr/^$/, 'h.x-who' => 'a b' ],
	[ 'exit 0', 'reject exec_environment', qr/headers are too large for environment variables: use mode = "lines"/, 'h.large' => 'x' x 200000 ],
	[ 'test "${TRACEPARENT%%-*}" = 00', 'done', qr/^$/ ], [ 'test -z "${PAWL_HEADER_BYTES+set}"', 'done', qr/^$/, 'h.bytes' => "\0" ],
) {
	my ($script, $is, $text, %more) = @$case;
	$o = once($script, %more);
	is(outcome($o), $is, "once: $script") or diag($o->{text});
	like($o->{text}, $text, 'its text');
}
ok(!(grep { alive($_) } pids('once')), 'no command is left');

# kind = "external"
$slot = with(command($program, $dir, 'plain'), kind => 'external');
is($driver->wait($slot)->{handlers}[0]{kind}, 2, 'EXTERNAL');
my $twice = message('Good');
is(join(' ', map { outcome($_) } $driver->batch($slot, $twice, $twice)), 'done duplicate', 'acts once');
is($db->value("select count(*) from effect where key = '$twice->{id}'"), 1, 'and its effects are there');
end($slot);
$driver->finish;

# pawlctl try, pawlctl check
my $run = run_program('pawlctl', 'try', '--json', '-s', "command.[0]=$program", '-s', "command.[1]=$dir", '-t', 'Good', '--id', 'tried', 'exec', '{}');
is($run->{status}, 0, 'pawlctl try') or diag($run->{err});
my $tried = JSON::PP::decode_json($run->{out});
is("$tried->{verdict} $tried->{statements}[0]{parameters}[0] $tried->{events}[0]{type}", 'done tried Done', 'shows what it would do');
my $vhost = new_vhost();
sub config
{
	my ($settings, $more) = @_;
	return write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => $dir, settings => $settings, more => $more // '');
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  work: {
    slots = 2;  batch = 250;  {more}
    handlers: { all: { type = "*";  use = "exec";
      config: { {settings} };
    }; };
  };
};
END
}
$run = run_program('pawlctl', 'check', '-c', config(qq(command = [ "./text" ];  directory = ".";)));
is($run->{status}, 78, 'pawlctl check');
like($run->{err}, qr{^\Q$dir/pawl.conf:8: queues.work.handlers.all.config.command.[0]: cannot run "$dir/text": it is not executable\E}m, 'finds the program beside the configuration');

# A worker, and a program that is killed in the middle of a batch.
unlink(glob("$dir/{pids,killed}"));
write_file('watched', 'one');
my $config = config(qq(command = [ "$program", "$dir" ];  watch_files = [ "watched" ];));
my $worker = start_program('pawl-worker', '-c', $config);
$worker->allow_log(qr/becomes a dead letter/);
wait_consumer($vhost, 'work');
for my $i (1 .. 200) {
	$vhost->amqp->publish(routing_key => 'work', type => $i == 100 ? 'KillOnce' : 'Good', message_id => "w$i", body => "{\"i\": $i}", headers => { aggregateid => $i % 5 });
}
$vhost->amqp->confirm;
sub effects { return $db->value(q(select count(*) from effect where key like 'w%')) }
wait_for { effects() >= 199 } '199 effects';
# Without retries it is a dead letter, which is published again with its own id and type.
my $letter;
wait_for { effects() == 200 || ($letter = $vhost->get('work.dead')) } 'and the one whose program was killed';
if ($letter) {
	is("$letter->{message_id} $letter->{headers}{'x-pawl-reason'}", 'w100 exec_crashed', 'a dead letter');
	like($letter->{headers}{'x-pawl-text'}, qr/killed by SIGKILL/, 'which says why');
	$vhost->amqp->publish(routing_key => 'work', type => $letter->{type}, message_id => 'w100', body => $letter->{body});
	$vhost->amqp->confirm;
}
wait_for { effects() == 200 } '200 effects';
wait_settled($config, $vhost, 'work');
is(effects() . ' ' . $db->value(q(select count(distinct key) from effect where key like 'w%')), '200 200', 'each once');
is($db->value(q(select count(*) || ' ' || count(distinct aggregateid) from pawl.outbox where aggregateid like 'w%')), '200 200', 'and each event');

# Headers as the broker has them.
$vhost->amqp->publish(routing_key => 'work', type => 'Line', message_id => 'types', body => '{}', correlation_id => 'c1', reply_to => 'r1', content_type => 'application/json', timestamp => 1700000000,
	headers => { text => "h\xc3\xa9", int => [ 'I', -5 ], big => [ 'l', 9007199254740993 ], bool => [ 't', 1 ], real => [ 'd', 12.5 ], list => [ 'A', [ 'a', [ 'I', 2 ] ] ], table => { k => 'v' },
		bytes => [ 'x', "\xff\0" ], time => [ 'T', 1700000000 ], void => [ 'V' ] });
$vhost->amqp->confirm;
wait_for { said('types') } 'a message with headers of all types';
my $types = JSON::PP::decode_json(said('types'));
is_deeply($types->{headers}, { text => "h\x{e9}", int => '-5', big => '9007199254740993', bool => 'true', real => '12.5', list => '["a",2]', table => '{"k":"v"}', bytes => { base64 => '/wA=' }, time => '1700000000' },
	'each is a text as pawl_header() gives it, or bytes');
is("@$types{qw(correlation_id reply_to content_type timestamp_ms queue routing_key exchange)}", 'c1 r1 application/json 1700000000000 work work ', 'the properties');

# A reply
$vhost->amqp->declare_queue('answers');
$vhost->amqp->publish(routing_key => 'work', type => 'Reply', message_id => 'q1', body => '{}', reply_to => 'answers', correlation_id => 'c7');
$vhost->amqp->confirm;
my $reply;
wait_for { $reply = $vhost->get('answers') } 'a reply';
is("$reply->{correlation_id} $reply->{content_type} $reply->{body}", 'c7 application/json {"total": 12.50}', 'as it was written');

# A slot is killed: its program goes with it.
# The runner may see the program before the kernel has ended it.
$worker->allow_log(qr/slot \d \(pid \d+\) was killed by SIGKILL/, qr/left behind by a handler of a slot that has ended/);
my ($victim) = grep { alive($_) } pids('pids');
kill('KILL', read_file("/proc/$victim/status") =~ /^PPid:\s*(\d+)/m);
wait_for { !alive($victim) } 'a slot is killed, and its program is gone';

# A file of the program changes.
my @before = grep { alive($_) } pids('pids');
write_file('watched', 'two');
$worker->signal('HUP');
wait_for { !grep { alive($_) } @before } 'a reload starts the programs anew';
wait_consumer($vhost, 'work');
$vhost->amqp->publish(routing_key => 'work', type => 'Line', message_id => 'anew', body => '{}');
$vhost->amqp->confirm;
wait_for { said('anew') } 'a message after that';

# The worker is killed: nothing lives on.
my @pids = grep { alive($_) } pids('pids');
cmp_ok(scalar(@pids), '>=', 1, 'programs run');
$worker->{sent}{KILL} = 1;
kill('KILL', $worker->pid);
wait_for { !grep { alive($_) } @pids } 'the worker is killed, and no program is left';
done_testing;
