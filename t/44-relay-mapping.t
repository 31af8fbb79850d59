#!/usr/bin/perl
# A mapping that is wrong: found by pawlctl check and by pawl-relay at its start, with the column named, all mistakes at once. And what is not wrong.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;

my ($db, $vhost) = (migrated_db(), new_vhost());
my $role = "mapped$$";
$db->do(qq(create role $role login; create schema "My schema"; grant usage on schema "My schema" to $role));
my $serial = 0;
my @cases;	# name of the outbox, its configuration, what check has to say

# $ddl may have T for the table.
sub wrong
{
	my ($name, $ddl, $config, @mistakes) = @_;
	my $table = 'wrong' . ++$serial;
	$db->do($ddl =~ s/\bT\b/public.$table/gr) if $ddl;
	my $outbox = "o$serial";
	push @cases, { name => $name, outbox => $outbox, mistakes => [ map { s/\bT\b/public.$table/gr } @mistakes ],
		config => "$outbox: { " . ($config =~ /exchange =/ ? '' : 'exchange = "events"; ') . "table = \"public.$table\"; " . ($config =~ s/\bT\b/public.$table/gr) . ' };' };
	return;
}
my $layout = 'id uuid primary key, aggregatetype text, aggregateid text, type text, payload jsonb, created_at timestamptz';
wrong('no table', '', '', 'table: there is no table "T" in this database; name it as SCHEMA.TABLE');
wrong('columns that are not there', "create table T ($layout)", 'columns: { id = "ID"; type = "kind"; headers = "head"; seq = "number"; }; sent = "done"; order_by = "when";',
	'columns.id: table T has no column "ID"; it has: id, aggregatetype, aggregateid, type, payload, created_at', 'columns.type: table T has no column "kind";',
	'columns.headers: table T has no column "head";', 'columns.seq: table T has no column "number";', 'sent: table T has no column "done";',
	'order_by: columns.seq gives the order already; leave one of them out');
wrong('templates', "create table T ($layout)", 'exchange = "{area}"; routing_key = "{type}.{header:x}.{payload}"; source = "{nope}";', 'exchange: there is no column "area" in table T;',
	'routing_key: {header:x}: table T has no column headers', 'routing_key: "payload" is no column for a template; a header is {header:NAME}', 'source: there is no column "nope"');
wrong('no type and the default routing key', 'create table T (id bigserial primary key, payload text)', '', 'routing_key: there is no column "type" in table T; it has: id, payload');
wrong('types', 'create table T (seq uuid primary key, id int, type text, payload xml, headers int, created_at bigint, not_before date, priority text, expiration date, sent int)', 'sent = "sent";',
	'columns.seq: column "seq" is of type uuid; it must be an integer; order_by takes columns of other types; columns.seq = "" if it is something else', 'columns.headers: column "headers" is of type integer; it must be json, jsonb or a text; columns.headers = "" if it is something else',
	'columns.created_at: column "created_at" is of type bigint; it must be a timestamp or a date;', 'columns.not_before: column "not_before" is of type date; it must be a timestamp;',
	'columns.priority: column "priority" is of type text; it must be an integer;', 'columns.expiration: column "expiration" is of type date; it must be an integer (milliseconds) or an interval;',
	'sent: column "sent" is of type integer; it must be boolean or a timestamp');
wrong('no order', 'create table T (id uuid primary key, type text, payload json)', '', 'order_by: table T has neither a column seq nor created_at: name the column that gives the order; it has: id, type, payload');
wrong('an order that is none', 'create table T (id uuid primary key, type text, payload json, at point)', 'order_by = "at";', 'order_by: column "at" is of type point, which has no order');
wrong('no payload', 'create table T (seq bigint primary key, type text)', '', 'columns.payload: table T has no column payload; name the one that is to be the body, or ""; it has: seq, type');
wrong('nothing unique', 'create table T (id uuid, type text, payload json, created_at timestamp); create unique index on T (id) where type is null; create unique index on T (id, type)', '',
	'columns.id: nothing keeps column "id" unique by itself, and published events are deleted by it; run: create unique index on T (id)', 'columns.id: column "id" may be null; run: alter table T alter column id set not null');
wrong('a seq that counts per aggregate', 'create table T (aggregateid text, seq int, type text, payload json, primary key (aggregateid, seq))', '',
	'columns.seq: nothing keeps column "seq" unique by itself, and published events are deleted by it; run: create unique index on T (seq); columns.seq = "" if it is something else');
wrong('no id', 'create table T (key uuid primary key, type text, payload json, created_at timestamp)', '', 'columns.id: table T has no column seq, so it needs an id; it has: key, type, payload, created_at');
wrong('a view', 'create view T as select 1::bigint as seq', '', 'table: T is a view; name the table that the events are inserted into');
wrong('partitioned by something else', 'create table T (id bigint, type text, payload json, created_at timestamptz not null, primary key (id, created_at)) partition by range (created_at)', 'columns: { seq = "id"; };',
	'columns.seq: nothing keeps column "id" unique by itself, and published events are deleted by it; run: create unique index on T (id); a partitioned table must be partitioned by it');
wrong('child tables', "create table T ($layout); create table T_child () inherits (T)", '', 'table: T has child tables, and nothing keeps a number unique over all of them;');
wrong('a retention that cannot be counted', 'create table T (id bigserial primary key, type text, payload text, sent boolean)', 'sent = "sent"; retention = "1d";',
	'retention: column "sent" is a boolean, and the table has no created_at: it cannot be told how old a row is');
wrong('a rule', "create table T ($layout); create rule r as on delete to T do instead nothing", '', 'table: T has a rule that does something else instead of delete; published events would stay');
my $by = sub { my ($sent) = @_; return 'conninfo = "' . $db->conninfo(user => $role) . "\"; $sent" };
wrong('no right to anything', "create table T ($layout)", $by->(''), "table: no right to read T; run as its owner: grant select on T to $role", "table: no right to delete from T; run as its owner: grant delete on T to $role");
wrong('no right to a column', "create table T ($layout, secret text); grant select (id, aggregatetype, aggregateid, type, created_at), delete on T to $role", $by->('routing_key = "{secret}";'),
	"columns.payload: no right to read column \"payload\"; run as the owner of the table: grant select on T to $role", 'routing_key: no right to read column "secret"');
wrong('no right to mark', "create table T ($layout, sent boolean); grant select, delete on T to $role", $by->('sent = "sent";'),
	"sent: no right to update column \"sent\"; run as the owner of the table: grant update (sent) on T to $role");
wrong('row level security', "create table T ($layout); grant select, delete on T to $role; alter table T enable row level security; create policy p on T using (true)", $by->(''),
	"table: row level security may hide rows of T from this role, and they would never be published; run: alter role $role bypassrls");
wrong('no right to the schema', 'create schema closed; create table closed.t (id bigserial primary key, type text, payload text)', $by->('') . 'table = "closed.t";', '');
$cases[-1]{config} =~ s/table = "public\.\w+"; //;
$cases[-1]{mistakes} = [ "table: no right to use the schema of closed.t; run: grant usage on schema closed to $role",
	"table: no right to read closed.t; run as its owner: grant select on closed.t to $role", "table: no right to delete from closed.t; run as its owner: grant delete on closed.t to $role" ];

my $o = Pawl::Outbox->new(db => $db, vhost => $vhost, outboxes => join("\n", map { $_->{config} } @cases));
my $check = run_program('pawlctl', 'check', '-c', $o->{config});
is($check->{status}, 78, 'pawlctl check: 78');
like($check->{err}, qr/^\Q$o->{config}\E:\d+: outboxes\.o1\.table: /m, 'file and line are told') or diag($check->{err});
(my $err = $check->{err}) =~ s/^.*?: outboxes\./outboxes./mg;
for my $case (@cases) {
	for my $mistake (@{ $case->{mistakes} }) {
		ok(index($err, "outboxes.$case->{outbox}.$mistake") >= 0, "$case->{name}: $mistake") or diag(grep { /outboxes\.$case->{outbox}\b/ } split(/^/, $err));
	}
	my $count = () = $err =~ /^outboxes\.$case->{outbox}\b/mg;
	is($count, scalar @{ $case->{mistakes} }, "$case->{name}: nothing else") or diag(grep { /outboxes\.$case->{outbox}\b/ } split(/^/, $err));
}
my $relay = $o->relay->allow_log(qr/cannot relay: /);
for my $case (@cases) {
	wait_for {
		my ($line) = grep { /outbox=$case->{outbox} msg="cannot relay/ } split(/\n/, $relay->log =~ s/\\"/"/gr);
		$line && @{ $case->{mistakes} } == grep { index($line, $_) >= 0 } @{ $case->{mistakes} };
	} "$case->{name}: pawl-relay says the same";
}

# Mended while it runs.
$db->do('alter table ' . ($cases[5]{config} =~ /table = "([\w.]+)"/)[0] . ' add created_at timestamptz default now()');
wait_for { $relay->log =~ /outbox=$cases[5]{outbox} msg="leading/ } 'a table that is mended is relayed', 40;
$relay->stop;
$o = Pawl::Outbox->new(db => $db, vhost => $vhost, outboxes => 'a: { exchange = "x"; retention = "1d"; };');
like(run_program('pawl-relay', '-t', '-c', $o->{config})->{err}, qr/outboxes\.a\.retention: is for rows that are marked, but sent is not set/, 'retention without sent');

# What is not wrong. check has advice.
$db->do(q(create table public.slow (id bigserial primary key, type text, payload text, created_at timestamptz, sent boolean not null default false);
	create table public.quick (id bigserial primary key, type text, payload text, created_at timestamptz, sent boolean);
	create index on public.quick (id) where sent is not true;
	create table public.versions (id uuid primary key, aggregateid text, seq text, payload json, at timestamptz); create index on public.versions (at);
	create table public."Some/Table" (id bigint primary key, payload text) partition by range (id);
	create table public."Some/Table 1" partition of public."Some/Table" default));
$o = Pawl::Outbox->new(db => $db, vhost => $vhost, outboxes => join(' ', map { sprintf('o%d: { exchange = "x"; routing_key = "k"; %s };', ++$serial, $_) }
	'table = "public.slow"; sent = "sent";', 'table = "public.quick"; sent = "sent";', 'table = "public.Some/Table";', 'table = "public.\"Some/Table 1\"";', 'table = "Public.QUICK"; sent = "sent";',
	'table = "public.versions"; order_by = "at";'));
$check = run_program('pawlctl', 'check', '-c', $o->{config});
is($check->{status}, 0, 'check: good') or diag($check->{err});
is($check->{err} =~ s/^.*?: outboxes\.\w+: //r, "each look at the table goes over rows that are of no interest; run: create index concurrently on public.slow (id) where not sent\n", 'and what would be better');
done_testing;
