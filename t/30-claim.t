#!/usr/bin/perl
# Exactly once: claims and duplicates, in one batch, across batches, slots and restarts.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my $db = migrated_db();
$db->do('create table effects (n bigserial, key text, what text)');
$db->do('create table seen (n bigserial, key text, what text, value text)');
my $driver = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'view')->handler(script => Pawl::Slot::script_handler());
my $insert = 'insert into effects (key, what) values ($1, $2)';
sub effect { my ($id, @more) = @_; return Pawl::Slot::script($id, [ sql => $insert, $id, 'first' ], @more) }
sub outcomes { return join(' ', map { $_->{outcome} } @_) }
sub effects_of { my ($key) = @_; return $db->value("select count(*) from effects where key = '$key'") }

my $slot = $driver->spawn;
my $ready = $driver->wait($slot);
is($ready->{is}, 'ready', 'a slot with a database is ready');
is_deeply($ready->{handlers}, [ { name => 'script', version => '2.1', kind => 0 } ], 'and names its handlers');

# One batch
is(outcomes($driver->batch($slot, effect('a'), effect('b'), effect('c'))), 'done done done', 'three messages are done');
is($db->value('select count(*) from effects'), 3, 'with an effect each');
is($db->value("select string_agg(message_id, ' ' order by message_id) from pawl.inbox where consumer = 'view'"), 'a b c', 'their keys are in the inbox');
is(outcomes($driver->batch($slot, effect('b'), effect('d'), effect('a'))), 'duplicate done duplicate', 'keys of an earlier batch are duplicates');
is($db->value('select count(*) from effects'), 4, 'and have no second effect');
is(outcomes($driver->batch($slot, effect('e'), effect('f'), effect('e'), effect('e'))), 'done done duplicate duplicate', 'of one key in a batch the first is done');
is(effects_of('e'), 1, 'once');
is(outcomes($driver->batch($slot)), '', 'an empty batch is answered');

# Who does not say DONE claims nothing
my @out = $driver->batch($slot, effect('g', [ fail => 1, 'later', 'not yet' ]), effect('h'), effect('g'));
is(outcomes(@out), 'retry done done', 'a message that fails leaves its key to the next with it');
is("$out[0]{code}: $out[0]{text}", 'later: not yet', 'with code and text of the handler');
is(effects_of('g'), 1, 'one effect');
@out = $driver->batch($slot, Pawl::Slot::script('i', [ sql => $insert, 'i', 'bad' ], [ sql => 'select 1 / $1::int', '0' ]), effect('j'));
is(outcomes(@out), 'reject done', 'a statement fails');
is($out[0]{code}, 'sql_22012', 'its SQLSTATE is the code');
is(effects_of('i') . effects_of('j'), '01', 'of the failing message nothing is left');
is($db->value("select count(*) from pawl.inbox where message_id = 'i'"), 0, 'not its key either');
is(outcomes($driver->batch($slot, effect('i'))), 'done', 'so it can be done later');
@out = $driver->batch($slot, Pawl::Slot::script('k', [ sql => 'select 1 / $1::int', '0' ]), effect('k'), effect('k'));
is(outcomes(@out), 'reject done duplicate', 'the first of a key fails in the database: the next one does it');
is(effects_of('k'), 1, 'once');

# Who was done before is a duplicate, whatever the handler says now
@out = $driver->batch($slot, effect('a', [ fail => 3, 'shipped', 'it is shipped already' ]), effect('b', [ fail => 1, 'later', '' ]), effect('c', [ fail => 2, 'soon', '' ]),
	effect('new', [ fail => 3, 'no', '' ]), effect('d', [ field => '/missing' ]), effect('l'));
is(outcomes(@out), 'duplicate duplicate duplicate reject duplicate done', 'a handler that refuses what is done');
is(effects_of('a') . effects_of('new') . effects_of('l'), '101', 'effects stay as they were');

# Verdicts
@out = $driver->batch($slot, Pawl::Slot::script('v1', [ return => 1 ]), Pawl::Slot::script('v2', [ return => 2 ]), Pawl::Slot::script('v3', [ return => 3 ]),
	Pawl::Slot::script('v4', [ return => 9 ]), Pawl::Slot::script('v5', [ again_after => 1234 ], [ fail => 2, 'soon', '' ]), Pawl::Slot::script('v6'),
	Pawl::Slot::script('v7', [ fail => 0, 'x', 'y' ]), effect('v8', [ fail => 3, 'never', "t\xc3\xa4xt" ], [ return => 0 ]));
is(outcomes(@out), 'retry snooze reject reject snooze done reject reject', 'verdicts');
is($out[3]{code}, 'bad_verdict', 'a number that is no verdict is rejected');
is($out[4]{delay_ms}, 1234, 'a delay is passed on');
is($out[6]{code}, 'bad_verdict', 'failing with DONE is rejected');
is("$out[7]{code} $out[7]{text}", "never t\xc3\xa4xt", 'a failure sticks, whatever is returned after it');
is($db->value("select count(*) from pawl.inbox where message_id = 'v6'"), 1, 'a message without effects is claimed too');

# Order
my @many = map { effect(sprintf('o%03d', 249 - $_)) } 0 .. 249;
is(outcomes($driver->batch($slot, @many)), join(' ', ('done') x 250), 'a batch of 250');
is($db->value("select string_agg(key, ' ' order by n) from effects where key like 'o%'"), join(' ', map { $_->{id} } @many), 'its effects are in delivery order');

# Keys of all kinds
my @odd = ('with space', 'quote"inside', 'back\\slash', '{brace,comma}', "tab\tand\nline", 'NULL', "umlaut \xc3\xa4", '$1', "'", 'x' x 200);
is(outcomes($driver->batch($slot, map { effect($_) } @odd)), join(' ', ('done') x @odd), 'odd keys are claimed');
is(outcomes($driver->batch($slot, map { effect($_) } reverse @odd)), join(' ', ('duplicate') x @odd), 'and found again');
is(outcomes($driver->batch($slot, effect('x' x 201), Pawl::Slot::script("bad\xff"), effect('x' x 202), effect('x' x 201))), 'done done done duplicate', 'keys that are too long or no text');
is($db->value("select count(*) from pawl.inbox where message_id like 'sha256:%'"), 3, 'are hashed');

# Other slots, at the same time and later
my $second = $driver->ready;
my @shared = map { effect("s$_") } 1 .. 200;
for my $round (1 .. 5) {
	my @set = map { { %$_, id => "r$round-$_->{id}" } } @shared;
	$driver->send($slot, 0, @set);
	$driver->send($second, 0, reverse @set);
	my @both = map { @{ $driver->wait_until($_, 'result')->{outcomes} } } $slot, $second;
	is(scalar(grep { $_->{outcome} eq 'done' } @both) . ' ' . scalar(grep { $_->{outcome} eq 'duplicate' } @both), '200 200',
		"two slots with the same 200 keys at the same time, round $round");
}
is($db->value("select count(*) from effects where key like 's%'"), 1000, 'one effect each');
$driver->shutdown($second);
$driver->{ended}{$second} = 1;
my $third = $driver->ready;
is(outcomes($driver->batch($third, effect('a'), effect('new'))), 'duplicate done', 'a slot that was started later knows them');

# A claim waits for the transaction that holds the key.
for my $end (qw(commit rollback)) {
	my $session = $db->session;
	$session->query('begin');
	$session->query("insert into pawl.inbox (consumer, message_id) values ('view', 'held-$end')");
	$driver->send($slot, 0, effect("held-$end"));
	wait_for { $db->value("select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'transactionid'") } "the claim waits for a key that is being done ($end)";
	$session->query($end);
	is(outcomes(@{ $driver->wait_until($slot, 'result')->{outcomes} }), $end eq 'commit' ? 'duplicate' : 'done', "and knows after its $end");
	$session->close;
}

# Other consumers, keys from elsewhere, and none
$driver->set(consumer => 'other', key => 'header:my-key');
my $other = $driver->ready;
@out = $driver->batch($other, { %{ effect('a') }, 'h.my-key' => 'a' }, { %{ effect('b') }, 'h.my-key' => 'a' }, effect('c'));
is(outcomes(@out), 'done duplicate reject', 'another consumer has keys of its own, here from a header');
is($out[2]{code}, 'no_key', 'a message without key is rejected');
like($out[2]{text}, qr/header.*missing_key/, 'with the cure');
$driver->set(key => 'json:/id', consumer => 'json');
my $json = $driver->ready;
@out = $driver->batch($json, { body => '{"id":1.50}' }, { body => '{"id":"1.50"}' }, { body => '{"id":null}' }, { body => '{"id":' }, { body => '{"id":{}}' }, { body => '{"x":1}' });
is(outcomes(@out), 'done duplicate reject reject reject reject', 'keys from the body');
is(join(' ', map { $_->{code} } @out[2 .. 5]), 'no_key bad_body bad_body no_key', 'and what is wrong with the others');
like($out[3]{text}, qr/byte 6/, 'the offset is told');
$driver->set(key => 'message_id', consumer => 'free', missing_key => 'process');
my $free = $driver->ready;
is(outcomes($driver->batch($free, effect(''), effect(''), effect('keyed'), effect('keyed'))), 'done done done duplicate', 'missing_key = "process"');
is(effects_of(''), 2, 'messages without key are done each time');
$driver->set(consumer => 'nodedup', dedup => 'none');
my $nodedup = $driver->ready;
is(outcomes($driver->batch($nodedup, effect('n'), effect('n'), effect(''), Pawl::Slot::script('n'))), 'done done done done', 'dedup = "none"');
is(effects_of('n'), 2, 'claims nothing');
is($db->value("select count(*) from pawl.inbox where consumer = 'nodedup'"), 0, 'and leaves the inbox alone');

$driver->finish;
done_testing;
