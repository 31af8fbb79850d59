#!/usr/bin/perl
# Loading and starting handlers, checking a configuration, and handlers that crash, hang or exit.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my $db = migrated_db();
$db->do('create table effects (n bigserial, key text)');
my $driver = Pawl::Slot->new(conninfo => $db->conninfo);
my $script = Pawl::Slot::script_handler();
my $binary = read_file($script);
sub start { my ($how, @handlers) = @_; $driver->clear->set(conninfo => $db->conninfo, consumer => 'q'); $driver->handler(@$_) for @handlers; return $driver->spawn($how) }
sub answer	# of a slot that starts with these handlers, and ends if it does
{
	my ($how, @handlers) = @_;
	my $slot = start($how, @handlers);
	my $answer = $driver->wait($slot);
	if ($answer->{is} eq 'refused' || $how) {
		$answer->{end} = $driver->wait($slot)->{text};
		$driver->{ended}{$slot} = 1;
	}
	return $answer;
}
sub refused
{
	my ($name, $text, @handler) = @_;
	my $answer = answer('', [ h => @handler ]);
	is($answer->{is}, 'refused', "$name: refused");
	like($answer->{text}, $text, "$name: the text says why");
	is($answer->{end}, 'exited with 78', "$name: and the slot ends");
	return;
}

# Files
my $here = qr/^pawl\.conf:10: queues\.q\.handlers\.h: could not load /;
my $copy = write_file('copy.so', $binary);
chmod(0755, $copy);
is(answer('', [ h => $copy ])->{is}, 'ready', 'a handler in a file of ours is loaded');
chmod(0775, $copy);
is(answer('', [ h => $copy ])->{is}, 'ready', 'also if the group can write it');
chmod(0757, $copy);
refused('everybody can write it', qr/${here}"\Q$copy\E": can be written by everybody/, $copy);
chmod(0755, $copy);
refused('no such file', qr/$here"\/nowhere\/x.so": No such file/, '/nowhere/x.so');
refused('a directory', qr/$here.*: is no regular file/, tmp_dir());
refused('a relative name', qr/$here.*: is not given by an absolute path/, 'copy.so');
refused('a text', qr/$here.*: .*(invalid ELF header|file too short)/, write_file('text.so', 'hello'));
my ($libc) = map { m{(/\S*/libc\.so\S*|/\S*/libc-\S*\.so)} ? $1 : () } split(/\n/, read_file('/proc/self/maps'));
refused('a library that is no handler', qr/$here.*: it has no PAWL_HANDLER/, $libc) if $libc;
if ($> == 0) {
	chown(65534, 65534, $copy);
	refused('of another user', qr/$here.*: belongs to another user/, $copy);
	chown(0, 0, $copy);
}

# Versions: the handler's descriptor begins with size, major, minor
my $descriptor = pack('Q L L', 64, 1, 0);
is(scalar(() = $binary =~ /\Q$descriptor\E/g), 1, 'the descriptor is found') or BAIL_OUT('struct pawl_handler has changed');
sub patched { my ($name, @values) = @_; (my $other = $binary) =~ s/\Q$descriptor\E/pack('Q L L', @values)/e; my $file = write_file("$name.so", $other); chmod(0755, $file); return $file }
refused('another major', qr/cannot use ".*": it was built for handler ABI 2\.0, and this is 1\.0/, patched('major', 64, 2, 0));
refused('a newer minor', qr/it was built for handler ABI 1\.3, and this is 1\.0/, patched('minor', 64, 1, 3));
refused('a smaller struct', qr/its pawl_handler has 56 bytes, and ABI 1\.0 has 64/, patched('small', 56, 1, 0));
refused('hardly any struct', qr/its pawl_handler has 8 bytes, and ABI 1\.0 has 64/, patched('tiny', 8, 1, 0));
is(answer('', [ h => patched('larger', 128, 1, 0) ])->{is}, 'ready', 'a larger struct is good');
refused('an unknown kind', qr/cannot use handler "script": its kind is 9, and there are PAWL_EFFECTS/, $script, { kind => 'nonsense' });

# start() and the configuration
refused('start fails and says why', qr/^pawl\.conf:11: queues\.q\.handlers\.h\.config\.fail: not today$/m, $script, { fail => 'not today' });
refused('start fails silently', qr/^pawl\.conf:10: queues\.q\.handlers\.h: handler "script" could not start, and does not say why$/m, $script, { fail => 'silent' });
refused('a setting that nobody reads', qr/^pawl\.conf:12: queues\.q\.handlers\.h\.config\.nmae: unknown setting: handler "script" does not read it$/m, $script, { name => 'x', nmae => 'y' });
refused('a number that is none', qr/^pawl\.conf:11: .*config\.number: is no whole number: "5x"$/m, $script, { number => '5x' });
refused('a duration that is none', qr/^pawl\.conf:11: .*config\.wait: is no number with one of the units/m, $script, { wait => '5 parsecs' });
refused('an element that nobody reads', qr/^pawl\.conf:12: .*config\.list\.\[1\]\.nmae: unknown setting/m, $script, { 'list.[0].name' => 'x', 'list.[1].nmae' => 'y' });
refused('a statement that the server refuses', qr/^pawl\.conf:11: .*config\.statement: relation "nowhere" does not exist at character 15$/m, $script, { statement => 'select 1 from nowhere' });
is(answer('', [ h => $script, { name => 'x', number => -5, wait => '30s', 'list.[0].name' => 'a', 'list.[2].name' => 'b', statement => 'select $1::int' } ])->{is}, 'ready', 'good settings');
{
	my $answer = answer('', [ one => '/nowhere/x.so' ], [ two => $script, { fail => 'no', other => 1 } ], [ three => '-' ], [ four => $script, { statement => 'begin' } ]);
	is(scalar(split(/\n/, $answer->{text})), 3, 'all mistakes are told at once') or diag $answer->{text};
	$answer = answer('', [ one => $script ], [ two => '-' ], [ three => Pawl::Slot::sql_handler(), { statement => 'select 1' } ], [ four => Pawl::Slot::sql_handler(), { statement => 'select 2' } ]);
	is(join(' ', map { "$_->{name}/$_->{version}" } @{ $answer->{handlers} }), 'script/2.1 / sql/1.0 sql/1.0', 'several handlers, one of them ignored, one twice');
}

# Check
is_deeply(answer('check', [ h => $script, { statement => 'select 1' } ]), { is => 'ready', text => '', handlers => [ { name => 'script', version => '2.1', kind => 0 } ], end => 'exited with 0' }, 'check: good');
my $answer = answer('check', [ h => $script, { statement => 'select x' } ]);
is("$answer->{is} $answer->{end}", 'refused exited with 78', 'check: a bad statement');
like($answer->{text}, qr/config\.statement: column "x" does not exist/, 'check: is told');
$driver->clear->set(conninfo => 'host=127.0.0.1 port=1', consumer => 'q')->handler(h => $script, { statement => 'select x' });
my $slot = $driver->spawn('check');
$answer = $driver->wait($slot);
is($answer->{is}, 'ready', 'check without a database: good as far as one can see');
like($answer->{text}, qr/^statements were not checked: .*Connection refused/, 'check without a database: that is told');
is($driver->wait($slot)->{text}, 'exited with 0', 'check without a database: ends');
$driver->{ended}{$slot} = 1;
my $bare = new_db();
$driver->clear->set(conninfo => $bare->conninfo, consumer => 'q')->handler(h => $script);
$slot = $driver->spawn('check');
like($driver->wait($slot)->{text}, qr/pawlctl migrate/, 'check of a database that is not migrated: the cure');
is($driver->wait($slot)->{text}, 'exited with 0', 'check of a database that is not migrated: ends');
$driver->{ended}{$slot} = 1;
$driver->clear->set(conninfo => 'host=127.0.0.1 password=secret-word port=x', consumer => 'q')->handler(h => $script);
$slot = $driver->spawn('check');
$answer = $driver->wait($slot);
unlike($answer->{text}, qr/secret-word/, 'a password is not shown') or diag $answer->{text};
$driver->{ended}{$slot} = 1;
$driver->clear->set(conninfo => 'host=127.0.0.1 password = = secret-word', consumer => 'q')->handler(h => $script);
$slot = $driver->spawn('check');
$answer = $driver->wait($slot);
unlike($answer->{text}, qr/secret-word/, 'not even where it is in the wrong place') or diag $answer->{text};
$driver->{ended}{$slot} = 1;

# Bad behaviour
sub good { my ($id, @more) = @_; return Pawl::Slot::script($id, [ sql => 'insert into effects (key) values ($1)', $id ], @more) }
for my $case ([ crash => qr/^was killed by SIGSEGV/ ], [ exit => qr/^exited with 7$/ ]) {
	my ($what, $end) = @$case;
	$slot = start('', [ h => $script ]);
	$driver->wait_until($slot, 'ready');
	is($driver->desk($slot)->{phase}, 1, "$what: before it the desk says idle");
	$driver->send($slot, 0, good("$what-0"), good("$what-1"), good("$what-2", [ $what ]), good("$what-3"));
	like($driver->wait($slot)->{text}, $end, "$what: the slot ends with its handler");
	$driver->{ended}{$slot} = 1;
	is_deeply($driver->desk($slot), { phase => 2, index => 2, batch => $driver->desk($slot)->{batch} }, "$what: the desk says which message it was");
	is($db->value("select count(*) from effects where key like '$what%'"), 0, "$what: nothing is applied");
}
$slot = start('', [ h => $script ]);
$driver->wait_until($slot, 'ready');
my $batch = $driver->send($slot, 0, good('hang-0'), good('hang-1', [ 'hang' ]));
wait_for { $driver->desk($slot)->{phase} == 2 && $driver->desk($slot)->{index} == 1 } 'hang: the desk says so';
is($driver->desk($slot)->{batch}, $batch, 'hang: and the batch');
$driver->kill($slot, 9);
like($driver->wait($slot)->{text}, qr/^was killed by SIGKILL/, 'hang: it can be killed');
$driver->{ended}{$slot} = 1;
$slot = start('', [ h => $script ]);
$driver->wait_until($slot, 'ready');
$driver->send($slot, 0, good('sleep', [ sql => 'select pg_sleep(0.5)' ]));
wait_for { $driver->desk($slot)->{phase} == 3 } 'the desk says when the database is worked with';
$driver->wait_until($slot, 'result');
wait_for { $driver->desk($slot)->{phase} == 1 } 'and that it is idle again';

$driver->finish;
done_testing;
