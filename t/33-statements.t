#!/usr/bin/perl
# What handlers may record: refused statements, parameters, the cache of prepared statements.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my $db = migrated_db();
$db->do('create table effects (n bigserial, key text); create table t (a int, b text); create table seen (n bigserial, key text, what text, value text)');
my $driver = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 's')->handler(script => Pawl::Slot::script_handler());
my $slot = $driver->ready;
sub good { my ($id, @more) = @_; return Pawl::Slot::script($id, [ sql => 'insert into effects (key) values ($1)', $id ], @more) }
my $serial = 0;

# A batch of three with the statement in the middle.
sub ends
{
	my ($sql, $wanted, $text, @parameters) = @_;
	my $id = 'm' . ++$serial;
	(my $name = $sql) =~ s/\s+/ /g;
	my @out = $driver->batch($slot, good("$id-a"), good("$id-b", [ sql => $sql =~ s/\n/ /gr, @parameters ]), good("$id-c"));
	is(join(' ', map { $_->{outcome} . ($_->{code} ? ":$_->{code}" : '') } @out), "done $wanted done", "'$name': $wanted") or diag $out[1]{text};
	like($out[1]{text}, $text, "'$name': the text says why") if $text;
	is($db->value("select count(*) from effects where key like '$id-%'"), $wanted eq 'done' ? 3 : 2, "'$name': effects") if $wanted ne 'done' || $serial < 5;
	return;
}

for my $sql ('begin', 'BEGIN', 'Start transaction', 'commit', 'commit work', 'end', 'rollback', 'rollback to s', 'abort', 'savepoint s', 'release s',
	"prepare transaction 'x'", 'prepare p as select 1', 'execute p', 'deallocate p', 'deallocate all', 'set search_path = x', 'SET SESSION lock_timeout = 0',
	'set transaction isolation level serializable', 'set constraints all immediate', "set time zone 'UTC'", 'reset all', 'discard all', 'listen x', 'unlisten *',
	'copy t from stdin', 'copy t to stdout', '  commit', "\t;;commit", '/* a */ commit', '/* a /* nested */ b */commit', '-- x', '', ' ; ', '/* open',
	'set local synchronous_commit = off', 'set /* x */ local /* y */ synchronous_commit = off', 'set local "synchronous_commit" to off') {
	ends($sql, 'reject:bad_statement');
}
{	# a comment to the end of a line needs one, and the script's lines end at it
	$driver->set(consumer => 'q');
	$driver->clear->set(conninfo => $db->conninfo, consumer => 'q')->handler(sql => Pawl::Slot::sql_handler(), { statement => "-- hide\ncommit" });
	my $answer = $driver->wait($driver->spawn);
	is($answer->{is}, 'refused', 'commit behind a line comment');
	like($answer->{text}, qr/^pawl.conf:11: queues.q.handlers.sql.config.statement: the statement is transaction control/, 'is refused where it stands');
	$driver->{ended}{1} = 1;
}
ends('select 1; commit', 'reject:bad_statement', qr/multiple commands/);
ends('insert into t values (1); insert into t values (2)', 'reject:bad_statement', qr/multiple commands/);
ends('selct 1', 'reject:bad_statement', qr/syntax error at or near "selct" at character 1; mend the statement; in: selct 1/);
ends('select $1::int', 'reject:bad_statement', qr/has 1 parameters, and 0 were given/);
ends('select $1::int', 'reject:bad_statement', qr/has 1 parameters, and 2 were given/, 1, 2);
ends('select 1', 'reject:bad_statement', qr/has 0 parameters, and 1 were given/, 1);
ends("select 'commit'", 'done');
ends('(select 1)', 'done');
ends('commit_it', 'reject:bad_statement');		# no keyword, no statement either
ends('set local lock_timeout = 1000', 'done');
ends('SET LOCAL work_mem = 64', 'done');
ends(';select 1;', 'done');
ends("/* begin */ select 1 -- commit", 'done');
ends('with x as (select 1) select * from x', 'done');
ends('values (1)', 'done');
ends('do $$ begin commit; end $$', 'retry:sql_2D000');
ends('insert into t values ($1, $2)', 'done', undef, 1, undef);
is($db->value('select count(*) from t where a = 1 and b is null'), 1, 'a null parameter is SQL null');
ends('insert into t values ($1, $2)', 'done', undef, 2, '');
is($db->value("select count(*) from t where a = 2 and b = ''"), 1, 'an empty one is empty');
ends("insert into t values (\$1, \$2)", 'reject:sql_22021', qr/encoding/, 3, "bad\xff");
ends('select lock_nothing()', 'retry:sql_42883');
ends('lock table t in access exclusive mode', 'done');
ends('vacuum t', 'retry:sql_25001');
is($db->value("select count(*) from t"), 2, 'nothing else has come in');

# The cache
my $prepared = [ sql => q(insert into seen (what, value) select 'count', count(*) from pg_prepared_statements where name like 'pawl_%') ];
my @many = map { good("c$_", [ sql => "insert into t values ($_, \$1)", 'x' ]) } 1000 .. 1399;
is(scalar(grep { $_->{outcome} eq 'done' } $driver->batch($slot, @many)), 400, 'a batch with 400 different texts');
$driver->batch($slot, good('count', $prepared));
my $count = $db->value('select value from seen order by n desc limit 1');
cmp_ok($count, '<=', 256 + 17, 'no more than 256 stay prepared');
cmp_ok($count, '>', 200, 'and that many do');
is(scalar(grep { $_->{outcome} eq 'done' } $driver->batch($slot, map { { %$_, id => "again-$_->{id}" } } @many)), 400, 'all of them work again');
is($db->value('select count(*) from t where a between 1000 and 1399'), 800, 'each twice');
my ($calls) = $db->row("select count(*) from pg_stat_activity where application_name = 'pawl-slot s'");
is($calls, 1, 'in one session');
for my $round (1 .. 3) {
	$driver->batch($slot, good("keep$round"), map { good("r$round-$_", [ sql => "select $_ + $round", ]) } 1 .. 300);
}
$driver->batch($slot, good('count2', $prepared, [ sql => q(insert into seen (what, value) select 'name', name from pg_prepared_statements where statement = 'insert into effects (key) values ($1)') ]));
is($db->value(q(select count(*) from seen where what = 'name')), 1, 'the text that is always used is prepared once');
cmp_ok($db->value(q(select substring(value from '_([0-9]+)$')::int from seen where what = 'name')), '<', 100, 'and was not prepared again');

# Many new texts, none of which is asked for: whoever recorded them then rejects
is(scalar(grep { $_->{outcome} eq 'reject' } $driver->batch($slot, map { Pawl::Slot::script("gone$_", [ sql => "select $_ + 100000" ], [ fail => 3, 'no', '' ]) } 1 .. 400)), 400, '400 that are rejected');
is(($driver->batch($slot, good('behind', [ sql => 'select 7 + 100000' ])))[0]{outcome}, 'done', 'and the slot goes on');

# The same address, another text; two statements whose texts share a place in the cache
$driver->batch($slot, map { good("addr$_", [ sql => 'insert into seen (key, what) values (\'addr\', \'' . ('a' x ($_ % 3)) . "$_')" ]) } 1 .. 50);
is($db->value(q(select count(distinct what) from seen where key = 'addr')), 50, 'texts are told apart by what they say, not by where they are');

# Much in both directions at once: neither side waits for the other
my $large = 'z' x 100_000;
my @large = $driver->batch($slot, map { good("large$_", [ sql => 'select $1::text || $1::text', $large ]) } 1 .. 100);
is(scalar(grep { $_->{outcome} eq 'done' } @large), 100, '10 MB to the server while 20 MB come back');

$driver->finish;
done_testing;
