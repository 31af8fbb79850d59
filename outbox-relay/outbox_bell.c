/*
 * outbox_bell.c - the doorbell: the first event after a silence is read at once, and not when the
 * next look is due. It replaces no look: what does not ring is found a little later.
 *
 * While it is quiet the leader sleeps: it holds an advisory lock of its session, exclusive. The
 * table's trigger (pawl.doorbell() makes it) tries, after each insert, to share this lock until the
 * end of the transaction, and notifies only if it cannot. So writers pay for a notification, which
 * takes one lock of the whole server at commit, only while nobody reads.
 *
 * No event is slept over. The lock is tried first, then a look is sent, whose snapshot is younger.
 * Let a transaction have inserted:
 *   - It shares the lock. Then the leader's try fails, and it goes on looking, until that
 *     transaction has ended; and rows are visible before locks go, so the look behind the first try
 *     that succeeds sees them.
 *   - It could not, since the leader had the lock. Then its commit notifies, even if the leader has
 *     been awake and asleep again meanwhile; and a notification is given out when the rows are
 *     visible, so the look that follows sees them.
 * A savepoint that is rolled back takes the share back, and the notification, together with the
 * rows.
 *
 * The lock goes with the session, as the leader's own one does. A new leader begins with a look.
 */
#include "outbox-relay/outbox_internal.h"

#include "util/pg.h"

enum {
	QUIET_MS = 50,		/* a silence that is worth sleeping */
	AGAIN_MS = 100,		/* a writer is at work: not at each look */
	FAILED_MS = 1000
};

static void
tried(void *arg, struct pg_result **result, const struct pg_error *error)
{
	struct outbox *o = arg;
	const struct log_context *former = log_push(&o->context);
	const char *got = error == NULL && pg_rows(*result) == 1 ? pg_value(*result, 0, 0) : NULL;

	if (error != NULL)
		log_complain(&o->bell.complaint, LOG_LEVEL_WARNING,
		    "could not set the doorbell of table %s, trying again: %s", o->table.name,
		    error->text);
	else
		log_recovered(&o->bell.complaint, "the doorbell of table %s is set again",
		    o->table.name);
	o->bell.asleep = got != NULL && strcmp(got, "t") == 0;
	o->bell.next = clock_mono_after_ms(clock_mono_now(), error != NULL ? FAILED_MS : AGAIN_MS);
	if (o->state != OUTBOX_LEADING)
		outbox_bell_wake(o);
	log_pop(former);
}

void
outbox_bell_look(struct outbox *o, struct clock_mono now)
{
	struct outbox_bell *bell = &o->bell;

	bell->rung = false;
	if (o->table.bell == NULL || bell->asleep || !o->reader.found_nothing ||
	    bell->next.ns > now.ns || clock_ms_between(o->reader.last_found, now) < QUIET_MS)
		return;
	outbox_execute(o, tried, "sleep", 0, NULL);
}

void
outbox_bell_wake(struct outbox *o)
{
	if (!o->bell.asleep)
		return;
	o->bell.asleep = false;
	outbox_execute(o, NULL, "wake", 0, NULL);
}

void
outbox_bell_notified(struct outbox *o, const char *channel)
{
	if (o->state != OUTBOX_LEADING || o->table.bell == NULL ||
	    strcmp(channel, o->table.bell) != 0)
		return;
	o->bell.rung = true;
	o->reader.next = (struct clock_mono){ 0 };
	outbox_wake(o);
}

static void
say(struct outbox *o, const char *command)
{
	char sql[64];

	(void)snprintf(sql, sizeof(sql), "%s %s", command, o->table.bell);
	database_query(o->database, NULL, NULL, sql, 0, NULL);
}

void
outbox_bell_listen(struct outbox *o)
{
	if (o->table.bell != NULL)
		say(o, "listen");
}

/* If the lock is being tried just now its answer is here before that of resigning: see tried(). */
void
outbox_bell_resign(struct outbox *o)
{
	outbox_bell_wake(o);
	if (o->table.bell != NULL)
		say(o, "unlisten");
}

void
outbox_bell_reset(struct outbox *o)
{
	o->bell.asleep = o->bell.rung = false;
	o->bell.next = (struct clock_mono){ 0 };
}
