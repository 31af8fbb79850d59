/*
 * slot.c - see slot.h: the life of a slot, from SETUP to the end.
 */
#include "runtime/slot.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "util/log.h"
#include "util/spawn.h"

enum {
	RECONNECT_FIRST_MS = 100, RECONNECT_MOST_MS = 10000,
	CONNECT_PATIENCE_MS = 30000,
	CHECK_PATIENCE_MS = 5000	/* a check does not wait longer for a database */
};

static void
set_phase(struct slot *s, enum desk_phase phase)
{
	atomic_store_explicit(&s->desk->since_ns, clock_mono_now().ns, memory_order_relaxed);
	atomic_store_explicit(&s->desk->phase, (uint32_t)phase, memory_order_release);
}

static void
put_answer(struct slot *s, enum frame_type type, const struct slot_answer *answer)
{
	size_t begin = slot_frames_begin(&s->frames, type);

	slot_answer_put(&s->frames.out, answer);
	slot_frames_end(&s->frames, begin);
}

static void
put_text(struct slot *s, enum frame_type type, const char *text)
{
	const struct slot_answer answer = { .text = text };

	put_answer(s, type, &answer);
}

static void
put_ready(struct slot *s, const char *text)
{
	struct slot_answer answer = { .text = text, .handler_count = s->handlers.count };

	answer.handlers = arena_array(&s->arena, answer.handler_count, sizeof(*answer.handlers));
	for (size_t i = 0; i < answer.handler_count; i++) {
		const struct slot_handler *h = &s->handlers.list[i];

		answer.handlers[i].name = h->handler == NULL ? "" : h->handler->name;
		answer.handlers[i].version = h->handler == NULL ? "" : h->handler->version;
		answer.handlers[i].kind = (unsigned)h->kind;
	}
	put_answer(s, FRAME_READY, &answer);
	arena_reset(&s->arena);
}

/* ---- start */

static int
read_setup(struct slot *s)
{
	int type = slot_frames_read(&s->frames);

	if (type == SLOT_RUNNER_GONE)
		return -1;
	/* The payload stays; batches get a buffer of their own. */
	s->setup_bytes = s->frames.in;
	buf_init(&s->frames.in);
	if (type != FRAME_SETUP ||
	    slot_setup_get((struct slice){ s->setup_bytes.data, s->setup_bytes.len },
		&s->setup_arena, &s->setup) != 0 ||
	    envelope_spec_parse(s->setup.key, &s->key_spec) != 0)
		log_fatal(EX_SOFTWARE,
		    "cannot understand the runner's SETUP: is pawl-slot of the same build?");
	return 0;
}

static void
init(struct slot *s)
{
	slot_statements_init(&s->statements, s->setup.dedup == DEDUP_POSTGRES);
	slot_session_init(&s->session, &s->setup);
	slot_handlers_init(&s->handlers, &s->setup, &s->setup_arena, &s->statements);
	slot_call_init(&s->call, &s->arena, &s->statements);
	slot_transaction_init(
	    &s->transaction, &s->session, &s->statements, &s->arena, s->desk, s->setup.consumer);
	slot_cleaner_init(&s->cleaner, &s->setup);
	backoff_init(&s->backoff, RECONNECT_FIRST_MS, RECONNECT_MOST_MS);
	s->retry_at = clock_mono_now();
}

static void
release(struct slot *s)
{
	slot_handlers_stop(&s->handlers);
	slot_transaction_release(&s->transaction);
	slot_call_release(&s->call);
	slot_handlers_release(&s->handlers);
	slot_session_release(&s->session);
	slot_statements_release(&s->statements);
	slot_frames_release(&s->frames);
	arena_release(&s->rows);
	arena_release(&s->arena);
	arena_release(&s->setup_arena);
	buf_release(&s->setup_bytes);
}

static int
refuse(struct slot *s)
{
	put_text(s, FRAME_REFUSED, s->handlers.errors.data);
	slot_frames_send(&s->frames);
	return EX_CONFIG;
}

/* ---- the database */

static void
database_lost(struct slot *s, const struct pg_error *error)
{
	slot_session_close(&s->session);
	/* The runner complains, for all of its slots. */
	log_debug("waiting for the database: %s", error->text);
	s->retry_at = clock_mono_after_ms(clock_mono_now(), backoff_next_ms(&s->backoff));
	s->ready = false;
	set_phase(s, DESK_WAITING);
	put_text(s, FRAME_WAITING, error->text);
}

/* A session is there: what has to be prepared before the first message. -1: not usable. */
static int
prepare_start(struct slot *s, struct pg_error *error)
{
	slot_statements_forget(&s->statements);
	if (!s->checked)
		slot_handlers_want_statements(&s->handlers);
	if (slot_statements_prepare(&s->statements, &s->session, error) != 0)
		return -1;
	if (!s->checked)
		slot_handlers_report_statements(&s->handlers);
	s->checked = true;
	return 0;
}

/* Goes on connecting until something is on the socket. -1: the configuration is refused. */
static int
connect_database(struct slot *s)
{
	struct pg_error error;

	switch (slot_session_open(&s->session, s->frames.fd, CONNECT_PATIENCE_MS, &error)) {
	case SESSION_WOKEN:
		return 0;
	case SESSION_FAILED:
		database_lost(s, &error);
		return 0;
	case SESSION_UP:
		break;
	}
	if (prepare_start(s, &error) != 0) {
		database_lost(s, &error);
		return 0;
	}
	if (s->handlers.errors.len > 0)
		return -1;
	s->ready = true;
	set_phase(s, DESK_IDLE);
	put_ready(s, "");
	return 0;
}

/* Everything is loaded; statements are checked if there is a database to ask. */
static int
check(struct slot *s)
{
	struct buf text = BUF_INIT;
	struct pg_error error;
	bool asked = slot_session_open(&s->session, -1, CHECK_PATIENCE_MS, &error) == SESSION_UP &&
	    prepare_start(s, &error) == 0;
	int status = EX_OK;

	if (s->handlers.errors.len > 0) {
		status = refuse(s);
	} else {
		if (!asked)
			buf_printf(&text, "statements were not checked: %s", error.text);
		put_ready(s, text.data);
		slot_frames_send(&s->frames);
	}
	buf_release(&text);
	return status;
}

/* Nothing is done but the handlers' own calls, and their queries if there is a database. */
static int
dry_run(struct slot *s)
{
	struct buf text = BUF_INIT;
	struct pg_error error;
	bool database = s->setup.conninfo[0] != '\0';
	int status = EX_OK;

	if (database && (slot_session_open(&s->session, -1, CHECK_PATIENCE_MS, &error) != SESSION_UP ||
			    prepare_start(s, &error) != 0)) {
		buf_printf(&text, "the database cannot be asked: %s\n", error.text);
		put_text(s, FRAME_REFUSED, text.data);
		slot_frames_send(&s->frames);
		status = EX_UNAVAILABLE;
	} else if (s->handlers.errors.len > 0) {
		status = refuse(s);
	} else {
		put_ready(s, "");
		slot_frames_send(&s->frames);
		status = slot_try(s, database);
	}
	buf_release(&text);
	return status;
}

/* ---- the loop */

static void
batch(struct slot *s)
{
	struct pg_error error;
	bool overtakes = s->behind && slot_work_ahead(s);

	s->behind = true;
	if (!s->ready || overtakes) {
		slot_work_unapplied(s);
		return;
	}
	if (slot_work(s, &error) != 0) {
		/* WAITING goes first: the runner shall not hand out the next batch because of
		 * this one's RESULT. */
		struct buf result = s->frames.out;

		buf_init(&s->frames.out);
		database_lost(s, &error);
		buf_append(&s->frames.out, result.data, result.len);
		buf_release(&result);
		return;
	}
	s->behind = false;
	backoff_reset(&s->backoff);
	set_phase(s, DESK_IDLE);
}

/* Until a frame is there, the database has something to say, or it is time for something. true:
 * a frame. */
static bool
wait_for_frame(struct slot *s)
{
	struct pollfd p[2] = {
		{ .fd = s->frames.fd, .events = POLLIN },
		{ .fd = s->ready ? pg_fd(s->session.pg) : -1, .events = POLLIN }
	};
	int64_t wait_ms = slot_cleaner_wait_ms(&s->cleaner);	/* -1: for ever */
	struct pg_error error;
	int n;

	if (!s->ready) {
		wait_ms = clock_ms_between(clock_mono_now(), s->retry_at);
		if (wait_ms < 0)
			wait_ms = 0;
	}
	n = poll(p, 2, (int)wait_ms);

	if (n < 0 && errno != EINTR)
		log_fatal(EX_OSERR, "could not wait for the runner: %m");
	if (n > 0 && p[0].revents != 0)
		return true;
	if (n > 0 && p[1].revents != 0 && pg_step(s->session.pg, &error) != 0)
		database_lost(s, &error);
	return false;
}

/* What can wait until there is no work: old keys, a new session. -1: the configuration is
 * refused. */
static int
tend_database(struct slot *s)
{
	struct pg_error error;

	if (s->ready) {
		if (slot_cleaner_run(&s->cleaner, &s->session, &error) != 0)
			database_lost(s, &error);
		return 0;
	}
	if (clock_ms_between(clock_mono_now(), s->retry_at) > 0)
		return 0;
	return connect_database(s);
}

static int
serve(struct slot *s)
{
	for (;;) {
		if (tend_database(s) != 0)
			return refuse(s);
		slot_frames_send(&s->frames);
		if (!wait_for_frame(s))
			continue;
		switch (slot_frames_read(&s->frames)) {
		case FRAME_BATCH:
			batch(s);
			break;
		case FRAME_SHUTDOWN:
		case SLOT_RUNNER_GONE:
			return EX_OK;
		default:
			log_fatal(EX_SOFTWARE,
			    "cannot understand the runner: a frame that is not for a slot");
		}
		slot_frames_send(&s->frames);
	}
}

int
slot_run(struct slot *s, int fd, struct desk *desk)
{
	struct log_context queue = { NULL, "queue", NULL }, number = { &queue, "slot", NULL };
	char number_text[16];
	struct stat st;
	int status;

	memset(s, 0, sizeof(*s));
	slot_frames_init(&s->frames, fd);
	s->desk = desk;
	s->pid = getpid();
	s->socket = fstat(fd, &st) == 0 ? st.st_ino : 0;
	buf_init(&s->setup_bytes);
	if (read_setup(s) != 0)
		return EX_OK;
	log_init("pawl-slot", s->setup.log_level, s->setup.log_format);
	spawn_title_set("pawl-slot: %s slot %u", s->setup.consumer, s->setup.slot);
	(void)snprintf(number_text, sizeof(number_text), "%u", s->setup.slot);
	queue.value = s->setup.consumer;
	number.value = number_text;
	(void)log_push(&number);

	init(s);
	slot_handlers_start(&s->handlers);
	slot_work_check(s);
	if (s->setup.check)
		status = check(s);
	else if (s->handlers.errors.len > 0)
		status = refuse(s);
	else if (s->setup.dry)
		status = dry_run(s);
	else
		status = serve(s);
	(void)log_push(NULL);
	release(s);
	return status;
}
