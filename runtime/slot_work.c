/*
 * slot_work.c - one batch: its handlers, its transaction, its RESULT.
 *
 * The handlers of all messages run first, with no transaction open. The desk says which one is
 * running, for the runner's watch and for the charge if this process dies of it.
 */
#include "runtime/slot.h"
#include "runtime/slot_alone.h"
#include "runtime/slot_attempt.h"
#include "runtime/slot_crash.h"
#include "runtime/slot_session.h"

#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "util/fault.h"
#include "util/log.h"

enum { TEXT_MAX = 4096 };		/* what a dead letter's header takes */

#define OTHERWISE ", or choose another key for the queue, or missing_key = \"process\""

static const char *
cure_of_no_key(const struct envelope_spec *spec)
{
	switch (spec->source) {
	case SOURCE_MESSAGE_ID:
		return "the message has no message_id: let the publisher set one" OTHERWISE;
	case SOURCE_HEADER:
		return "the message has no such header: let the publisher set it" OTHERWISE;
	case SOURCE_JSON:
		return "the body has no such member: let the publisher set it" OTHERWISE;
	case SOURCE_TYPE:
	case SOURCE_ROUTING_KEY:
		break;
	}
	return "the message has no key: let the publisher set it" OTHERWISE;
}

/* The messages of the frame. They come from a runner of our own build, so a violation ends this
 * process. */
static void
open_batch(struct slot *s, struct slot_batch *b)
{
	const char *data = s->frames.in.data;
	size_t len = s->frames.in.len, at = sizeof(struct frame_batch);
	struct frame_batch header;

	memset(b, 0, sizeof(*b));
	if (len < sizeof(header))
		log_fatal(EX_SOFTWARE, "cannot understand the runner: a batch of %zu bytes", len);
	memcpy(&header, data, sizeof(header));
	b->id = header.id;
	b->flags = header.flags;
	b->frame = (struct slice){ data, len };
	if (header.count > (len - at) / sizeof(struct frame_message))
		log_fatal(EX_SOFTWARE, "cannot understand the runner: %u messages in %zu bytes",
		    header.count, len);
	b->messages = arena_array(&s->arena, header.count, sizeof(*b->messages));
	for (b->count = 0; b->count < header.count; b->count++) {
		const void *here = data + at;
		const struct frame_message *m = here;

		if (len - at < sizeof(*m) || frame_message_check(m, len - at) != 0 ||
		    m->handler >= s->handlers.count || s->handlers.list[m->handler].handler == NULL)
			log_fatal(EX_SOFTWARE,
			    "cannot understand the runner: message %zu of a batch is malformed",
			    b->count);
		b->messages[b->count].in = m;
		at += m->size;
	}
	if (at != len)
		log_fatal(EX_SOFTWARE, "cannot understand the runner: %zu bytes behind a batch",
		    len - at);
}

/* The idempotency key. false: the message ends here. */
static bool
find_key(struct slot *s, struct slot_message *m)
{
	const char *error = "";

	switch (envelope_key(m->in, &s->key_spec, &s->arena, &m->key, &error)) {
	case ENVELOPE_KEY_OK:
		m->keyed = s->setup.dedup == DEDUP_POSTGRES;
		return true;
	case ENVELOPE_KEY_NONE:
		m->key = slice_of("");
		if (s->setup.dedup == DEDUP_NONE || s->setup.missing_key == MISSING_KEY_PROCESS)
			return true;
		slot_message_fail(m, OUTCOME_REJECT, "no_key", cure_of_no_key(&s->key_spec));
		return false;
	case ENVELOPE_KEY_BAD_BODY:
		slot_message_fail(m, OUTCOME_REJECT, "bad_body", error);
		return false;
	}
	return false;
}

/* Handlers get texts that end in NUL: one that goes on behind it would be another for them than for
 * the runner. false: the message ends here. */
static bool
check_texts(struct slot *s, struct slot_message *m)
{
	const struct frame_message *in = m->in;
	const struct { const char *name; struct frame_text at; } texts[] = {
		{ "message_id", in->id }, { "type", in->type }, { "content_type", in->content_type },
		{ "correlation_id", in->correlation_id }, { "reply_to", in->reply_to },
		{ "exchange", in->exchange }, { "routing key", in->routing_key }
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct slice text = frame_message_text(in, texts[i].at);

		if (text.len == 0 || memchr(text.data, '\0', text.len) == NULL)
			continue;
		slot_message_fail(m, OUTCOME_REJECT, "bad_field", arena_printf(&s->arena,
		    "the message's %s holds a NUL: let the publisher set a text", texts[i].name));
		return false;
	}
	return true;
}

static void
fill_view(struct slot *s, const struct slot_message *m, struct pawl_message *view)
{
	const struct frame_message *in = m->in;
	struct slice trace = { "", 0 };

	(void)frame_message_header(in, ENVELOPE_TRACEPARENT, &trace);
	*view = (struct pawl_message){
		.key = m->key.data,
		.id = frame_message_text(in, in->id).data,
		.type = frame_message_text(in, in->type).data,
		.content_type = frame_message_text(in, in->content_type).data,
		.correlation_id = frame_message_text(in, in->correlation_id).data,
		.reply_to = frame_message_text(in, in->reply_to).data,
		.queue = s->setup.queue,
		.exchange = frame_message_text(in, in->exchange).data,
		.routing_key = frame_message_text(in, in->routing_key).data,
		/* What a dry run shows is the same each time. */
		.traceparent = s->setup.dry ? envelope_dry_trace(trace, &s->arena) :
			envelope_child_trace(trace, &s->arena),
		.body = (const char *)in + in->body_off,
		.body_size = in->body_size,
		.timestamp_ms = in->timestamp_ms,
		.timeout_ms = s->setup.timeout_ms,
		.attempt = in->attempt,
		.attempts = in->attempts,
	};
}

/* since before index: whoever sees the new index sees no older start. */
static void
desk_message(struct desk *desk, size_t index, struct clock_mono since)
{
	atomic_store_explicit(&desk->since_ns, since.ns, memory_order_relaxed);
	atomic_store_explicit(&desk->index, (uint32_t)index, memory_order_release);
}

static void
desk_phase(struct desk *desk, enum desk_phase phase, struct clock_mono since)
{
	atomic_store_explicit(&desk->since_ns, since.ns, memory_order_relaxed);
	atomic_store_explicit(&desk->phase, (uint32_t)phase, memory_order_release);
}

/*
 * Not into a child that it forked: that has neither a say on the socket nor in the transaction. Not
 * without the socket: what would be committed now could not be told, so it ends before, and is
 * charged.
 */
static void
check_process(const struct slot *s)
{
	struct stat st;

	if (getpid() != s->pid)
		_exit(EX_SOFTWARE);
	if (fstat(s->frames.fd, &st) != 0 || st.st_ino != s->socket)
		slot_crash_end("the handler closed its slot's socket to the runner");
}

/* Nor without the database's socket: that would look like a database that fails, with nobody to blame. */
void
slot_work_check(const struct slot *s)
{
	check_process(s);
	if (!slot_session_has_socket(&s->session))
		slot_crash_end("the handler closed its slot's socket to the database");
}

static void
call_handler(struct slot *s, const struct slot_handler *handler, struct slot_message *m)
{
	enum pawl_verdict verdict;

	fill_view(s, m, &s->call.view);
	slot_call_begin(&s->call, handler, m);
	(void)fault_hit("slot.in_handler");
	verdict = handler->handler->handle(handler->self, &s->call.call, &s->call.view);
	check_process(s);
	m->pending = false;
	slot_call_finish(&s->call, verdict);
}

void
slot_work_call(struct slot *s, const struct slot_batch *b, struct slot_message *m)
{
	struct clock_mono before = clock_mono_now(), after;

	desk_message(s->desk, (size_t)(m - b->messages), before);
	desk_phase(s->desk, DESK_HANDLING, before);
	call_handler(s, &s->handlers.list[m->in->handler], m);
	slot_work_check(s);
	after = clock_mono_now();
	desk_phase(s->desk, DESK_DATABASE, after);
	m->handle_us = (uint32_t)((after.ns - before.ns) / 1000);
}

/*
 * A message that is alone was in a slot that died, perhaps between its commit and the answer. If it was
 * committed its handler is not called again: what a handler left behind may have been the death of that
 * slot, and would be of this one. A witness (slot_attempt.h) takes the place of its effects. -1: the
 * environment failed.
 */
static int
look_into_inbox(struct slot *s, struct slot_message *m, struct pg_error *error)
{
	struct slot_failure f;
	struct slot_effect *witness;

	desk_phase(s->desk, DESK_DATABASE, clock_mono_now());
	if (slot_attempt_known(&s->transaction, &m, 1, &f) != 0) {
		*error = f.error;
		return -1;
	}
	desk_phase(s->desk, DESK_HANDLING, clock_mono_now());
	if (!m->known)
		return 0;
	witness = arena_zalloc(&s->arena, sizeof(*witness));
	witness->statement = &s->statements.own[OWN_WITNESS];
	m->effects = witness;
	m->keyed = false;
	m->pending = true;
	return 0;
}

/* The session was lost when the handlers of these had spoken: that may be the work of one. */
static void
suspect(struct slot_batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct slot_message *m = &b->messages[i];

		if (m->pending && !m->alone)
			m->flags |= FRAME_OUTCOME_SUSPECT;
	}
}

/*
 * What its handler refuses may be done already: delivered twice, or once more because its answer was
 * lost. Then it is a duplicate like any other, whatever the handler makes of the new state of things,
 * and no dead letter beside its effect. -1: the environment failed.
 */
static int
forgive_known(struct slot *s, struct slot_batch *b, struct pg_error *error)
{
	struct slot_message **failed = NULL;
	struct slot_failure f;
	size_t count = 0;

	for (size_t i = 0; i < b->count; i++) {
		struct slot_message *m = &b->messages[i];

		if (!m->keyed || m->pending || m->alone)
			continue;
		if (failed == NULL)
			failed = arena_alloc(&s->arena, b->count * sizeof(struct slot_message *));
		failed[count++] = m;
	}
	if (count == 0)
		return 0;
	if (slot_attempt_known(&s->transaction, failed, count, &f) != 0) {
		for (size_t i = 0; i < count; i++)
			failed[i]->pending = true;
		if (f.error.lost)
			suspect(b);
		*error = f.error;
		return -1;
	}
	for (size_t i = 0; i < count; i++) {
		if (failed[i]->known)
			failed[i]->outcome = OUTCOME_DUPLICATE;
	}
	return 0;
}

/* What is known was settled as if it had no key. */
static void
settle_known(struct slot_batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct slot_message *m = &b->messages[i];

		if (m->known && !m->pending && m->outcome == OUTCOME_DONE)
			m->outcome = OUTCOME_DUPLICATE;
	}
}

/* -1: the environment failed; what was not handled is pending. */
static int
handle_messages(struct slot *s, struct slot_batch *b, struct pg_error *error)
{
	struct clock_mono before = clock_mono_now(), after;

	slot_call_begin_batch(&s->call, b->frame);
	atomic_store_explicit(&s->desk->batch, b->id, memory_order_relaxed);
	desk_message(s->desk, 0, before);
	desk_phase(s->desk, DESK_HANDLING, before);
	for (size_t i = 0; i < b->count; i++) {
		struct slot_message *m = &b->messages[i];
		const struct slot_handler *handler = &s->handlers.list[m->in->handler];

		desk_message(s->desk, i, before);
		if (!find_key(s, m) || !check_texts(s, m))
			continue;
		if (handler->kind != PAWL_EFFECTS) {
			m->alone = true;
			continue;
		}
		if ((b->flags & FRAME_BATCH_ALONE) != 0 && m->keyed &&
		    look_into_inbox(s, m, error) != 0) {
			for (; i < b->count; i++)
				b->messages[i].pending = true;
			return -1;
		}
		if (m->known)
			continue;
		call_handler(s, handler, m);
		after = clock_mono_now();
		m->handle_us = (uint32_t)((after.ns - before.ns) / 1000);
		before = after;
	}
	desk_phase(s->desk, DESK_DATABASE, before);
	slot_work_check(s);	/* once for all: whose handler it was shows when they are alone */
	return 0;
}

/* A reason's code or text, cut between characters. */
static struct frame_text
put_text(struct buf *out, size_t payload, const char *text, size_t most)
{
	struct frame_text at = { 0, 0 };
	size_t len = text == NULL ? 0 : strnlen(text, most + 1);

	if (len > most)
		for (len = most; len > 0 && (text[len] & 0xc0) == 0x80; len--)
			;
	if (len == 0)
		return at;
	at.off = (uint32_t)(out->len - payload);
	at.len = (uint32_t)len;
	buf_append(out, text, len);
	buf_putc(out, '\0');
	return at;
}

static struct frame_text
put_bytes(struct buf *out, size_t payload, struct slice bytes)
{
	struct frame_text at = { (uint32_t)(out->len - payload), (uint32_t)bytes.len };

	buf_append(out, bytes.data, bytes.len);
	buf_putc(out, '\0');
	return at;
}

/* Only the first of several with one key has asked and was answered; who did not ask is not. */
static void
put_reply(struct buf *out, size_t payload, const struct slot_message *m, struct frame_outcome *outcome)
{
	if (m->in->reply_to.len == 0) {
		log_debug("message \"%s\" has no reply_to: its reply goes nowhere", m->key.data);
		return;
	}
	outcome->flags |= FRAME_OUTCOME_REPLY;
	if (m->reply_type != NULL && m->reply_type[0] != '\0')
		outcome->code = put_bytes(out, payload, slice_of(m->reply_type));
	if (m->reply.len > 0)
		outcome->text = put_bytes(out, payload, m->reply);
}

static void
put_result(struct slot *s, const struct slot_batch *b)
{
	const struct frame_result result = {
		.id = b->id, .count = (uint32_t)b->count,
		.database_us = (uint32_t)b->database_us, .deadlocks = b->deadlocks
	};
	struct buf *out = &s->frames.out;
	size_t begin = slot_frames_begin(&s->frames, FRAME_RESULT);
	size_t outcomes = begin + sizeof(result);
	size_t outcomes_size = b->count * sizeof(struct frame_outcome);

	buf_append(out, &result, sizeof(result));
	memset(buf_reserve(out, outcomes_size), 0, outcomes_size);
	out->len += outcomes_size;
	for (size_t i = 0; i < b->count; i++) {
		const struct slot_message *m = &b->messages[i];
		enum outcome what = m->pending ? OUTCOME_UNAPPLIED : m->outcome;
		struct frame_outcome outcome = {
			.outcome = (uint8_t)what, .flags = m->flags, .handle_us = m->handle_us
		};

		if (!m->pending && m->outcome != OUTCOME_DONE && m->outcome != OUTCOME_DUPLICATE) {
			outcome.delay_ms = m->delay_ms;
			outcome.code = put_text(out, begin, m->code, SLOT_CODE_MAX);
			outcome.text = put_text(out, begin, m->text, TEXT_MAX);
		}
		if (what == OUTCOME_DONE && m->replies)
			put_reply(out, begin, m, &outcome);
		memcpy(out->data + outcomes + i * sizeof(outcome), &outcome, sizeof(outcome));
	}
	slot_frames_end(&s->frames, begin);
}

struct slot_message *
slot_work_try(struct slot *s, struct slot_batch *b)
{
	arena_reset(&s->arena);
	open_batch(s, b);
	if (b->count != 1)
		log_fatal(EX_SOFTWARE, "cannot understand pawlctl: a dry run of %zu messages", b->count);
	slot_statements_begin_batch(&s->statements);
	slot_call_begin_batch(&s->call, b->frame);
	return find_key(s, b->messages) && check_texts(s, b->messages) ? b->messages : NULL;
}

int
slot_work(struct slot *s, struct pg_error *error)
{
	struct slot_batch b;
	struct clock_mono start;
	int status;

	arena_reset(&s->arena);
	slot_statements_begin_batch(&s->statements);
	open_batch(s, &b);
	status = handle_messages(s, &b, error);
	start = clock_mono_now();
	if (status == 0)
		status = forgive_known(s, &b, error);
	if (status == 0)
		status = slot_transaction_run(&s->transaction, &b, error);
	status = slot_alone_run(s, &b, status, error);
	settle_known(&b);
	b.database_us = (clock_mono_now().ns - start.ns) / 1000;
	(void)fault_hit("slot.before_result");
	put_result(s, &b);
	return status;
}

bool
slot_work_ahead(const struct slot *s)
{
	struct frame_batch header;

	if (s->frames.in.len < sizeof(header))
		return false;
	memcpy(&header, s->frames.in.data, sizeof(header));
	return (header.flags & FRAME_BATCH_AHEAD) != 0;
}

void
slot_work_unapplied(struct slot *s)
{
	struct slot_batch b;

	arena_reset(&s->arena);
	open_batch(s, &b);
	for (size_t i = 0; i < b.count; i++)
		b.messages[i].pending = true;
	put_result(s, &b);
}
