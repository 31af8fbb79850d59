#!/usr/bin/perl
# The handler "sql": placeholders, several statements, expectations, mistakes in the configuration.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my $db = migrated_db();
$db->do(<<'EOS');
create table t (id text primary key, name text, total numeric, n int, at timestamptz default now(), body jsonb, raw text);
create table arr (a int[], b text);
create table log (n bigserial, id text, what text);
EOS
my $driver = Pawl::Slot->new(conninfo => $db->conninfo);
my $serial = 0;
sub with	# a slot whose handler has these settings
{
	my (%settings) = @_;
	$driver->clear->set(conninfo => $db->conninfo, consumer => 'sql' . ++$serial)->handler(sql => Pawl::Slot::sql_handler(), \%settings);
	return $driver->spawn;
}
sub ready { my $slot = with(@_); my $answer = $driver->wait($slot); is($answer->{is}, 'ready', 'ready: ' . (({@_}->{statement} // 'list') =~ s/\n/ /gr)) or diag $answer->{text}; return $slot }
sub done_with { my ($slot) = @_; $driver->shutdown($slot); $driver->{ended}{$slot} = 1; return }
my $id = 0;
sub put { my ($slot, $body, %more) = @_; my ($o) = $driver->batch($slot, { id => 'm' . ++$id, body => $body, %more }); return $o }

# One value in all of its places
sub value_is
{
	my ($expression, $value, $name, $body, %more) = @_;
	my $slot = ready(statement => "insert into log (id, what) values (:id, $expression)");
	my $o = put($slot, $body // '{"a":{"b c":"deep","d":12.50},"name":"x","n":5,"x:y":"colon","a-b":"minus","q\"q":"quote","typed":"2026-01-02","list":[1,2]}', type => 'T1', 'h.my-header' => 'H', %more);
	is($o->{outcome}, 'done', "$name: done") or diag "$o->{code} $o->{text}";
	is($db->value("select what from log where id = 'm$id'"), $value, "$name: its value");
	done_with($slot);
	return;
}
value_is(':/name', 'x', 'a field');
value_is(':/a/d', '12.50', 'a deep one');
value_is(':"/a/b c"', 'deep', 'a quoted one');
value_is(':"/x:y"', 'colon', 'with a colon');
value_is(':"/q""q"', 'quote', 'with a quote');
value_is(':/a-b', 'minus', 'with a minus');
value_is(':/list/1', '2', 'an element');
value_is(':/list', '[1,2]', 'an array');
value_is(':?/missing', undef, 'an optional field that is missing');
value_is(':?"/a/b c"', 'deep', 'one that is there');
value_is("coalesce(:?/missing, 'default')", 'default', 'a default');
value_is(':type', 'T1', 'the type');
value_is(":type || '/' || :id", 'T1/m' . ($id + 1), 'type and id');
value_is(':key', 'm' . ($id + 1), 'the key');
value_is(':header:my-header', 'H', 'a header');
value_is(':header:"my-header"', 'H', 'a quoted one');
value_is(':header:nothing', undef, 'a header that is not there');
value_is(':body', '{"b": 1}', 'the body', '{"b": 1}');
value_is("(:body::jsonb ->> 'b')", '1', 'the body as jsonb', '{"b": 1}');
value_is(':/n::int + 1', '6', 'a cast');
value_is("((:/n)::int+:/n::int)::text||':/name'", '10:/name', 'literals are left alone');
value_is("E'it\\'s :/name' || :/name", "it's :/namex", 'with backslashes');
value_is("'it''s :type ' || U&'\\0041' || :/name", "it's :type Ax", 'and quotes');
value_is("\$\$ :/no \$\$ || \$a\$ :/no \$\$ \$a\$ || :/name", ' :/no  :/no $$ x', 'dollar quotes');
value_is("/* :/no /* :/no */ :/no */ :/name -- :/no\n", 'x', 'comments');
value_is('(select ":/name" from (select 7 as ":/name") v)', '7', 'quoted names');
value_is("(array['p','q','r'])[1:2]::text", '{p,q}', 'array slices');
value_is("(array['p','q','r'])[: 2]::text", '{p,q}', 'without a lower bound');
value_is("make_date(year := 2026, month := 1, day := :/n::int)::text", '2026-01-05', 'named arguments');
value_is(":/typed::date::text", '2026-01-02', 'two casts');
value_is("(to_timestamp(:/n::float8) at time zone 'UTC')::text", '1970-01-01 00:00:05', 'in a call');
value_is("case when :/n::int>4 then :/name else 'no' end", 'x', 'operators end a pointer');

# The same part twice, in places of different types
{
	my $slot = ready(statement => 'insert into t (id, name, total, n, body) values (:/id, :/name, :/total, :/n, :body)'
	    . ' on conflict (id) do update set name = excluded.name, total = :/total, raw = :/total');
	is(put($slot, '{"id":"a","name":"one","total":12345678901234567890.12345678901234567890,"n":1}')->{outcome}, 'done', 'an upsert');
	is(put($slot, '{"id":"a","name":"two","total":1.50,"n":2}')->{outcome}, 'done', 'again');
	is_deeply([ $db->row("select name, total, n, raw from t where id = 'a'") ], [ 'two', '1.50', 1, '1.50' ], 'a placeholder twice, as number and as text');
	is(put($slot, '{"id":"b","name":"big","total":12345678901234567890.12345678901234567890,"n":1}')->{outcome}, 'done', 'a number with 40 digits');
	is($db->value("select total from t where id = 'b'"), '12345678901234567890.12345678901234567890', 'keeps them');
	my $o = put($slot, '{"id":"c","name":"x","n":1}');
	is("$o->{outcome} $o->{code} $o->{text}", 'reject bad_field /total is missing; let the publisher send it, or the handler do without it', 'a missing field never becomes null');
	$o = put($slot, '{"id":"c","name":"x","total":"many","n":1}');
	is("$o->{outcome} $o->{code}", 'reject sql_22P02', 'a value of another type is rejected');
	$o = put($slot, 'hello');
	is("$o->{outcome} $o->{code}", 'reject bad_body', 'a body that is no JSON is rejected');
	is($db->value("select count(*) from t where id = 'c'"), 0, 'nothing of these is done');
	done_with($slot);
}

# Several statements, expectations
{
	my $slot = ready('statements.[0]' => "insert into log (id, what) values (:/id, 'first')", 'statements.[1].statement' => 'update t set name = :/name where id = :/id',
		'statements.[1].expect' => 1, 'statements.[1].code' => 'no_row', 'statements.[1].otherwise' => 'reject', 'statements.[2]' => "insert into log (id, what) values (:/id, 'last')");
	is(put($slot, '{"id":"a","name":"three"}')->{outcome}, 'done', 'several statements');
	is($db->value("select string_agg(what, ' ' order by n) from log where id = 'a'"), 'first last', 'in their order');
	is($db->value("select name from t where id = 'a'"), 'three', 'all of them');
	my $o = put($slot, '{"id":"nobody","name":"x"}');
	is("$o->{outcome} $o->{code}", 'reject no_row', 'an expectation that fails');
	is($db->value("select count(*) from log where id = 'nobody'"), 0, 'takes all back');
	done_with($slot);
	$slot = ready(statement => 'update t set name = :/name where id = :/id', expect => 1);
	$o = put($slot, '{"id":"nobody","name":"x"}');
	is("$o->{outcome} $o->{code}", 'retry unexpected_rows', 'beside a single statement, with its defaults');
	done_with($slot);
	$slot = ready(statement => 'delete from t where id = :/id', expect => 0, code => 'was_there', otherwise => 'retry');
	is(put($slot, '{"id":"nobody"}')->{outcome}, 'done', 'none expected, none touched');
	is(put($slot, '{"id":"a"}')->{code}, 'was_there', 'none expected, one touched');
	done_with($slot);
}

# The examples of the manual
{
	$db->do(q(create table order_view (id text primary key, customer_id text, total numeric); create table stock (sku text primary key, free int); insert into stock values ('s', 5);
		create table reservations (order_id text, sku text, quantity int); create table archive (id text, type text, body jsonb)));
	my $manual = read_file(File::Basename::dirname($0) . '/../man/pawl-sql.7');
	$manual =~ s/\\-/-/g;
	my @examples = map { [ map { join('', /"((?:[^"]|""(?!;))*)"/g) } /((?:"[^"]*"\s*)+)/g ] } map { /config: (.*?\};)/s } $manual =~ /\.nf\n(.*?)\.fi/sg;
	is(scalar(@examples), 6, 'the manual has examples');
	my $body = '{"id":"1","name":"n","customer_id":"c","total":12.50,"sku":"s","quantity":2,"order_id":"o1"}';
	$db->do('create table orders (name text, customer_id text); create table customers (id text, name text, credit numeric)');
	for my $example (@examples) {
		my @texts = grep { /^(insert|update|select) / } @$example;
		my $slot = ready(map { ("statements.[$_]" => $texts[$_]) } 0 .. $#texts);
		is(put($slot, $body, type => 'T')->{outcome}, 'done', 'an example of the manual') or diag "@texts";
		done_with($slot);
	}
	is_deeply([ $db->row('select (select total from order_view), (select free from stock), (select quantity from reservations), (select payload from pawl.outbox), (select type from archive)') ],
		[ '12.50', 3, 2, '{"order_id": "o1"}', 'T' ], 'they do what it says');
}

# Mistakes: where they are, and what is wrong
sub refused
{
	my ($text, %settings) = @_;
	my $slot = with(%settings);
	my $answer = $driver->wait($slot);
	is($answer->{is}, 'refused', join(' ', map { "$_=" . substr($settings{$_}, 0, 60) } sort keys %settings)) or diag($answer->{text});
	like($answer->{text}, $text, 'and why');
	is($driver->wait($slot)->{text}, 'exited with 78', 'and the slot ends');
	$driver->{ended}{$slot} = 1;
	return $answer->{text};
}
my $at = 'pawl\.conf:11: queues\.sql\d+\.handlers\.sql\.config\.statement';
refused(qr/^pawl.conf:10: queues.sql\d+.handlers.sql: has no statement/);
refused(qr/^$at: unknown placeholder :tpye at character 8: there are/, statement => 'select :tpye');
refused(qr/^$at: parameter at character 8: write :\/pointer/, statement => 'select $1');
refused(qr/^$at: the literal at character 8 does not end/, statement => "select 'x");
refused(qr/^$at: the quoted name at character 8 does not end/, statement => 'select "x');
refused(qr/^$at: the comment at character 8 does not end/, statement => 'select /* x');
refused(qr/^$at: the dollar quote at character 8 does not end/, statement => 'select $x$ $y$');
refused(qr/^$at: placeholder at character 8: a pointer begins with/, statement => 'select :"x"');
refused(qr/^$at: placeholder at character 8: a pointer begins with/, statement => 'select :"/x');
refused(qr/^$at: placeholder at character 8: it names no header/, statement => 'select :header:');
refused(qr/^$at: unknown placeholder :header at/, statement => 'select :header');
refused(qr/^$at: the statement is transaction control/, statement => 'commit');
refused(qr/^$at: the statement is empty/, statement => '  -- nothing');
refused(qr/^$at: relation "nowhere" does not exist at character 13/, statement => 'insert into nowhere values (:/a)');
refused(qr/^$at: cannot insert multiple commands/, statement => 'select :/a; select 1');
refused(qr/^$at: could not determine data type|^$at: .*type/, statement => 'insert into t (n) select :/a > 1 and :/b');
refused(qr/^pawl.conf:11: .*\.config\.expect: is a number of rows/, expect => -2, statement => 'select 1');
refused(qr/^pawl.conf:11: .*\.config\.expect: is no whole number: "x"/, expect => 'x', statement => 'select 1');
refused(qr/^pawl.conf:11: .*\.config\.code: is for a statement with expect/, code => 'x', statement => 'select 1');
refused(qr/^pawl.conf:12: .*\.config\.otherwise: is "retry" or "reject"/, expect => 1, otherwise => 'x', statement => 'select 1');
refused(qr/^pawl.conf:11: .*\.config\.statement: is there beside statements/, statement => 'select 1', 'statements.[0]' => 'select 1');
refused(qr/^pawl.conf:11: .*\.config\.rely: unknown setting: handler "sql" does not read it/, rely => 'true', statement => 'select 1');
refused(qr/^pawl.conf:11: .*\.config\.reply: is true or false/, reply => 'yes', statement => 'select 1');
refused(qr/^pawl.conf:12: .*\.config\.statement: syntax error/, reply => 'true', statement => 'select 1;');
my $text = refused(qr/statements\.\[0\]: unknown placeholder/, 'statements.[0]' => 'select :nothing', 'statements.[1].statement' => 'select $1', 'statements.[2].x' => 1);
like($text, qr/statements\.\[1\]\.statement: parameter at character 8/, 'all mistakes of a handler are told at once');
like($text, qr/pawl\.conf:10: .*config\.statements\.\[2\]: is a text, or a group/, 'also that one');

$driver->finish;
done_testing;
