#!/usr/bin/perl
# pawlctl migrate: tables once and only once, nothing of what failed, rights that suffice and no more, pawl.emit().
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

sub migrate { my (@arguments) = @_; return run_program('pawlctl', 'migrate', @arguments) }

# What a role may do: the error, or undef.
sub as { my ($db, $role, $sql) = @_; return $db->error("set role $role; $sql") }

my $db = new_db();
{
	my $first = migrate($db->conninfo);
	is_deeply([ @$first{qw(status out err)} ], [ 0, "database: applied 001-pawl\n", '' ], 'an empty database');
	my $second = migrate($db->conninfo);
	is_deeply([ @$second{qw(status out err)} ], [ 0, "database: up to date\n", '' ], 'again: nothing to do');
	is_deeply([ $db->query('select number, name from pawl.schema_version') ], [ [ 1, 'pawl' ] ], 'and it is recorded');
}

# --print gives the same tables to those who apply them by other means.
my $shape = q{select format('%s.%s %s %s', table_name, column_name, data_type, column_default) from information_schema.columns where table_schema = 'pawl'
	union all select format('%s %s', c.relname, c.reloptions) from pg_class c where relnamespace = 'pawl'::regnamespace
	union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'pawl'::regnamespace order by 1};
{
	my $other = new_db();
	my $print = migrate('--print');
	is($print->{status}, 0, '--print');
	$other->do($print->{out});
	is_deeply([ $other->column($shape) ], [ $db->column($shape) ], '--print makes the same');
	is(migrate($other->conninfo)->{out}, "database: up to date\n", 'and is recorded');
}

# Several at once.
{
	my $other = new_db();
	my $hold = $other->session;	# all of them meet at the lock
	$hold->query('begin; select pg_advisory_xact_lock(8097884912564660082)');
	my @runs = map { start_program({ name => "migrate-$_" }, 'pawlctl', 'migrate', $other->conninfo) } 1 .. 6;
	wait_for { $other->value(q{select count(*) from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database
		where datname = current_database())}) == 6 } 'six wait for each other';
	$hold->close;
	is_deeply([ map { $_->wait(60) } @runs ], [ (0) x 6 ], 'all of them succeed');
	is(scalar(grep { $_->log =~ /applied 001-pawl/ } @runs), 1, 'one of them did it');
	is($other->value('select count(*) from pawl.schema_version'), 1, 'once');
}

# All databases of a configuration, each once; one that cannot be reached does not keep the others from it.
{
	my ($one, $two) = (new_db(), new_db());
	my $file = write_config('all.conf', <<'END', one => $one->conninfo, two => $two->conninfo);
broker: { uri = "amqp://localhost"; };
database: { conninfo = "{one}"; };
queues: {
  a: { handlers: { h: { type = "*"; use = "ignore"; }; }; };
  b: { conninfo = "{two}"; handlers: { h: { type = "*"; use = "ignore"; }; }; };
  c: { conninfo = "host=/nonexistent password=geheim"; dedup = "none"; handlers: { h: { type = "*"; use = "ignore"; }; }; };
};
outboxes: { o: { exchange = "x"; }; p: { conninfo = "host=/nonexistent password=geheim"; exchange = "x"; }; };
END
	my $run = migrate('-c', $file);
	is($run->{status}, 69, 'a database that is not there: 69');
	is($run->{out}, "database of outboxes.o: applied 001-pawl\ndatabase of queues.b: applied 001-pawl\n", 'the others are migrated, each once');
	like($run->{err}, qr/^pawlctl migrate: database of outboxes\.p: could not connect: .*No such file/, 'and the error says which');
	unlike($run->{err}, qr/geheim/, 'without its password');
}

# What cannot be done leaves nothing behind.
{
	my $other = new_db();
	$other->do('create schema pawl; create table pawl.inbox (x int)');
	my $run = migrate($other->conninfo);
	is($run->{status}, 78, 'a table is in the way: 78');
	like($run->{err}, qr/could not migrate: relation "inbox" already exists/, 'and said');
	is_deeply([ $other->column(q{select relname from pg_class where relnamespace = 'pawl'::regnamespace}) ], ['inbox'], 'nothing of it remains');

	my $role = 'nobody_' . $other->name;
	$other->do("drop schema pawl cascade; create role $role login");
	$run = migrate($other->conninfo(user => $role));
	is($run->{status}, 78, 'no right to create schemas: 78');
	like($run->{err}, qr/permission denied for database/, 'and said');
	$other->do("create schema pawl authorization $role");
	is(migrate($other->conninfo(user => $role))->{status}, 0, 'with a schema of its own it works');

	$other->do(q{insert into pawl.schema_version (number, name) values (99, 'future')});
	$run = migrate($other->conninfo(user => $role));
	is($run->{status}, 78, 'a newer schema: 78');
	like($run->{err}, qr/has version 99 of the schema pawl, this build knows 1; use/, 'and what to do');
}

# Command lines.
for my $case ([ ['a', 'b'], 'give one connection string' ], [ [ '-c', 'x', 'y' ], 'give one connection string' ], [ [ '--print', '--roles' ], 'do not go together' ],
	[ ['host'], 'missing "=" after "host"' ], [ ['password=geheim x'], 'it may hold a password' ]) {
	my $run = migrate(@{ $case->[0] });
	is($run->{status}, 64, "@{ $case->[0] }: 64");
	like($run->{err}, qr/\Q$case->[1]\E/, "$case->[1]");
}

# Roles, twice. What they may, and what not.
my $roles = migrate('--roles')->{out};
$db->do($roles);
$db->do($roles);
my $emit = q{select pawl.emit('order', '1', 'OrderPlaced', '{}')};
my $claim = q{insert into pawl.inbox (consumer, message_id) select 'c', unnest(array[gen_random_uuid()::text]) on conflict do nothing returning message_id};
for my $case (
	[ pawl_emitter => 1, 'emits' => $emit ],
	[ pawl_emitter => 1, 'sees the version' => 'select max(number) from pawl.schema_version' ],
	[ pawl_emitter => 0, 'reads no events' => 'select * from pawl.outbox' ],
	[ pawl_emitter => 0, 'deletes no events' => 'delete from pawl.outbox' ],
	[ pawl_emitter => 0, 'reads no inbox' => 'select * from pawl.inbox' ],
	[ pawl_relay => 1, 'reads events' => 'select * from pawl.outbox order by seq' ],
	[ pawl_relay => 1, 'deletes events' => 'delete from pawl.outbox where seq = any (array[1])' ],
	[ pawl_relay => 1, 'puts events aside' => q{insert into pawl.outbox_dead (outbox, event, reason, text, original) values ('o', '1', 'x', 'y', '{}')} ],
	[ pawl_relay => 1, 'puts events back' => q{with dead as (delete from pawl.outbox_dead returning original) insert into pawl.outbox (type) select 'T' from dead} ],
	[ pawl_relay => 0, 'changes none' => 'update pawl.outbox set type = type' ],
	[ pawl_relay => 0, 'reads no inbox' => 'select * from pawl.inbox' ],
	[ pawl_worker => 1, 'emits' => $emit ],
	[ pawl_worker => 1, 'claims' => $claim ],
	[ pawl_worker => 1, 'forgets' => q{delete from pawl.inbox where done_at < now() - interval '7 days'} ],
	[ pawl_worker => 1, 'keeps sagas' => q{insert into pawl.saga (saga, id, state) values ('s', '1', 'x') on conflict (saga, id) do update set state = 'y'} ],
	[ pawl_worker => 0, 'reads no events' => 'select * from pawl.outbox' ],
	[ pawl_worker => 0, 'does not change claims' => q{update pawl.inbox set consumer = 'x'} ],
	[ pawl_worker => 0, 'does not change the version' => q{insert into pawl.schema_version values (2, 'x')} ],
) {
	my ($role, $may, $what, $sql) = @$case;
	my $error = as($db, $role, $sql);
	$may ? is($error, undef, "$role $what") : like($error // '', qr/permission denied/, "$role: $what");
}

# pawl.emit().
{
	$db->do('truncate pawl.outbox');
	my $id = $db->value(q{select pawl.emit('order', '42', 'OrderPlaced', '{"total":12.50}', '{"x":"1"}', interval '1 hour')});
	is_deeply([ $db->row(q{select id, aggregatetype, aggregateid, type, payload ->> 'total', headers, not_before between now() + interval '59 min' and
		now() + interval '61 min' from pawl.outbox}) ], [ $id, 'order', '42', 'OrderPlaced', '12.50', '{"x": "1"}', 't' ], 'emit with all it takes');
	$db->do(q{select pawl.emit(null, null, 'Tick', null)});
	is_deeply([ $db->row(q{select aggregateid, payload, headers, not_before from pawl.outbox where type = 'Tick'}) ], [ undef, undef, '{}', undef ],
		'emit with as little as possible');
	$db->do(q{select pawl.emit('a', 'b', 'Named', delay => interval '0', headers => null, payload => '1')});
	is_deeply([ $db->row(q{select headers, not_before from pawl.outbox where type = 'Named'}) ], [ '{}', undef ], 'by name; no delay is none');
	like($db->error(q{select pawl.emit('a', 'b', repeat('x', 256), '{}')}), qr/the type must have 1 to 255 bytes/, 'a type that AMQP cannot carry');
	like($db->error(q{select pawl.emit('a', 'b', null, '{}')}), qr/the type must have 1 to 255 bytes/, 'no type');
	like($db->error(q{select pawl.emit('a', 'b', 'X', '{}', '[1]')}), qr/headers must be a JSON object/, 'headers that are none');
	$db->error(q{begin; select pawl.emit('a', 'b', 'Gone', '{}'); rollback});
	is($db->value(q{select count(*) from pawl.outbox where type = 'Gone'}), 0, 'rolled back: no event');
}
done_testing;
