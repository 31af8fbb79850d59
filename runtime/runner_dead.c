/*
 * runner_dead.c - dead letters: a copy of the message with its reason goes to QUEUE.dead, and when
 * the broker has confirmed that, the original is acked. In the runner.
 *
 * A letter is never lost: refused, returned or cut off, it is published again, with pauses, while
 * its original stays unacked. A message that closes the channel (406) takes others with it: all of
 * them then go one at a time until the culprit is known.
 */
#include <assert.h>
#include <stdarg.h>

#include "common/topology.h"
#include "runtime/runner_internal.h"
#include "util/fault.h"

enum {
	AGAIN_FIRST_MS = 500, AGAIN_MOST_MS = 60000,
	CONFIRM_MS = 60000,		/* longer than a change of leaders (facts row 77) */
	SENT_MOST = 256			/* unconfirmed at once: the loop has other things to do */
};

struct dead_letter {
	struct dead_letter *next, *prev;	/* in waiting, or in sent */
	struct delivery *delivery;	/* NULL: it went another way while the copy was out */
	bool sent;
	bool suspect;			/* was out when one message closed the channel */
	struct clock_mono due;		/* waiting: not before */
	struct backoff again;
	size_t text_len;
	char code[RUNNER_CODE_MAX + 1];
	char text[];
};

/* ---- lists ---- */

static void
wait_at_end(struct runner_dead *dead, struct dead_letter *l)
{
	l->sent = false;
	l->next = NULL;
	l->prev = dead->waiting_tail;
	if (dead->waiting_tail == NULL)
		dead->waiting = l;
	else
		dead->waiting_tail->next = l;
	dead->waiting_tail = l;
}

static void
take_out(struct runner_dead *dead, struct dead_letter *l)
{
	if (l->prev != NULL)
		l->prev->next = l->next;
	else if (l->sent)
		dead->sent = l->next;
	else
		dead->waiting = l->next;
	if (l->next != NULL)
		l->next->prev = l->prev;
	else if (!l->sent)
		dead->waiting_tail = l->prev;
	if (l->sent)
		dead->sent_count--;
}

static void
send_list(struct runner_dead *dead, struct dead_letter *l)
{
	take_out(dead, l);
	l->sent = true;
	l->prev = NULL;
	l->next = dead->sent;
	if (dead->sent != NULL)
		dead->sent->prev = l;
	dead->sent = l;
	dead->sent_count++;
}

/* Tries it again later; a letter without a delivery has no reason to. */
static void
again(struct runner *r, struct dead_letter *l, bool at_once)
{
	int64_t ms = at_once ? 0 : backoff_next_ms(&l->again);

	take_out(&r->dead, l);
	if (l->delivery == NULL) {
		free(l);
		return;
	}
	l->due = clock_mono_after_ms(clock_mono_now(), ms);
	wait_at_end(&r->dead, l);
}

void
runner_dead_forget(struct runner *r, struct delivery *d)
{
	struct dead_letter *l = d->dead;

	d->dead = NULL;
	l->delivery = NULL;
	if (!l->sent) {
		take_out(&r->dead, l);
		free(l);
	}
}

/* ---- the connection ---- */

static void
on_ready(void *arg)
{
	struct runner *r = arg;

	log_recovered(&r->dead.connection, "dead letters can be published again");
}

static void
on_outcome(void *arg, void *token, enum amqp_outcome outcome, int code, struct slice text)
{
	struct runner *r = arg;
	struct dead_letter *l = token;
	struct delivery *d = l->delivery;

	r->dead.heard = loop_now(r->loop);
	switch (outcome) {
	case AMQP_CONFIRMED:
		(void)fault_hit("runner.after_dead_confirm");
		take_out(&r->dead, l);
		free(l);
		if (d != NULL) {
			runner_count(r, d, STATS_DEAD);
			delivery_complete(r, &d);
		}
		log_recovered(&r->dead.refused, "queue \"%s\" takes dead letters again",
		    r->dead.queue);
		return;
	case AMQP_RETURNED:
		log_complain(&r->dead.refused, LOG_LEVEL_ERROR,
		    "queue \"%s\" does not take dead letters: %d %.*s: the messages are kept and "
		    "tried again; declare that queue (declare = true does it)",
		    r->dead.queue, code, (int)text.len, text.data);
		break;
	case AMQP_NACKED:
		log_complain(&r->dead.refused, LOG_LEVEL_ERROR,
		    "queue \"%s\" refuses dead letters now: the messages are kept and tried again; "
		    "look at its length limit and at the broker's log", r->dead.queue);
		break;
	}
	again(r, l, false);
}

static const char *
id_of(const struct dead_letter *l)
{
	const struct frame_message *m;

	if (l->delivery == NULL)
		return "";
	m = &l->delivery->message;
	return frame_message_text(m, m->id).data;
}

static void
on_down(void *arg, const struct amqp_error *error)
{
	struct runner *r = arg;
	struct runner_dead *dead = &r->dead;
	bool culprit = !error->connection && (error->code == 404 || error->code == 406);
	bool known = culprit && dead->sent_count == 1;

	if (known)
		log_complain(&dead->refused, LOG_LEVEL_ERROR, "the broker refuses the dead letter "
		    "of message \"%s\": %s: it is kept and tried again", id_of(dead->sent),
		    error->text);
	else
		log_complain(&dead->connection, LOG_LEVEL_WARNING, "dead letters wait: %s",
		    error->text);
	while (dead->sent != NULL) {
		dead->sent->suspect |= culprit;
		again(r, dead->sent, !known);
	}
}

static const struct amqp_channel_events channel_events = {
	.ready = on_ready, .outcome = on_outcome, .down = on_down,
};

/* ---- publishing ---- */

static struct amqp_header
text_header(const char *name, struct slice text)
{
	return (struct amqp_header){ .name = name, .kind = AMQP_STRING, .text = text };
}

static struct amqp_header
number_header(const char *name, int64_t number)
{
	return (struct amqp_header){ .name = name, .kind = AMQP_INT, .number = number };
}

static enum amqp_publish_status
publish(struct runner *r, struct dead_letter *l, char *error, size_t error_size)
{
	const struct delivery *d = l->delivery;
	const struct frame_message *m = &d->message;
	struct amqp_header add[12];
	struct amqp_copy copy = {
		.routing_key = slice_of(r->dead.queue), .drop_pawl = true, .add = add,
		.raw_properties = { (const char *)m + m->size, d->properties_len },
		.body = (const char *)m + m->body_off, .body_size = m->body_size,
	};
	char handler[RUNNER_CODE_MAX * 4];
	size_t n = 0;

	add[n++] = text_header(ENVELOPE_REASON, slice_of(l->code));
	add[n++] = text_header(ENVELOPE_TEXT, (struct slice){ l->text, l->text_len });
	add[n++] = text_header(ENVELOPE_QUEUE, slice_of(r->queue->queue));
	if (d->handler != DELIVERY_NO_HANDLER) {
		const struct runner_handler *h = &r->handlers[d->handler];

		snprintf(handler, sizeof(handler), "%s %s", h->config->name,
		    h->version == NULL ? "" : h->version);
		add[n++] = text_header(ENVELOPE_HANDLER, slice_of(handler));
	}
	add[n++] = text_header(ENVELOPE_HOST, slice_of(r->host));
	add[n++] = number_header(ENVELOPE_ATTEMPT, m->attempt);
	add[n++] = number_header(ENVELOPE_CRASHES, d->crashes);
	add[n++] = number_header(ENVELOPE_FIRST, d->first_failed_ms);
	add[n++] = number_header(ENVELOPE_LAST, clock_wall_now().ms);
	add[n++] = text_header(ENVELOPE_EXCHANGE, frame_message_text(m, m->exchange));
	add[n++] = text_header(ENVELOPE_ROUTING_KEY, frame_message_text(m, m->routing_key));
	copy.add_count = n;
	(void)fault_hit("runner.before_dead_publish");
	return amqp_channel_copy(r->dead.channel, &copy, l, error, error_size);
}

/* The next that is due now; if none is, in how many ms one will be (-1: an outcome comes first,
 * or none waits). Suspects go alone. */
static struct dead_letter *
next_due(struct runner_dead *dead, int64_t *wait_ms)
{
	struct clock_mono now = clock_mono_now();

	*wait_ms = -1;
	for (struct dead_letter *l = dead->waiting; l != NULL; l = l->next) {
		int64_t ms = l->due.ns <= now.ns ? 0 : (l->due.ns - now.ns) / 1000000 + 1;

		if (ms == 0)
			return l->suspect && dead->sent_count > 0 ? NULL : l;
		if (*wait_ms < 0 || ms < *wait_ms)
			*wait_ms = ms;
	}
	return NULL;
}

static bool
may_send(const struct runner_dead *dead)
{
	return dead->sent_count < SENT_MOST && (dead->sent == NULL || !dead->sent->suspect);
}

void
runner_dead_flush(struct runner *r)
{
	struct runner_dead *dead = &r->dead;
	struct dead_letter *l;
	char error[512];
	int64_t wait_ms = -1;
	bool published = false;

	if (dead->waiting == NULL)
		return;
	if (dead->channel == NULL)
		dead->channel = amqp_channel_new(runner_publisher(r), &channel_events, r);
	while (amqp_channel_ready(dead->channel) && may_send(dead) &&
	    (l = next_due(dead, &wait_ms)) != NULL) {
		enum amqp_publish_status status = publish(r, l, error, sizeof(error));

		if (status == AMQP_NOT_READY)
			break;		/* ready() will start a round */
		if (status == AMQP_BAD_MESSAGE) {
			log_complain(&dead->refused, LOG_LEVEL_ERROR, "could not publish the "
			    "dead letter of message \"%s\": %s: it is kept and tried again",
			    id_of(l), error);
			again(r, l, false);
			continue;
		}
		if (dead->sent == NULL)
			dead->heard = loop_now(r->loop);
		send_list(dead, l);
		published = true;
	}
	if (published)
		amqp_publisher_flush(runner_publisher(r));
	if (wait_ms >= 0)
		loop_timer_set_ms(&dead->retry, wait_ms);
}

/* ---- from outside ---- */

static struct log_complaint *
complaint_about(struct runner *r, const char *code)
{
	size_t i;

	for (i = 0; i < RUNNER_DEAD_REASONS - 1; i++) {
		if (r->dead_reasons[i].code[0] == '\0')
			(void)snprintf(r->dead_reasons[i].code, sizeof(r->dead_reasons[i].code), "%s", code);
		if (strcmp(r->dead_reasons[i].code, code) == 0)
			break;
	}
	return &r->dead_reasons[i].complaint;
}

void
runner_dead(struct runner *r, struct delivery *d, struct slice code, struct slice text)
{
	const struct frame_message *m = &d->message;
	struct dead_letter *l;

	if ((d->flags & DELIVERY_STALE) != 0 || r->state == RUNNER_STATE_CLOSING) {
		delivery_give_back(r, &d);
		return;
	}
	assert(code.len <= RUNNER_CODE_MAX);
	l = xcalloc(1, sizeof(*l) + text.len + 1);
	memcpy(l->code, code.data, code.len);
	if (text.len > 0)
		memcpy(l->text, text.data, text.len);
	l->text_len = text.len;
	l->delivery = d;
	backoff_init(&l->again, AGAIN_FIRST_MS, AGAIN_MOST_MS);
	d->state = DELIVERY_DEAD;
	d->dead = l;
	if (d->first_failed_ms == 0)
		d->first_failed_ms = clock_wall_now().ms;
	wait_at_end(&r->dead, l);
	log_complain(complaint_about(r, l->code), LOG_LEVEL_WARNING,
	    "message \"%s\" of type \"%s\" becomes a dead letter in \"%s\": %s: %s", id_of(l),
	    frame_message_text(m, m->type).data, r->dead.queue, l->code, l->text);
}

void
runner_deadf(struct runner *r, struct delivery *d, const char *code, const char *fmt, ...)
{
	char text[RUNNER_TEXT_MAX];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (len < 0)
		len = 0;
	if ((size_t)len >= sizeof(text))
		len = sizeof(text) - 1;
	runner_dead(r, d, slice_of(code), (struct slice){ text, (size_t)len });
}

/* A confirm may simply never come (facts row 79): then all that is out goes again, on a new
 * channel. */
void
runner_dead_tick(struct runner *r)
{
	struct runner_dead *dead = &r->dead;

	if (dead->sent == NULL || !amqp_channel_ready(dead->channel) ||
	    amqp_publisher_blocked(runner_publisher(r)) ||
	    clock_ms_between(dead->heard, loop_now(r->loop)) < CONFIRM_MS)
		return;
	log_complain(&dead->connection, LOG_LEVEL_WARNING, "dead letters wait: "
	    "the broker confirmed none of %zu within %d s, trying again", dead->sent_count,
	    CONFIRM_MS / 1000);
	amqp_channel_free(&dead->channel);
	while (dead->sent != NULL)
		again(r, dead->sent, true);
	dead->channel = amqp_channel_new(runner_publisher(r), &channel_events, r);
}

static void
retry_due(void *arg)
{
	(void)arg;		/* the round's end publishes */
}

void
runner_dead_init(struct runner *r)
{
	r->dead.queue = topology_dead_name(r->queue, &r->arena);
	loop_timer_init(&r->dead.retry, r->loop, retry_due, r);
}

void
runner_dead_release(struct runner *r)
{
	amqp_channel_free(&r->dead.channel);
	while (r->dead.sent != NULL) {
		r->dead.sent->delivery = NULL;
		again(r, r->dead.sent, true);
	}
	loop_timer_stop(&r->dead.retry);
}
