/*
 * relay.c - the program: one loop, one connection to the broker, a session per database, any number
 * of outboxes.
 *
 * TERM and INT drain: nothing more is issued; when the broker has answered for all that was, and
 * that is deleted, the sessions are closed (which releases the locks) and the program ends with
 * status 0. After DRAIN_MS, or at a second signal, it ends as it is: what is left will be published
 * again.
 */
#include "outbox-relay/relay.h"

#include <assert.h>
#include <malloc.h>
#include <sysexits.h>
#include <unistd.h>

#include <config.h>	/* PACKAGE_VERSION; in quotes it would be common/config.h */

#include "common/blocked_list.h"
#include "common/stats.h"
#include "outbox-relay/database.h"
#include "outbox-relay/dial.h"
#include "outbox-relay/outbox_internal.h"
#include "outbox-relay/servers.h"
#include "util/amqp_publisher.h"
#include "util/arena.h"
#include "util/loop.h"
#include "util/notify.h"
#include "util/spawn.h"

enum { TICK_MS = 1000, DRAIN_MS = 10000, DRAIN_LOOK_MS = 20, CONNECT_MS = 5000 };

struct relay {
	const struct config *config;
	struct loop *loop;
	struct amqp_conn_options broker;
	struct amqp_publisher *publisher;
	struct log_complaint broker_complaint, list_complaint;
	struct database **databases;
	struct glance **glances;	/* one for each of them */
	struct servers *servers;
	size_t database_count;
	struct outbox **outboxes;
	size_t outbox_count;
	struct outbox *work, **work_end;	/* those that were woken */
	struct stats_file *stats;
	struct loop_timer tick, drain;
	struct clock_mono drain_until;
	bool draining, until_empty, stopped;
	int status;			/* of the program */
	size_t bytes;				/* of rows in memory */
	size_t leading;
	struct arena arena;
};

/* For outboxes. */

struct loop *
relay_loop(const struct relay *relay)
{
	return relay->loop;
}

bool
relay_is_draining(const struct relay *relay)
{
	return relay->draining;
}

void
relay_account(struct relay *relay, ptrdiff_t bytes)
{
	relay->bytes += (size_t)bytes;
}

size_t
relay_bytes(const struct relay *relay)
{
	return relay->bytes;
}

void
relay_wake(struct relay *relay, struct outbox *o)
{
	if (o->awake || relay->stopped)
		return;
	o->awake = true;
	o->next_awake = NULL;
	*relay->work_end = o;
	relay->work_end = &o->next_awake;
}

const struct outbox *
relay_twin(const struct relay *relay, const struct outbox *o)
{
	for (size_t i = 0; i < relay->outbox_count; i++) {
		const struct outbox *other = relay->outboxes[i];

		if (other != o && other->database == o->database &&
		    (other->state == OUTBOX_LEADING || other->trying) &&
		    strcmp(other->table.lock_key, o->table.lock_key) == 0)
			return other;
	}
	return NULL;
}

static void
wake_all(struct relay *relay)
{
	for (size_t i = 0; i < relay->outbox_count; i++) {
		/* Now, not at its next tick: what stands by says so before. */
		stats_set(&outbox_stats(relay->outboxes[i])->broker_up,
		    amqp_publisher_connected(relay->publisher));
		relay_wake(relay, relay->outboxes[i]);
	}
}

/* The broker. */

static void
broker_connected(void *arg)
{
	struct relay *relay = arg;
	int channels = amqp_publisher_channel_max(relay->publisher);

	log_recovered(&relay->broker_complaint, "the broker is back");
	if ((size_t)channels < 2 * relay->outbox_count)
		log_warning("the broker allows %d channels on a connection; %zu outboxes need one"
		    " each, and another one to find out what cannot be published: raise its"
		    " channel_max", channels, relay->outbox_count);
	log_debug("connected to the broker");
	wake_all(relay);
}

static void
broker_lost(void *arg, const struct amqp_error *error)
{
	struct relay *relay = arg;

	log_complain(&relay->broker_complaint,
	    error->configuration ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s; trying again",
	    error->text);
	wake_all(relay);
}

static void
broker_blocked(void *arg, bool blocked, struct slice reason)
{
	struct relay *relay = arg;

	if (blocked)
		log_warning("the broker takes no more messages for now: %.*s; nothing is published"
		    " until it does", (int)reason.len, reason.data);
	else
		log_info("the broker takes messages again");
	wake_all(relay);
}

static void
start_broker(struct relay *relay)
{
	static const struct amqp_publisher_events events = {
		.connected = broker_connected, .lost = broker_lost, .blocked = broker_blocked
	};
	const struct config *config = relay->config;
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	relay->broker = (struct amqp_conn_options){
		.uris = config->uris,
		.uri_count = config->uri_count,
		.password = config->password,
		.ca_file = config->ca_file,
		.cert_file = config->cert_file,
		.key_file = config->key_file,
		.name = arena_printf(&relay->arena, "pawl-relay %s/%s", host, config->name),
		.product = "pawl-relay",
		.version = PACKAGE_VERSION,
		.heartbeat_s = config->heartbeat_s,
		.connect_timeout_ms = CONNECT_MS,
		.rpc_timeout_ms = 60000,
	};
	relay->publisher = amqp_publisher_new(relay->loop, &relay->broker, &events, relay);
}

/* For pawlctl outbox: what waits, and why. */
static void
list_blocked(struct relay *relay)
{
	struct buf text = BUF_INIT;
	char error[512];
	bool changed = false;

	for (size_t i = 0; i < relay->outbox_count; i++)
		changed |= relay->outboxes[i]->blocked.changed;
	if (!changed || relay->stats == NULL)
		return;
	for (size_t i = 0; i < relay->outbox_count; i++)
		outbox_blocked_list(relay->outboxes[i], &text);
	if (blocked_list_write(relay->config->run_dir, relay->config->name,
	    (struct slice){ text.data, text.len }, error, sizeof(error)) == 0) {
		log_recovered(&relay->list_complaint, "what waits is listed again");
	} else {
		log_complain(&relay->list_complaint, LOG_LEVEL_WARNING,
		    "pawlctl outbox cannot list what waits: %s", error);
		relay->outboxes[0]->blocked.changed = true;	/* tried again */
	}
	buf_release(&text);
}

/* Rounds. */

static void
report(struct relay *relay)
{
	size_t leading = 0;

	for (size_t i = 0; i < relay->outbox_count; i++)
		leading += outbox_leads(relay->outboxes[i]);
	if (leading == relay->leading)
		return;
	relay->leading = leading;
	spawn_title_set("pawl-relay: %s: leads %zu of %zu outboxes", relay->config->name, leading,
	    relay->outbox_count);
	notify_systemd("STATUS=leads %zu of %zu outboxes", leading, relay->outbox_count);
}

static bool
all_are(const struct relay *relay, bool (*is)(const struct outbox *))
{
	for (size_t i = 0; i < relay->outbox_count; i++)
		if (!is(relay->outboxes[i]))
			return false;
	return true;
}

static void
after_round(void *arg)
{
	struct relay *relay = arg;

	/*
	 * An outbox that is woken while it works gets its turn in this round, too: it stops when it
	 * waits for something.
	 */
	while (relay->work != NULL) {
		struct outbox *o = relay->work;

		relay->work = o->next_awake;
		if (relay->work == NULL)
			relay->work_end = &relay->work;
		o->awake = false;
		outbox_work(o);
	}
	for (size_t i = 0; i < relay->database_count; i++)
		database_flush(relay->databases[i]);
	amqp_publisher_flush(relay->publisher);
	report(relay);
	if ((relay->draining && all_are(relay, outbox_is_drained)) ||
	    (relay->until_empty && !relay->draining && all_are(relay, outbox_is_empty)))
		loop_stop(relay->loop);
}

static void
tick(void *arg)
{
	struct relay *relay = arg;

	loop_timer_set_ms(&relay->tick, TICK_MS);
	for (size_t i = 0; i < relay->outbox_count; i++)
		outbox_tick(relay->outboxes[i]);
	list_blocked(relay);
}

/* The end. */

static void
drain_look(void *arg)
{
	struct relay *relay = arg;
	size_t left = 0;

	if (clock_mono_now().ns < relay->drain_until.ns) {
		loop_timer_set_ms(&relay->drain, DRAIN_LOOK_MS);
		wake_all(relay);
		return;
	}
	for (size_t i = 0; i < relay->outbox_count; i++)
		left += outbox_unsettled(relay->outboxes[i]);
	log_warning("%zu events were published, but not confirmed or not deleted in time: they"
	    " will be published again", left);
	loop_stop(relay->loop);
}

static void
on_signal(void *arg, int number)
{
	struct relay *relay = arg;

	if (number == SIGHUP) {
		log_warning("cannot read the configuration again while running; restart instead");
		return;
	}
	if (number == SIGUSR1) {
		log_info("told to try what waits now");
		for (size_t i = 0; i < relay->outbox_count; i++)
			outbox_blocked_try(relay->outboxes[i]);
		return;
	}
	if (relay->draining) {
		log_warning("told to stop a second time: not waiting any longer");
		loop_stop(relay->loop);
		return;
	}
	log_info("stopping: waiting for the broker to confirm what was published");
	notify_systemd("STOPPING=1");
	relay->draining = true;
	relay->drain_until = clock_mono_after_ms(clock_mono_now(), DRAIN_MS);
	loop_timer_set_ms(&relay->drain, 0);
}

/* The beginning. */

static bool
is_wanted(const struct relay_options *options, const char *name)
{
	for (size_t i = 0; i < options->only_count; i++)
		if (strcmp(options->only[i], name) == 0)
			return true;
	return options->only_count == 0;
}

static size_t
database_for(struct relay *relay, const char *conninfo)
{
	size_t i = 0;

	while (i < relay->database_count &&
	    strcmp(database_conninfo(relay->databases[i]), conninfo) != 0)
		i++;
	if (i == relay->database_count) {
		relay->databases[i] = database_new(relay->loop, conninfo,
		    arena_printf(&relay->arena, "pawl-relay %s", relay->config->name));
		relay->glances[i] = glance_new(relay->databases[i]);
		servers_add(relay->servers, relay->databases[i]);
		relay->database_count++;
	}
	return i;
}

static void
refuse(void *arg, const char *error)
{
	struct relay *relay = arg;

	log_error("%s: outboxes: %s", relay->config->file, error);
	relay->status = EX_CONFIG;
	loop_stop(relay->loop);
}

static void
start_stats(struct relay *relay, size_t pages)
{
	char error[1024];

	if (stats_lock(relay->config->run_dir, "relay", relay->config->name, error, sizeof(error)) != 0)
		log_fatal(EX_CONFIG, "%s", error);
	relay->stats = stats_create(relay->config->run_dir, "relay", relay->config->name,
	    (uint32_t)pages, error, sizeof(error));
	if (relay->stats == NULL)
		log_warning("no statistics: %s", error);
	else
		blocked_list_remove(relay->config->run_dir, relay->config->name);
}

static void
start_outboxes(struct relay *relay, const struct relay_options *options)
{
	const struct config *config = relay->config;

	relay->outboxes = arena_array(&relay->arena, config->outbox_count, sizeof(struct outbox *));
	relay->databases = arena_array(&relay->arena, config->outbox_count,
	    sizeof(struct database *));
	relay->glances = arena_array(&relay->arena, config->outbox_count, sizeof(struct glance *));
	relay->servers = servers_new(relay->loop, refuse, relay);
	start_stats(relay, config->outbox_count);
	for (size_t i = 0; i < config->outbox_count; i++) {
		const struct config_outbox *outbox = &config->outboxes[i];
		struct stats_page *page = NULL;
		size_t at;

		if (!is_wanted(options, outbox->name))
			continue;
		if (relay->stats != NULL)
			page = stats_page_take(relay->stats, STATS_PAGE_OUTBOX, outbox->name);
		at = database_for(relay, outbox->conninfo);
		relay->outboxes[relay->outbox_count++] = outbox_new(relay, outbox,
		    relay->databases[at], relay->glances[at], relay->publisher, page);
	}
	servers_start(relay->servers);
}

static void
stop(struct relay *relay)
{
	relay->stopped = true;
	for (size_t i = 0; i < relay->outbox_count; i++)
		outbox_free(&relay->outboxes[i]);
	for (size_t i = 0; i < relay->database_count; i++) {
		database_free(&relay->databases[i]);
		glance_free(&relay->glances[i]);
	}
	servers_free(&relay->servers);
	dial_settle();
	amqp_publisher_free(&relay->publisher);
	loop_timer_stop(&relay->tick);
	loop_timer_stop(&relay->drain);
	if (relay->stats != NULL) {
		blocked_list_remove(relay->config->run_dir, relay->config->name);
		atomic_store(&relay->stats->closed, 1);
	}
	assert(relay->bytes == 0);
	loop_free(&relay->loop);
	arena_release(&relay->arena);
}

/*
 * By default the C library stops mapping large blocks on their own once such a block was freed. But
 * those that rabbitmq-c has for each channel, as large as a frame, are hardly touched: mapped they
 * cost a page each. And memory that was needed for large payloads goes back.
 */
static void
spare_memory(void)
{
#ifdef __GLIBC__
	(void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	(void)mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
#endif
}

int
relay_run(const struct config *config, const struct relay_options *options)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	struct relay relay = {
		.config = config, .until_empty = options->until_empty, .arena = ARENA_INIT
	};

	spare_memory();
	relay.work_end = &relay.work;
	relay.loop = loop_new();
	loop_signals(relay.loop, signals, ARRAY_SIZE(signals), on_signal, &relay);
	loop_after(relay.loop, after_round, &relay);
	loop_timer_init(&relay.tick, relay.loop, tick, &relay);
	loop_timer_init(&relay.drain, relay.loop, drain_look, &relay);
	start_broker(&relay);
	start_outboxes(&relay, options);
	tick(&relay);
	log_info("pawl-relay %s: %zu outboxes in %zu databases", PACKAGE_VERSION,
	    relay.outbox_count, relay.database_count);
	notify_systemd("READY=1");
	loop_run(relay.loop);
	log_info("stopped");
	stop(&relay);
	return relay.status;
}
