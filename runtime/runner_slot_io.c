/*
 * runner_slot_io.c - frames to and from a slot. Batches are written with writev() from where the
 * deliveries are.
 *
 * Everything that comes in is hostile: sizes, types, order, counts. What does not fit ends the
 * slot. A socket that breaks is no event of its own: SIGCHLD follows, or the watchdog. In the
 * runner.
 */
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

#include "common/slot_setup.h"
#include <pawl/handler.h>

#include "runtime/runner_internal.h"

enum {
	READ_BYTES = 128 << 10,
	HUNG_UP_MS = 2000,	/* from a closed socket to SIGCHLD, at most */
	IOV_BATCH = 256,
	/* A slot's longest frame: READY, REFUSED with their texts, or a RESULT with all reasons
	 * and replies. */
	FRAME_BYTES_BASE = 1 << 20, FRAME_BYTES_EACH = FRAME_REPLY_MAX + (8 << 10)
};

/* ---- out ---- */

/* SETUP, SHUTDOWN. true: nothing is left. */
static bool
write_out(struct runner_slot *s)
{
	while (s->out.len > 0) {
		ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		buf_consume(&s->out, (size_t)n);
	}
	return true;
}

static struct iovec
piece(struct batch *b, uint32_t i)
{
	if (i == 0)
		return (struct iovec){ &b->head, sizeof(b->head) };
	return (struct iovec){ &b->members[i - 1]->message, b->members[i - 1]->message.size };
}

static void
written(struct batch *b, size_t n)
{
	while (n > 0) {
		size_t left = piece(b, b->written).iov_len - b->written_bytes;

		if (n < left) {
			b->written_bytes += n;
			return;
		}
		n -= left;
		b->written++;
		b->written_bytes = 0;
	}
}

/* true: all of it is out. */
static bool
write_batch(struct runner_slot *s, struct batch *b)
{
	while (b->written <= BATCH_COUNT(b)) {
		struct iovec iov[IOV_BATCH];
		struct msghdr msg = { .msg_iov = iov };
		ssize_t n;

		for (uint32_t i = b->written; i <= BATCH_COUNT(b); i++) {
			if (msg.msg_iovlen == IOV_BATCH)
				break;
			iov[msg.msg_iovlen++] = piece(b, i);
		}
		iov[0].iov_base = (char *)iov[0].iov_base + b->written_bytes;
		iov[0].iov_len -= b->written_bytes;
		n = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		written(b, (size_t)n);
	}
	return true;
}

/* It is dead or dying: what it has said before is read when it is reaped. If it is not, it will
 * be. */
static void
hang_up(struct runner_slot *s)
{
	loop_unwatch(&s->watch);
	s->hung_up = true;
	if (s->pid > 0)
		loop_timer_set_ms(&s->watchdog, HUNG_UP_MS);
}

void
runner_slot_write(struct runner_slot *s)
{
	bool done;

	if (s->watch == NULL || s->state == SLOT_KILLED)
		return;
	/* SHUTDOWN is asked for when nothing is in flight, SETUP before anything is: 'out' never
	 * overtakes a batch. */
	done = write_out(s);
	for (unsigned i = 0; done && i < s->flying; i++)
		done = write_batch(s, s->batches[i]);
	if (!done && errno != EAGAIN)
		hang_up(s);
	else
		loop_watch_events(s->watch, done ? LOOP_READ : LOOP_READ | LOOP_WRITE);
}

struct batch *
runner_slot_take_batch(struct runner_slot *s, unsigned position)
{
	struct batch *b = s->batches[position];

	s->flying--;
	for (unsigned i = position; i < s->flying; i++)
		s->batches[i] = s->batches[i + 1];
	s->batches[s->flying] = b;
	s->runner->in_slots -= BATCH_COUNT(b);
	return b;
}

/* ---- in ---- */

/* READS begin with one at a time, and keep what they have come to when another slot is ready. */
static void
set_kind(struct runner_handler *h, enum pawl_kind kind)
{
	if (kind == PAWL_EFFECTS)
		h->together = UINT_MAX;
	else if (kind != PAWL_READS || h->kind != kind || h->together == 0)
		h->together = 1;
	h->kind = kind;
}

static void
take_versions(struct runner *r, const struct slot_answer *a)
{
	for (size_t i = 0; i < a->handler_count; i++) {
		struct runner_handler *h = &r->handlers[i];

		set_kind(h, (enum pawl_kind)a->handlers[i].kind);
		if (h->version != NULL && strcmp(h->version, a->handlers[i].version) == 0)
			continue;
		free(h->version);
		h->version = xstrdup(a->handlers[i].version);
	}
}

static void
answered(struct runner_slot *s, enum frame_type type, struct slice payload)
{
	struct runner *r = s->runner;
	struct slot_answer a;

	arena_reset(&r->answers);
	if (slot_answer_get(payload, &r->answers, &a) < 0) {
		runner_slot_kill(s, STATS_DEATH_PROTOCOL, "its answer to SETUP is malformed");
	} else if (type == FRAME_REFUSED) {
		s->refused = true;
		log_complain(&r->slot_refused, LOG_LEVEL_ERROR, "slots cannot work with this "
		    "configuration, correct it and send SIGHUP: %s", a.text);
	} else if (type == FRAME_WAITING) {
		log_complain(&r->no_database, LOG_LEVEL_WARNING,
		    "slot %u waits for the database: %s", s->index, a.text);
		if (s->state == SLOT_STARTING || s->state == SLOT_READY)
			runner_slot_set_state(s, SLOT_WAITING);
	} else if (a.handler_count != r->queue->handler_count) {
		runner_slot_kill(s, STATS_DEATH_PROTOCOL, "it is ready with %zu handlers of %zu",
		    a.handler_count, r->queue->handler_count);
	} else if (s->state == SLOT_STARTING || s->state == SLOT_WAITING) {
		take_versions(r, &a);
		log_recovered(&r->no_database, "slot %u has its database again", s->index);
		log_recovered(&r->slot_refused, "slots can work again");
		runner_slot_set_state(s, SLOT_READY);
	}
	if (!s->hostile)
		runner_slot_spoke(r, type == FRAME_READY);
	if (s->state != SLOT_STARTING)
		runner_slot_watch(s);
}

static void
take_frame(struct runner_slot *s, enum frame_type type, struct slice payload)
{
	switch (type) {
	case FRAME_READY:
	case FRAME_WAITING:
	case FRAME_REFUSED:
		answered(s, type, payload);
		break;
	case FRAME_RESULT:
		runner_result(s, payload);
		break;
	case FRAME_SETUP:
	case FRAME_BATCH:
	case FRAME_SHUTDOWN:
	default:
		runner_slot_kill(s, STATS_DEATH_PROTOCOL, "it sent a frame of type %d", (int)type);
		break;
	}
}

static void
take_frames(struct runner_slot *s)
{
	size_t at = 0, most = FRAME_BYTES_BASE + (size_t)s->runner->queue->batch * FRAME_BYTES_EACH;
	struct frame_header head;

	while (!s->hostile && s->in.len - at >= sizeof(head)) {
		memcpy(&head, s->in.data + at, sizeof(head));
		if (head.magic != FRAME_MAGIC || head.size > most) {
			runner_slot_kill(s, STATS_DEATH_PROTOCOL,
			    "it sent what is no frame (size %u, type %u, magic 0x%x)",
			    (unsigned)head.size, (unsigned)head.type, (unsigned)head.magic);
			break;
		}
		if (s->in.len - at - sizeof(head) < head.size)
			break;
		at += sizeof(head);
		take_frame(s, head.type, (struct slice){ s->in.data + at, head.size });
		at += head.size;
	}
	if (s->hostile)
		buf_clear(&s->in);
	else
		buf_consume(&s->in, at);
}

/* One read per call: other slots want their turn. false: nothing is there, or nothing will ever
 * come. */
static bool
read_some(struct runner_slot *s)
{
	ssize_t n;

	do
		n = recv(s->fd, buf_reserve(&s->in, READ_BYTES), READ_BYTES, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		s->in.len += (size_t)n;
		take_frames(s);
		return true;
	}
	if (n == 0 || (errno != EAGAIN))
		hang_up(s);
	return false;
}

void
runner_slot_event(void *arg, unsigned events)
{
	struct runner_slot *s = arg;

	if ((events & LOOP_WRITE) != 0)
		runner_slot_write(s);
	if ((events & LOOP_READ) != 0 && s->watch != NULL && !s->hostile)
		read_some(s);
}

void
runner_slot_drain(struct runner_slot *s)
{
	while (!s->hostile && read_some(s))
		;
}
