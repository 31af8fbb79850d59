#!/usr/bin/perl
# The configuration's errors: all at once, in the order of the file, each with file, line, path, and what to do. Hostile files.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Cwd ();
use Time::HiRes ();

Pawl::Program::build_dir();
chdir(tmp_dir()) or die;
delete $ENV{$_} for qw(PAWL_NOT_SET RUNTIME_DIRECTORY CREDENTIALS_DIRECTORY);
my $top = 'broker: { uri = "amqp://u:geheim@h"; };';

sub errors_of
{
	my ($text, $option) = @_;
	write_file('x.conf', $text);
	my $run = run_program($option // {}, 'pawlctl', 'check', '-c', 'x.conf');
	unlike($run->{err}, qr/geheim/, 'no password in an error');
	return ($run->{status}, split(/\n/, $run->{err}));
}

# Exactly these lines, without "x.conf:" in front.
sub wrong
{
	my ($name, $text, @expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $option = ref $expected[0] ? shift @expected : {};
	my ($status, @lines) = errors_of($text, $option);
	is_deeply(\@lines, [ map { /^[\w.\/-]+\.inc:/ ? $_ : "x.conf:$_" } @expected ], $name) or diag(map { "  $_\n" } @lines);
	is($status, 78, "$name: 78");
	return;
}

# A file in which everything is wrong: one run tells it all.
wrong('all errors at once', <<'END',
name = "a b";
broker: {
  uri = "http://u:geheim@h";
  password = "geheim";
  heartbeat = "1500ms";
  ca_file = "/nonexistent/ca.pem";
  cert_file = "x.conf";
};
defaults: {
  timeout = 30;
  queue = "x";
  retry: { attempts = 0; delays = [ "1s", "5x", "30" ]; };
};
queues: {
  view: {
    slot = 2;
    slots = 65;
    batch = "20";
    prefetch = 5000000000;
    declare = "no";
    max_body = "16MB";
    memory_limit = "1KiB";
    key = "json:x";
    order = "aggregate";
    dedup = "redis";
    aggregate = "message_id";
    queue = "amq.x";
    bind = (
      { exchange = ""; key = "#"; },
      { exchange = "x"; kind = "fanout" },
      { exchange = "y" },
      5
    );
    handlers: {
      placed: { type = [ "A", "B" ]; use = "./x.so"; };
      again:  { type = "B"; use = "nosuch"; };
      rest:   { use = "ignore"; config: { x = 1; }; };
    };
  };
  two: { queue = "q"; conninfo = "${PAWL_NOT_SET}"; handlers: { }; uri = "x"; };
  three: 5;
  four: { queue = "q"; conninfo = ""; handlers: { h: { type = "*"; use = "ignore"; }; }; };
};
outboxes: {
  o: { unroutable = "throw"; window = -1; poll_min = "9999999999999999d"; exchange = "{header:}"; };
};
quues: { };
END
	'1: name: "a b": a name is made of letters, digits, \'_\', \'.\' and \'-\'',
	'2: broker.key_file: is missing: cert_file and key_file belong together',
	'3: broker.uri: broker URI does not start with amqp:// or amqps://',
	'4: broker.password: unknown key; did you mean "password_file"?',
	'5: broker.heartbeat: must be whole seconds',
	'6: broker.ca_file: could not read "/nonexistent/ca.pem": No such file or directory',
	'10: defaults.timeout: must be a duration in quotes, such as "30s", is the number 30; write "30s"',
	'11: defaults.queue: each queue must say this itself; it cannot be in defaults',
	'12: defaults.retry.attempts: must be 1 to 1000, not 0',
	'12: defaults.retry.delays.[1]: "5x" is no number with one of the units ms s m h d; write it like "30s"',
	'12: defaults.retry.delays.[2]: "30" has no unit; write it like "30s"',
	'15: queues.view.conninfo: is missing, and so is database.conninfo: keys and effects need a database',
	'16: queues.view.slot: unknown key; did you mean "slots"?',
	'17: queues.view.slots: must be 1 to 64, not 65',
	'18: queues.view.batch: must be a whole number, without quotes, is a text; take the quotes away',
	'19: queues.view.prefetch: must be 1 to 65535, not 5000000000',
	'20: queues.view.declare: must be true or false, without quotes, is a text',
	'21: queues.view.max_body: "16MB" has an unknown unit; write "16MiB"',
	'22: queues.view.memory_limit: must be 64MiB to 1024GiB or none, not "1KiB"',
	'23: queues.view.key: "json:x": must be "message_id", "header:NAME" or "json:/pointer"',
	'24: queues.view.order: "aggregate" is not supported by this version; only "none" is',
	'25: queues.view.dedup: must be "postgres" or "none", not "redis"',
	'26: queues.view.aggregate: "message_id": must be "routing_key" or "header:NAME"',
	'27: queues.view.queue: "amq.x": names that begin with "amq." belong to the broker; choose another one',
	'29: queues.view.bind.[0].exchange: "": the default exchange has no bindings: every queue gets what is published to "" with its name as routing key; leave the bind out',
	'31: queues.view.bind.[2].key: is missing: a topic exchange delivers by it; "#" is everything',
	'32: queues.view.bind.[3]: must be a group: { ... }, is the number 5',
	'35: queues.view.handlers.placed.use: could not read "' . Cwd::getcwd() . '/./x.so": No such file or directory',
	'36: queues.view.handlers.again.use: there is no handler "nosuch" (looked for "' . { Pawl::Program::environment() }->{PAWL_HANDLERDIR} .
	    '/nosuch.so": No such file or directory); a file of your own has a \'/\' in its name, like "./nosuch.so"',
	'36: queues.view.handlers.again.type: "B" is of handler "placed" already (line 35)',
	'37: queues.view.handlers.rest.type: is missing: message type, or a list of them; "*" is all that no other handler of the queue has',
	'37: queues.view.handlers.rest.use: "ignore" has no settings; take the config away',
	'40: queues.two.uri: unknown key here; there is broker.uri',
	'40: queues.two.conninfo: the environment variable PAWL_NOT_SET is not set',
	'40: queues.two.handlers: is empty; it needs at least one group',
	'41: queues.three: must be a group: three: { ... };',
	'42: queues.four.queue: "q" is consumed by "two" already (line 40); bind a queue of its own for each',
	'45: outboxes.o.exchange: "{header:}": braces without a name; write {COLUMN} or {header:NAME}, and {{ for a brace',
	'45: outboxes.o.unroutable: must be "hold", "park" or "drop", not "throw"',
	'45: outboxes.o.window: must be 1 to 10000, not -1',
	'45: outboxes.o.poll_min: "9999999999999999d" is too large',
	'45: outboxes.o.conninfo: is missing, and so is database.conninfo: where is the outbox?',
	'47: quues: unknown key; did you mean "queues"?');

wrong('an empty file', '', ' broker: is missing: where RabbitMQ is, and how to log in');
{
	my $long = '/nonexistent/' . 'x' x 100 . '/h.so';
	wrong('a long path is told whole', qq(broker: { uri = "amqp://h"; };\ndatabase: { conninfo = ""; };\nqueues: { a: { handlers: { h: { type = "*"; use = "$long"; }; }; }; };),
		qq(3: queues.a.handlers.h.use: could not read "$long": No such file or directory));
}
wrong('broker without uri', 'broker: { };',
	'1: broker.uri: is missing: where it is: amqp[s]://USER[:PASSWORD]@HOST[:PORT][/VHOST]; the virtual host "/" is written %2f');
wrong('two ways to say where', 'broker: { uri = "amqp://h"; uris = [ "amqp://i" ]; };', '1: broker.uris: uri is set as well; only one of the two can be');
wrong('a secret of a wrong form is not shown', 'broker: { uris = [ "amqp://a", "geheim" ]; };',
	'1: broker.uris.[1]: broker URI does not start with amqp:// or amqps://');
wrong('a timeout that the broker cuts short', "$top\ndatabase: { conninfo = \"\" };\nqueues: { a: { timeout = \"30m\"; handlers: { h: { type = \"*\"; use = \"ignore\" } } } };",
	'3: queues.a.timeout: 30m is not shorter than consumer_timeout, 30m, after which the broker takes the message back');
wrong('a variable that is not set is said once', "$top\ndatabase: { conninfo = \"\${PAWL_NOT_SET}\"; };\nqueues: { a: { handlers: { h: { type = \"*\"; use = \"ignore\" } } } };\n" .
	'outboxes: { o: { exchange = "e"; }; };', '2: database.conninfo: the environment variable PAWL_NOT_SET is not set');
wrong('an expansion where there is none', "$top\nname = \"\${HOME}\";",
	'2: name: ${NAME} is not expanded here; it is in uri, uris, conninfo and the names of files');
wrong('types, one by one', "$top\nqueues = 5;\ndefaults = [ ];\nlog: { level = 3; };\noutboxes: { o: { exchange = ( ); }; };",
	'2: queues: must be a group of named groups: { NAME: { ... }; }, is the number 5',
	'3: defaults: must be a group: { ... }, is an empty list',
	'4: log.level: must be a word in quotes, is the number 3',
	'5: outboxes.o.exchange: must be a text in quotes, is an empty list',
	'5: outboxes.o.conninfo: is missing, and so is database.conninfo: where is the outbox?');
wrong('durations of all kinds', "$top\n" . 'database: { conninfo = "x"; };' . "\noutboxes: { o: { exchange = \"e\";\npoll_min = \"10 ms\";\npoll_max = \"1.5s\"; };\n" .
	"p: { exchange = \"e\"; table = \"t\";\npoll_min = \"-1s\";\npoll_max = \"2min\"; };\nq: { exchange = \"e\"; table = \"u\";\npoll_min = \"1s\"; poll_max = \"1ms\"; }; };",
	'4: outboxes.o.poll_min: "10 ms" is no number with one of the units ms s m h d; write it like "30s"',
	'5: outboxes.o.poll_max: "1.5s" is no number with one of the units ms s m h d; write it like "30s"',
	'7: outboxes.p.poll_min: "-1s" is no whole number with a unit; write it like "30s"',
	'8: outboxes.p.poll_max: "2min" has an unknown unit; write "2m"',
	'10: outboxes.q.poll_min: 1s is longer than poll_max, 1ms');
wrong('one table, two outboxes', "$top\n" . 'database: { conninfo = "dbname=x"; };' . "\noutboxes: { o: { exchange = \"e\"; };\np: { exchange = \"f\"; }; };",
	'4: outboxes.p.table: "pawl.outbox" of the same database is outbox "o" already (line 3)');

# Lines of elements, of included files, and of what is missing from them.
write_file('broker.inc', 'heartbeat = "1x";');
mkdir('sub');
write_file('sub/queues.inc', "view: {\n  slots = 0;\n\@include \"handlers.inc\"\n nonsense = 1;\n};");
write_file('sub/handlers.inc', "handlers: {\r\n  x: { type = \"a\";\r\n use = \"./x.so\"; };\r\n };\r\n");
wrong('each file has its own lines', <<'END',
broker: { uri = "amqp://h";
@include "broker.inc"
 bad = 1; };
database: { conninfo = "" };
queues: {
  @include "sub/queues.inc"   # relative to this file
};
defaults: { retry: { delays = [
   "1s"
   , "5x",
   "7y", # the last one
   ]; };
   timeout =
     "3x";
};
END
	'3: broker.bad: unknown key',
	'10: defaults.retry.delays.[1]: "5x" is no number with one of the units ms s m h d; write it like "30s"',
	'11: defaults.retry.delays.[2]: "7y" is no number with one of the units ms s m h d; write it like "30s"',
	'13: defaults.timeout: "3x" is no number with one of the units ms s m h d; write it like "30s"',
	'broker.inc:1: broker.heartbeat: "1x" is no number with one of the units ms s m h d; write it like "30s"',
	'sub/queues.inc:2: queues.view.slots: must be 1 to 64, not 0',
	'sub/queues.inc:4: queues.view.nonsense: unknown key',
	'sub/handlers.inc:3: queues.view.handlers.x.use: could not read "' . Cwd::getcwd() . '/./x.so": No such file or directory');

# Syntax: one error, with what is likely.
my @syntax = (
	"broker: { uri = \"amqp://h;\n password_file = \"/x\"; };" => '1: syntax error: the text that begins on this line goes on over its end; is a closing \'"\' missing?',
	'broker: { uri = "amqp://h; };' => '1: syntax error: the text that begins on this line does not end; a closing \'"\' is missing',
	"a = \"one\n  two\";\nb = ;" => '3: syntax error: the value of "b" is missing',
	"a = \"one\n  two\" \"three\nfour\";\nb = \"x;\nc = \"\";\nd = \"e\";" => '4: syntax error: the text that begins on this line goes on over its end; is a closing \'"\' missing?',
	"/* a\n*/ a = 1; /* b\n" => '2: syntax error: the comment that begins here does not end; a "*/" is missing',
	'broker: { uri = amqp; };' => '1: syntax error: the value of "uri" needs quotes',
	'a: { timeout = 30s; };' => '1: syntax error: the value of "timeout" needs quotes, like "30s"',
	'a: { timeout = 30 s };' => '1: syntax error: the value of "timeout" needs quotes, like "30s"',
	'broker: { uri = "x" };;' => '1: syntax error: a \';\' too many',
	'broker { uri = "x" };' => '1: syntax error: \':\' is missing between "broker" and \'{\'',
	'broker: { uri "geheim" };' => '1: syntax error: \'=\' is missing behind "uri"',
	"broker: {\n uri = \"x\";\n\n" => '1: syntax error: this \'{\' is not closed: a \'}\' is missing before the end of the file',
	"broker: { uri = \"x\"; };\n};" => '2: syntax error: this \'}\' closes nothing; there is one too many, or an opening one is missing before it',
	'queues: { orders.view: { }; };' => '1: syntax error: a name before \'=\' or \':\' has no \'.\'; use \'-\' or \'_\' in it (of a queue: and say queue = "...")',
	'queues: { "view": { }; };' => '1: syntax error: a text where the name of a setting must come; names are written without quotes',
	'bind = ( { a = 1 } { a = 2 } );' => '1: syntax error: a \',\' is missing before \'{\'',
	'bind = ( exchange = "x" );' => '1: syntax error: a setting in a list needs braces: ( { exchange = ... } )',
	'bind = [ { a = 1 } ];' => '1: syntax error: \'{\' between \'[\' and \']\', which hold plain values only; a list of groups is ( { ... }, { ... } )',
	'type = [ "a", , "b" ];' => '1: syntax error: a \',\' too many in a list',
	"type = [ \"a\",\n \"b\" ; };" => '2: syntax error: \';\' in the list that begins on line 1; is its \']\' missing before?',
	"a: (\n { b = 1; );" => '2: syntax error: \')\' where \'}\' must come, which closes the \'{\' of line 2',
	'type = [ a ];' => '1: syntax error: an element of a list needs quotes, or braces if it is a group',
	'type = [ 1, "a" ];' => '1: syntax error: the elements between \'[\' and \']\' must all be of one kind: all texts, or all numbers',
	"a = 1;\nb = 2;\na = 3;" => '3: syntax error: "a" is set twice in the same group',
	'a = ;' => '1: syntax error: the value of "a" is missing',
	'a == 1;' => '1: syntax error: a \'=\' too many behind "a"',
	'= 1;' => '1: syntax error: a name is missing before \'=\'',
	"a = 1;\n%" => '2: syntax error: "%" where the name of a setting must come; a setting is NAME = VALUE;',
	'a = 1; @include "x"' => '1: syntax error: "@" where the name of a setting must come; a setting is NAME = VALUE;',
	'{ a = 1; }' => '1: syntax error: a name and \':\' are missing before \'{\'',
);
while (my ($text, $error) = splice(@syntax, 0, 2)) {
	wrong("syntax: $error", $text, $error);
}

# What is no error. libconfig 1.5 has another opinion of the commas and of the long number.
wrong('commas at the end, no semicolons, several texts in one, a byte order mark',
	"\xef\xbb\xbf" . 'broker: { uri = "amqp://" "h" } defaults: { retry: { delays = ( "1s", "2s", ), attempts = 5000000000 }, }',
	'1: defaults.retry.attempts: must be 1 to 1000, not 5000000000');

# Hostile files.
my ($long) = ('x' x 1_000_000);
wrong('a text of a million characters', "$top\nname = \"$long\";", '2: name: is longer than 63 bytes');
wrong('control characters and a long value', "$top\nlog: { level = \"\e[31m\\x07" . ('y' x 200) . '"; };',
	'2: log.level: must be "error", "warning", "info" or "debug", not "\x1b[31m\x07' . ('y' x 54) . '"...');
wrong('a NUL byte', "$top\n\0", '2: a NUL byte: this is no text file');
wrong('an escaped NUL byte', "$top\nname = \"a\\x00b\";", '2: a text cannot hold a NUL byte (\x00)');
wrong('a number beyond all', "$top\na = 99999999999999999999;", '2: the number 99999999999999999999 is too large');
wrong('brackets without end', 'a = ' . '(' x 100_000, '1: groups and lists are nested deeper than 32 times');
wrong('too many settings', join("\n", map { "a$_ = 1;" } 1 .. 20001), '20001: more than 20000 settings');
wrong('5 MB', '#' x 5_000_000, ' configuration file is too large: all files together may have 4 MiB');
wrong('a file that includes itself', "\n\@include \"x.conf\"", '2: included file "x.conf" includes itself, here or through others');
wrong('an included file that is not there', '@include "nosuch.inc"', '1: could not open included file "nosuch.inc": No such file or directory');
wrong('an included directory', '@include "sub"', '1: included file "sub" is a directory');
{
	my ($status, @lines) = errors_of(join("\n", $top, map { "a$_ = 1;" } 1 .. 300));
	is_deeply([ scalar @lines, $lines[0], $lines[-1] ], [ 101, 'x.conf:2: a1: unknown key', 'x.conf: and 200 more errors' ], 'many errors end');
}
for my $case ([ '/', 'configuration file is a directory' ], [ 'nosuch.conf', 'could not open configuration file: No such file or directory' ],
	[ '/dev/zero', 'configuration file is no regular file' ]) {
	my ($file, $error) = @$case;
	my $run = run_program('pawlctl', 'check', '-c', $file);
	is("$run->{status} $run->{err}", "78 $file: $error\n", "$file: $error");
}
SKIP: {
	skip('root reads everything', 1) if $> == 0;
	chmod(0, write_file('x.conf', $top));
	is((run_program('pawlctl', 'check', '-c', 'x.conf'))->{err}, "x.conf: could not open configuration file: Permission denied\n", 'unreadable');
	chmod(0600, 'x.conf');
}

# Random damage to a good file: an error or not, never a crash (run_program fails on signals and sanitizer reports).
{
	srand(seed());
	my $good = read_file("$FindBin::Bin/../etc/pawl.conf");
	my $until = Time::HiRes::time() + 4;
	my (%status, $n);
	while (Time::HiRes::time() < $until) {
		my $text = $good;
		for (0 .. rand 4) {
			my $at = int(rand length $text);
			my $what = rand 4;
			substr($text, $at, 1 + rand 20) = '' if $what < 1;
			substr($text, $at, 0) = substr($good, rand length $good, 1 + rand 30) if $what >= 1 && $what < 2;
			substr($text, $at, 1) = (qw({ } [ ] \( \) " ; = \\ @ / *), "\n", '#')[rand 15] if $what >= 2;
		}
		my ($got) = errors_of($text);
		$status{$got}++;
		$n++;
	}
	is_deeply([ grep { $_ != 78 && $_ != 0 && $_ != 69 } keys %status ], [], "$n damaged files");
}
chdir('/');
done_testing;
