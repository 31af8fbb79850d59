#!/usr/bin/perl
# Sessions and tables: several outboxes in several databases; tables that are missing, not as they should be, not allowed, or relayed twice;
# a standby server. What is wrong with one outbox does not keep the others.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;

my $reader = "reader$$";
my ($one, $two, $vhost) = (migrated_db(), migrated_db(), new_vhost());
$one->do(q(create table public."Odd ""name" (like pawl.outbox including defaults including identity, primary key (seq));
	create table public.plain (seq bigserial primary key, id int, aggregatetype text, aggregateid text, type text, payload jsonb, headers jsonb,
		not_before timestamptz, created_at timestamptz default now());
	create table public.few (seq bigint primary key, id int);
	create role READER login; grant usage on schema pawl to READER; grant select on pawl.outbox to READER;) =~ s/READER/$reader/gr);
sub outbox { my ($name, $db, $more) = @_; return qq($name: { conninfo = "$db"; exchange = "events"; $more }; ) }
my $o = Pawl::Outbox->new(db => $one, vhost => $vhost, outboxes => join('',
	outbox('a', $one->conninfo, ''), outbox('odd', $one->conninfo, q(table = "public.\"Odd \"\"name\"";)), outbox('b', $two->conninfo, ''),
	outbox('serial', $one->conninfo, 'table = "public.plain";'),
	outbox('none', $one->conninfo, 'table = "pawl.later";'), outbox('few', $one->conninfo, 'table = "public.few";'),
	outbox('reader', $one->conninfo(user => $reader), ''), outbox('twin', $one->conninfo, 'table = "pawl.\"outbox\"";')));
my $relay = $o->relay->allow_log(qr/cannot relay: |is published by outbox/);
$relay->wait_log(qr/outbox=$_ msg="leading/) for qw(a);
for my $log (qr/outbox=odd msg="leading: publishing the events of table public."Odd ""name""/, qr/outbox=b msg="leading/, qr/outbox=serial msg="leading/,
	qr/outbox=serial msg="column seq of table public.plain is no .generated always as identity. with cache 1/,
	qr/outbox=none msg="cannot relay: table: there is no table "pawl.later" in this database; run: pawlctl migrate/,
	qr/outbox=few msg="cannot relay: columns.payload: table public.few has no column payload; .*|routing_key: there is no column "type"/,
	qr/outbox=reader msg="cannot relay: table: no right to delete from pawl.outbox; run as its owner: grant delete on pawl.outbox to/,
	qr/outbox=twin msg="table pawl.outbox is published by outbox "a" already/) {
	wait_for { (my $text = $relay->log) =~ s/\\"/"/g; $text =~ $log } "$log";
}
is($one->value(q(select count(*) from pg_stat_activity where datname = current_database() and application_name like 'pawl-relay%' and usename = 'pawl')), 1,
	'outboxes of one database share a session');
is($two->value(q(select count(*) from pg_stat_activity where datname = current_database() and application_name like 'pawl-relay%')), 1, 'another database has its own');

# A second one of its name and run_dir is refused: they would overwrite each other's statistics.
my $again = run_program('pawl-relay', '-c', $o->config(0));
my $pid = $relay->pid;
is($again->{status}, 78, 'a second relay of the same name does not start');
like($again->{err}, qr/process $pid is pawl-relay \\"[^"]+" already, with run_dir .* \(it has locked .*: stop it, or give this one another name/, 'and says why');

$o->emit('x', 1);
$two->do(Pawl::Outbox::emit_sql('y', 2));
$one->do(q(insert into public."Odd ""name" (aggregatetype, aggregateid, type, payload) values ('order', 'z', 'T', '{"n": 3, "a": "z"}');
	insert into public.plain (id, aggregatetype, aggregateid, type, payload) values (77, 'order', 'p', 'T', '{"n": 4, "a": "p"}')));
wait_for { $o->count == 4 } 'all that can be relayed are';
my %of = map { $_->{app_id} => $_ } $o->take;
is_deeply([ sort keys %of ], [ qw(a b odd serial) ], 'each under its name');
is($of{serial}{message_id}, 'serial/77', 'an id that is no UUID has the outbox in front');

# What was wrong is mended.
$one->do('create table pawl.later (like pawl.outbox including defaults including identity, primary key (seq)); grant delete on pawl.outbox to ' . $reader);
$one->do(q(insert into pawl.later (type, payload) values ('T', '{"n": 5}')));
wait_for { $relay->log =~ /outbox=none msg="leading/ } 'a table that is made later is found', 40;
wait_for { $o->count == 1 } 'and relayed';
wait_for { $relay->log =~ /outbox=reader msg="standing by: another relay leads table pawl.outbox/ } 'a right that is given later is noticed', 40;

# The table is gone, and comes again, under the relay.
$relay->allow_log(qr/outbox=none msg="(could not (read|see)|cannot relay: )/);
$one->do('drop table pawl.later');
wait_for { $relay->log =~ /outbox=none msg="could not read table pawl.later, trying again:/ } 'a table that is dropped is a complaint';
$one->do('create table pawl.later (like pawl.outbox including defaults including identity, primary key (seq))');
$o->take;
$one->do(q(insert into pawl.later (type, payload) values ('T', '{"n": 6}')));
wait_for { $o->count == 1 } 'it is relayed when it is there again', 40;
$o->take;

# Truncated, and its numbers begin anew.
$one->do('truncate pawl.later restart identity');
$one->do(q(insert into pawl.later (type, payload) values ('T', '{"n": 7}')));
wait_for { $o->count == 1 } 'so is a table that was truncated and counts from 1 again', 20;
$o->take;

# A lock on one table holds up no other.
my $session = $one->session;
$session->query('begin; lock table public.plain in access exclusive mode');
$relay->allow_log(qr/outbox=serial msg="could not/);
$one->do("insert into pawl.outbox (type, payload) values ('T', jsonb_build_object('n', 7))");
wait_for { $o->count == 1 } 'a locked table holds up no other of its session', 20;
$session->query('commit');
$session->close;
$one->do("insert into public.plain (type, payload) values ('T', '{\"n\": 8}')");
wait_for { $o->count == 2 } 'and is read again', 20;

$relay->stop;

# A standby is refused until it is promoted.
my $server = own_postgres();
my $db = migrated_db($server);
$server->stop;
open(my $signal, '>', "$server->{data}/standby.signal") or die;
close($signal);
chown((stat "$server->{data}/PG_VERSION")[4, 5], "$server->{data}/standby.signal");
$server->up;
my $s = Pawl::Outbox->new(db => $db, vhost => $vhost);
my $standby = $s->relay->allow_log(qr/the server is a standby/);
$standby->wait_log(qr/could not get a database session: the server is a standby, which gives no events away/);
$db->do('select pg_promote()');
$standby->wait_log(qr/leading: /);
pass('a standby is relayed from when it is promoted');
$standby->stop;
done_testing;
