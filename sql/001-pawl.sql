-- The tables of Pawl, in a schema of their own. PostgreSQL 14 to 18. Run by pawlctl migrate, in one transaction.

-- Who may not create schemas can have it made beforehand: create schema pawl authorization ROLE.
do $schema$
begin
	if to_regnamespace('pawl') is null then
		create schema pawl;
		comment on schema pawl is 'Pawl: outbox, inbox and sagas. Made by pawlctl migrate';
	end if;
end
$schema$;

create table pawl.schema_version (
	number integer primary key,
	name text not null,
	applied_at timestamptz not null default clock_timestamp(),
	applied_by text not null default session_user
);
comment on table pawl.schema_version is 'migrations that were applied';

-- Events that are to be published. Rows come and go: pawl-relay deletes what the broker has confirmed. The one index is what it reads by.
create table pawl.outbox (
	seq bigint generated always as identity primary key,
	id uuid not null default gen_random_uuid(),
	aggregatetype text,
	aggregateid text,
	type text not null,
	payload jsonb,
	headers jsonb default '{}',
	not_before timestamptz,
	created_at timestamptz not null default clock_timestamp()
)
with (
	-- A row lives for milliseconds: no compression, no TOAST table up to a page, and vacuum by count, not by a share of a size that is near 0.
	toast_tuple_target = 8160,
	autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0,
	autovacuum_vacuum_insert_scale_factor = 0,
	autovacuum_vacuum_insert_threshold = 100000,
	-- Statistics of a table that is empty now and full in a second mislead the planner.
	autovacuum_analyze_threshold = 2000000000,
	toast.autovacuum_vacuum_scale_factor = 0,
	toast.autovacuum_vacuum_threshold = 5000,
	toast.autovacuum_vacuum_cost_delay = 0
);
alter table pawl.outbox alter column payload set storage external;
alter table pawl.outbox alter column headers set storage external;
create index outbox_not_before on pawl.outbox (not_before) where not_before is not null;	-- costs nothing for a row without
comment on table pawl.outbox is 'events to publish, in the order of seq; insert with pawl.emit() in the transaction that they tell about';
comment on column pawl.outbox.id is 'message_id at the broker: what consumers tell duplicates by';
comment on column pawl.outbox.aggregateid is 'events with the same aggregateid are published one after the other; null: in any order';
comment on column pawl.outbox.headers is 'an object: message headers';
comment on column pawl.outbox.not_before is 'not published earlier; null: at once';

-- Events that could not be published and were put aside, so that the others of their aggregate go on. The first columns are for people;
-- the row itself, of whatever table, is in "original": json and not jsonb, so that every value comes back as it was.
create table pawl.outbox_dead (
	number bigint generated always as identity primary key,
	outbox text not null,
	event text not null,
	aggregatetype text,
	aggregateid text,
	type text,
	created_at timestamptz,
	reason text not null,
	text text not null,
	original json not null,
	parked_at timestamptz not null default clock_timestamp()
);
comment on table pawl.outbox_dead is 'events that pawl-relay put aside, with the reason; see pawlctl outbox';
comment on column pawl.outbox_dead.event is 'its number or id in the outbox''s table';
comment on column pawl.outbox_dead.original is 'the row of that table';

-- Which message was done by whom. Inserted in the transaction of its effects.
create table pawl.inbox (
	consumer text collate "C" not null,
	message_id text collate "C" not null,
	done_at timestamptz not null default now(),
	primary key (consumer, message_id)
)
with (
	autovacuum_vacuum_scale_factor = 0.01,
	autovacuum_vacuum_threshold = 10000,
	autovacuum_vacuum_insert_scale_factor = 0.05,
	autovacuum_vacuum_insert_threshold = 100000
);
create index inbox_done_at on pawl.inbox (done_at);
comment on table pawl.inbox is 'idempotency keys of messages that are done; kept for inbox_retention';

create table pawl.saga (
	saga text collate "C" not null,
	id text collate "C" not null,
	state text not null,
	step integer not null default 0,
	data jsonb not null default '{}',
	created_at timestamptz not null default clock_timestamp(),
	updated_at timestamptz not null default clock_timestamp(),
	deadline timestamptz,
	primary key (saga, id)
)
with (
	fillfactor = 80,
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_vacuum_threshold = 1000
);
create index saga_deadline on pawl.saga (deadline) where deadline is not null;
comment on table pawl.saga is 'sagas and where they are';

create function pawl.emit(aggregatetype text, aggregateid text, type text, payload jsonb, headers jsonb default '{}', delay interval default null)
returns uuid
language plpgsql
as $emit$
declare
	event constant uuid := gen_random_uuid();	-- not "returning": who emits need not be able to read
begin
	if emit.type is null or octet_length(emit.type) not between 1 and 255 then
		raise exception 'pawl.emit: the type must have 1 to 255 bytes' using errcode = 'invalid_parameter_value';
	end if;
	if jsonb_typeof(emit.headers) <> 'object' then
		raise exception 'pawl.emit: headers must be a JSON object' using errcode = 'invalid_parameter_value';
	end if;
	insert into pawl.outbox (id, aggregatetype, aggregateid, type, payload, headers, not_before)
	values (event, emit.aggregatetype, emit.aggregateid, emit.type, emit.payload, coalesce(emit.headers, '{}'),
		case when emit.delay > interval '0' then clock_timestamp() + emit.delay end);
	return event;
end
$emit$;
comment on function pawl.emit is 'puts an event into pawl.outbox, to be published if and when the transaction commits; returns its id';

-- The doorbell of an outbox, pawl.outbox or any other table: wakes a sleeping pawl-relay, whose configuration says doorbell = true. While it sleeps it has
-- the advisory lock (1885435756, the table's oid) to itself; an insert that cannot share it rings when its transaction commits. While the relay is
-- awake nothing is notified, and no function called but the one that tries the lock.
create function pawl.ring()
returns trigger
language plpgsql
as $ring$
begin
	perform pg_catalog.pg_notify('pawl_' || tg_relid, '');
	return null;
end
$ring$;
comment on function pawl.ring is 'what the trigger pawl_doorbell of a table calls';

create function pawl.doorbell(outbox regclass)
returns void
language plpgsql
as $doorbell$
begin
	execute format('create or replace trigger pawl_doorbell after insert on %s for each statement'
		|| ' when (not pg_catalog.pg_try_advisory_xact_lock_shared(1885435756, %L::pg_catalog.regclass::pg_catalog.int4)) execute function pawl.ring()',
		outbox, outbox);
end
$doorbell$;
comment on function pawl.doorbell is 'gives a table the trigger that wakes pawl-relay; to take it away: drop trigger pawl_doorbell on TABLE';
