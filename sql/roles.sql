-- Roles for least rights, granted to the login roles of services, pawl-relay and pawl-worker:
--
--   pawlctl migrate --roles | psql -d DATABASE
--   grant pawl_emitter to shop; grant pawl_relay to shop_relay; grant pawl_worker to shop_worker;
--
-- Needs CREATEROLE and the ownership of the schema pawl. May be run again at any time. Roles are of the whole cluster, grants of one database.

do $roles$
declare
	wanted text;
begin
	foreach wanted in array array['pawl_emitter', 'pawl_relay', 'pawl_worker'] loop
		if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
			begin
				execute format('create role %I nologin', wanted);
			exception when duplicate_object or unique_violation then
				null;	-- somebody else was quicker
			end;
		end if;
	end loop;
end
$roles$;

grant usage on schema pawl to pawl_emitter, pawl_relay, pawl_worker;
grant select on pawl.schema_version to pawl_emitter, pawl_relay, pawl_worker;

-- A service: events in, nothing out.
grant insert on pawl.outbox to pawl_emitter;
grant execute on function pawl.emit(text, text, text, jsonb, jsonb, interval) to pawl_emitter;

-- pawl-relay: reads events, deletes what is published, puts aside what cannot be. pawlctl outbox, with the same login, puts events back.
grant select, insert, delete on pawl.outbox to pawl_relay;
grant select, insert, delete on pawl.outbox_dead to pawl_relay;

-- pawl-worker: claims keys and forgets old ones, emits, keeps sagas. What its handlers' statements touch is the service's to grant.
grant insert on pawl.outbox to pawl_worker;
grant execute on function pawl.emit(text, text, text, jsonb, jsonb, interval) to pawl_worker;
grant select, insert, delete on pawl.inbox to pawl_worker;
grant select, insert, update, delete on pawl.saga to pawl_worker;
