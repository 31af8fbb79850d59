/*
 * runner_internal.h - what the files of a runner share: deliveries, slots, dead letters, and who may call what.
 *
 * A delivery is in exactly one place: the ring knows all that are unsettled on the present channel, by tag; besides, it
 * waits in a queue, is in a batch of a slot, is held, or becomes a dead letter ('state' says which). When the channel goes, the broker
 * takes everything back: all is freed at once but what a slot has, which stays, marked stale, until the slot has answered.
 *
 * Whatever comes from a slot is hostile: it may end that slot, never this process.
 */
#ifndef PAWL_RUNTIME_RUNNER_INTERNAL_H
#define PAWL_RUNTIME_RUNNER_INTERNAL_H
#include <sys/types.h>
#include <pawl/handler.h>
#include "common/config.h"
#include "common/envelope.h"
#include "common/frame.h"
#include "common/stats.h"
#include "runtime/runner.h"
#include "util/amqp_consumer.h"
#include "util/amqp_publisher.h"
#include "util/backoff.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/table.h"

enum {
	RUNNER_SLOT_BATCHES = 2,		/* in flight per slot: one that it works on, one that is on its way */
	RUNNER_BATCH_BYTES = 8 << 20,		/* a batch ends here, at whatever count */
	RUNNER_BYTES_MAX = 128 << 20,		/* more than this in hand: stop reading from the broker until it is half */
	RUNNER_NO_SLOT_MS = 10000,		/* no slot can work for so long: give the deliveries back */
	RUNNER_DRAINED_MS = 3000,		/* --drain: consuming, nothing in hand and nothing delivered for so long = empty */
	RUNNER_SERIALIZE_MS = 60000,		/* after a deadlock, all slots of the queue take its lock first */
	RUNNER_READS_TOGETHER = 32,		/* READS in one transaction */
	RUNNER_APART_MS = 60000,		/* after a deadlock of a batch of READS, they go one at a time */
	RUNNER_READS_US = 50000,		/* that a batch of READS may keep those behind it waiting: handlers' time */
	RUNNER_BUSY_MS = 500,			/* another one has a message with the same key */
	RUNNER_SNOOZE_MS = 1000,		/* PAWL_SNOOZE without a delay of its own */
	RUNNER_ENVIRONMENT_FIRST_MS = 1000, RUNNER_ENVIRONMENT_MOST_MS = 60000,	/* held after the environment failed it alone */
	RUNNER_ENVIRONMENT_DEAD = 5,		/* so often, while others were done in between: dead letter "environment" */
	RUNNER_BREAKER_ROW = 20,		/* class 42 so often in a row: the breaker opens */
	RUNNER_BREAKER_FIRST_MS = 30000, RUNNER_BREAKER_MOST_MS = 300000,	/* until one message is tried */
	RUNNER_COUNT_ALONE = 20,		/* delivered oftener than this: goes out alone */
	RUNNER_COUNT_DEAD = 1000,		/* oftener than this: dead letter "redelivered" */
	RUNNER_DEAD_REASONS = 32,		/* that are told apart in the log */
	RUNNER_CODE_MAX = 64, RUNNER_TEXT_MAX = 4096	/* bytes of a reason's code and text in a dead letter */
};

enum runner_state {
	RUNNER_STATE_CONNECTING,	/* no consume-ok yet, or again after a loss or a pause */
	RUNNER_STATE_CONSUMING,
	RUNNER_STATE_PAUSED,		/* no slot can work, or the breaker is open: cancelled, deliveries given back */
	RUNNER_STATE_RETIRING,		/* a newer generation consumes: cancelled, finishing what was delivered */
	RUNNER_STATE_DRAINING,		/* told to end: cancelled, given back what was not started */
	RUNNER_STATE_CLOSING		/* all is settled: slots and connections are being shut */
};

enum delivery_state {
	DELIVERY_RECEIVING,		/* its body is still coming in */
	DELIVERY_QUEUED,		/* waits for a slot */
	DELIVERY_IN_SLOT,		/* member of a batch */
	DELIVERY_HELD,			/* snoozed */
	DELIVERY_DEAD			/* becomes a dead letter; acked when that is confirmed */
};
enum {
	DELIVERY_ALONE = 1,		/* under suspicion: a batch of its own, in a slot that has nothing else */
	DELIVERY_MAYBE = 2,		/* its commit was under way when the session was lost: if it is a duplicate now, that was us */
	DELIVERY_STALE = 4		/* its channel is gone: the broker has it back, nothing is acked or published for it */
};
enum { DELIVERY_ANY_SLOT = UINT16_MAX, DELIVERY_NO_HANDLER = UINT16_MAX };

struct held;
struct dead_letter;
struct delivery {			/* one malloc: this, the message as slots get it, the properties as received */
	struct delivery *next;		/* in a queue */
	uint64_t tag;
	uint64_t arrival;		/* order over queues, kept when it goes out again; not the tag: that starts anew with each channel */
	struct clock_mono received;
	int64_t first_failed_ms;	/* Unix time; 0: never */
	union {
		struct held *held;		/* DELIVERY_HELD */
		struct dead_letter *dead;	/* DELIVERY_DEAD */
	};
	uint16_t slot;			/* by its aggregate; DELIVERY_ANY_SLOT without one */
	uint16_t handler;		/* index into the configuration's handlers */
	uint8_t state, flags;
	uint16_t crashes;		/* times that it was charged */
	uint32_t returns;		/* how often the broker says it came back */
	uint32_t properties_len;	/* behind the message */
	uint64_t done_before;		/* the runner's 'done' when the environment failed it last, alone */
	uint32_t failed_alone;		/* how often that was in all */
	uint32_t failed_among_done;	/* how often others were done since the time before; the first counts */
	struct frame_message message;	/* last */
};
_Static_assert(offsetof(struct delivery, message) % 8 == 0, "a message stands where its numbers are aligned");

struct delivery_queue { struct delivery *head, *tail; size_t count, bytes; };

struct delivery_ring {			/* tags of one channel, without gaps: [first, next) is not settled, or not all of it */
	struct delivery **at;		/* tag & mask: the delivery; NULL: settled; delivery_done: completed, not acked yet */
	uint64_t first, next, mask;	/* first: at least 1; tags start there */
	size_t unsettled;		/* deliveries; completed ones do not count */
	size_t done;			/* completed ones that are not acked */
	struct clock_mono moved;	/* when the completed prefix grew last, or the first one behind a gap was completed */
	unsigned generation;
	bool dirty;			/* something was settled since the last ack */
};
extern struct delivery delivery_done;

struct batch {
	struct { struct frame_header frame; struct frame_batch batch; } head;	/* as sent */
	struct delivery **members;	/* room for the queue's batch size */
	struct clock_mono given;	/* to the slot: no handler can have begun earlier */
	uint32_t written;		/* pieces sent whole: the head, then the members */
	size_t written_bytes;		/* of the piece that is next */
	size_t bytes;
};
#define BATCH_ID(b)	((b)->head.batch.id)
#define BATCH_COUNT(b)	((b)->head.batch.count)

enum slot_state {
	SLOT_DOWN,			/* no process; its pause runs */
	SLOT_STARTING,			/* SETUP is out, READY not in */
	SLOT_READY,
	SLOT_WAITING,			/* it says that it has no database */
	SLOT_STOPPING,			/* SHUTDOWN is out */
	SLOT_KILLED			/* killed by us, not reaped yet */
};

enum slot_end {				/* what a dead slot's batches are told */
	SLOT_END_CRASH,
	SLOT_END_TIMEOUT,		/* we killed it because of what the desk still shows */
	SLOT_END_HOSTILE,
	SLOT_END_BLAMELESS		/* it waited for its database, or we wanted it to end */
};

struct desk_view { uint32_t phase, index; uint64_t batch; int64_t since_ns; };

struct slot_death {			/* how a slot ended, for those that it had */
	enum slot_end end;
	struct desk_view view;
	char how[64];			/* "was killed by SIGSEGV" */
	char report[DESK_REPORT_MAX + 1];	/* its last words, made printable; "" */
};

struct runner_slot {
	struct runner *runner;
	unsigned index;
	enum slot_state state;
	pid_t pid;
	int fd;
	struct loop_watch *watch;
	struct desk *desk;
	struct buf in, out;
	struct batch *batches[RUNNER_SLOT_BATCHES];	/* the first 'flying' are in flight, oldest first */
	unsigned flying;
	struct delivery_queue queue;	/* its aggregates' messages; outlives the process */
	bool finished;			/* it has answered a batch since it was started */
	unsigned messages;		/* that it was given since it was started */
	bool refused;			/* it said REFUSED: the configuration is at fault, the exit is no news */
	bool hostile;			/* it broke the rules: nothing that it says counts any more */
	bool hung_up;			/* its socket is closed; a process that lives on without one is killed */
	bool behind;			/* something of a batch comes back: nothing is sent until all batches have come back */
	unsigned fruitless;		/* batches in a row that came back unapplied as a whole */
	struct loop_timer pause;	/* down: until it is started again; ready: after fruitless batches, no batch until then */
	struct loop_timer watchdog;
	struct desk_view seen;		/* by the watchdog, and when it was first seen like this */
	struct clock_mono seen_since;
	enum stats_slot_death killed_for;	/* with SLOT_KILLED */
	struct desk_view killed_at;
};

struct held { struct held *next, *prev; struct loop_timer due; struct delivery *delivery; struct runner *runner; };

struct runner_dead {			/* runner_dead.c */
	const char *queue;		/* NAME.dead */
	struct amqp_channel *channel;	/* opened at first need */
	struct dead_letter *waiting, *waiting_tail, *sent;
	size_t sent_count;
	struct clock_mono heard;	/* the last outcome, or the first letter after a silence */
	struct loop_timer retry;
	struct log_complaint connection, refused;
};

struct reply;
struct runner_replies {			/* runner_reply.c */
	struct amqp_channel *channel;	/* opened at first need */
	struct reply *waiting, **end;
	size_t bytes, count;		/* waiting */
	struct log_complaint lost, full;
};

struct dead_reason {			/* each reason is complained about by itself; the last place is for all others */
	char code[RUNNER_CODE_MAX + 1];	/* "": free */
	struct log_complaint complaint;
};

struct runner_handler {
	const struct config_handler *config;
	struct stats_handler *stats;
	char *version;			/* as a slot said; NULL: none was ready yet */
	enum pawl_kind kind;
	unsigned together;		/* at most so many of its messages in a batch; READS: grows while they are quick */
};

struct runner_breaker {			/* the schema does not fit the statements: no message is to blame */
	unsigned row;			/* dead letters of class 42 since anything else */
	bool open;			/* paused until 'over' */
	bool probing;			/* one message at a time, until one is done */
	int64_t pause_ms;		/* 0: closed */
	struct loop_timer over;
};

struct runner {
	struct loop *loop;
	const struct runner_options *options;
	const struct config *config;
	const struct config_queue *queue;
	struct arena arena;		/* lives as long as the process */
	enum runner_state state;
	char *host;

	struct amqp_conn_options connection;
	struct amqp_consumer_options consumer_options;
	struct amqp_consumer *consumer;	/* NULL: gone for good */
	unsigned prefetch;
	bool opened;			/* the consumer was made */
	struct loop_timer opening;
	bool cancelling, cancelled;	/* asked for; and done */
	bool was_consuming;		/* from now on a new channel is a reconnect */
	bool retired;			/* by a newer runner: the page's gauges are its */
	bool bad_tag;			/* the broker numbered a delivery in a way that cannot be: recycle */
	bool reading_paused;
	struct loop_watch *control;

	struct envelope_spec aggregate, type_from;
	struct table types;		/* type -> struct runner_handler */
	struct runner_handler *handlers, *any_type;
	struct stats_queue *stats;
	struct stats_handler *no_handler;
	struct buf header_bytes, header_entries, header_scratch;	/* of the delivery that is coming in */

	struct delivery_ring ring;
	struct delivery *receiving;
	struct delivery_queue shared;	/* messages without an aggregate */
	struct held *held;
	size_t in_slots;		/* deliveries in batches, those of older generations too */
	size_t bytes;			/* of all deliveries */
	uint64_t arrivals;
	uint64_t done;			/* messages that slots have finished, duplicates included */
	struct clock_mono last_delivery;
	struct clock_mono wall_read;	/* the round in which wall was read */
	struct clock_wall wall;
	struct loop_timer outliers;

	struct runner_slot *slots;
	unsigned slot_count, slots_ready;
	const char *slot_program;
	struct arena answers;		/* of one READY at a time */
	struct buf aligned;		/* a RESULT that lay across */
	uint64_t next_batch;
	struct backoff pool;		/* delays new slots while they die before they finish anything */
	struct clock_mono pool_not_before, serialize_until;
	struct clock_mono apart_until;	/* after a deadlock of a batch of READS: one at a time */
	struct loop_timer no_slot;
	struct log_complaint slot_death, slot_kill, orphan, slot_refused, slot_spawn, no_database;

	struct runner_breaker breaker;
	struct amqp_publisher *publisher;	/* runner_publisher.c; NULL: there was no need yet */
	struct log_complaint publishing, blocked;
	struct runner_dead dead;
	struct runner_replies replies;
	struct dead_reason dead_reasons[RUNNER_DEAD_REASONS];
	struct log_complaint broker;
	struct loop_timer tick, deadline;
};

/* runner.c */
void	runner_slot_spoke(struct runner *, bool ready) ATTR_NONNULL;	/* a slot has answered to SETUP; ready: with its handlers' kinds */
void	runner_slots_changed(struct runner *) ATTR_NONNULL;	/* slots_ready went from or to 0 */
bool	runner_hands_out(const struct runner *) ATTR_NONNULL;	/* deliveries go to slots; else they go back to the broker */
void	runner_breaker_done(struct runner *) ATTR_NONNULL;	/* a message was done */
bool	runner_breaker_failed(struct runner *, struct slice code, struct slice text) ATTR_NONNULL;	/* one fails; true: it shall go back instead */

/* runner_message.c */
void	*runner_delivery(void *runner, const struct amqp_delivery *);	/* struct amqp_consumer_events: a message begins */

/* runner_deliveries.c */
bool	delivery_add(struct runner *, struct delivery *) ATTR_MUST_CHECK ATTR_NONNULL;	/* false: its tag is impossible */
void	delivery_complete(struct runner *, struct delivery **) ATTR_NONNULL;	/* done with: acked after the round; freed */
void	delivery_give_back(struct runner *, struct delivery **) ATTR_NONNULL;	/* to the broker, at once; freed */
void	deliveries_open(struct runner *, unsigned generation) ATTR_NONNULL;	/* a new channel */
void	deliveries_lost(struct runner *) ATTR_NONNULL;		/* the channel is gone */
void	deliveries_ack(struct runner *) ATTR_NONNULL;		/* what was completed in this round */
void	deliveries_look_at_outliers(void *runner) ATTR_NONNULL;	/* a timer's */
void	deliveries_ack_all(struct runner *) ATTR_NONNULL;	/* outliers as well */
void	deliveries_release(struct runner *) ATTR_NONNULL;
void	delivery_queue_push(struct delivery_queue *, struct delivery *) ATTR_NONNULL;
void	delivery_queue_insert(struct delivery_queue *, struct delivery *) ATTR_NONNULL;	/* by its arrival */
struct delivery *delivery_queue_pop(struct delivery_queue *) ATTR_NONNULL;
void	delivery_queue_remove(struct delivery_queue *, struct delivery *) ATTR_NONNULL;	/* from wherever; it is in there */
static inline size_t
delivery_bytes(const struct delivery *d)
{
	return offsetof(struct delivery, message) + d->message.size + d->properties_len;
}

/* runner_dispatch.c */
void	runner_delivered(void *runner);				/* struct amqp_consumer_events: a message is complete */
void	runner_requeue(struct runner *, struct delivery *) ATTR_NONNULL;	/* to its old place in the order; takes it. Stale: dropped */
void	runner_hold(struct runner *, struct delivery *, int64_t ms) ATTR_NONNULL;	/* snoozed; takes it */
struct delivery *runner_unhold(struct held *) ATTR_NONNULL;
void	runner_dispatch(struct runner *) ATTR_NONNULL;		/* give idle slots what is ready */
bool	runner_has_idle_slot(const struct runner *) ATTR_NONNULL;	/* one that could work and has got nothing */
void	runner_give_back_unstarted(struct runner *) ATTR_NONNULL;	/* queued and held ones; in a pause, marked ones stay */
void	runner_give_back_overdue(struct runner *) ATTR_NONNULL;	/* held without work for a third of consumer_timeout */

/* runner_slots.c: life of the processes */
void	runner_slots_start(struct runner *) ATTR_NONNULL;
void	runner_slots_reap(struct runner *) ATTR_NONNULL;	/* SIGCHLD */
void	runner_slots_stop(struct runner *) ATTR_NONNULL;	/* SHUTDOWN to all; those without a process are not started again */
void	runner_slot_stop(struct runner_slot *) ATTR_NONNULL;	/* SHUTDOWN to this one, which has nothing in flight; another one follows */
void	runner_slots_kill(struct runner *) ATTR_NONNULL;
void	runner_slots_kill_waiting(struct runner *) ATTR_NONNULL;	/* those that wait for their database with a batch in hand */
bool	runner_slots_gone(const struct runner *) ATTR_NONNULL;
void	runner_slots_release(struct runner *) ATTR_NONNULL;
void	runner_slots_serialize(struct runner *) ATTR_NONNULL;	/* a deadlock was reported */
void	runner_slot_set_state(struct runner_slot *, enum slot_state) ATTR_NONNULL;
void	runner_slot_kill(struct runner_slot *, enum stats_slot_death why, const char *fmt, ...) ATTR_PRINTF(3, 4);
void	runner_slot_watch(struct runner_slot *) ATTR_NONNULL;	/* it got or answered a batch */

/* runner_slot_io.c: frames */
void	runner_slot_write(struct runner_slot *) ATTR_NONNULL;
void	runner_slot_event(void *slot, unsigned events) ATTR_NONNULL;
void	runner_slot_drain(struct runner_slot *) ATTR_NONNULL;	/* it is dead: what it had said before counts */
struct batch *runner_slot_take_batch(struct runner_slot *, unsigned position) ATTR_NONNULL; /* not in flight any more */

/* runner_results.c */
void	runner_result(struct runner_slot *, struct slice payload) ATTR_NONNULL;	/* a RESULT frame */
bool	runner_slot_lost(struct runner_slot *, const struct slot_death *) ATTR_NONNULL;	/* its batches; true: one is charged */
void	runner_charge(struct runner *, struct delivery *, bool timed_out, const char *text) ATTR_NONNULL;	/* takes it */
void	runner_count(struct runner *, const struct delivery *, enum stats_outcome) ATTR_NONNULL;

/* runner_dead.c */
void	runner_dead(struct runner *, struct delivery *, struct slice code, struct slice text) ATTR_NONNULL;	/* takes it */
void	runner_deadf(struct runner *, struct delivery *, const char *code, const char *fmt, ...) ATTR_PRINTF(4, 5);
void	runner_dead_flush(struct runner *) ATTR_NONNULL;	/* after the round: publish what can be */
void	runner_dead_forget(struct runner *, struct delivery *) ATTR_NONNULL;	/* it goes another way; a copy that is out does no harm */
void	runner_dead_init(struct runner *) ATTR_NONNULL;
void	runner_dead_tick(struct runner *) ATTR_NONNULL;
void	runner_dead_release(struct runner *) ATTR_NONNULL;

/* runner_publisher.c */
struct amqp_publisher *runner_publisher(struct runner *) ATTR_NONNULL;	/* opened by the first call */
void	runner_publisher_release(struct runner *) ATTR_NONNULL;

/* runner_reply.c: best effort; whoever asked must be able to ask again */
void	runner_reply(struct runner *, const struct delivery *, struct slice content_type, struct slice body) ATTR_NONNULL;
void	runner_replies_flush(struct runner *) ATTR_NONNULL;	/* after the round: publish what can be */
bool	runner_replies_out(const struct runner *) ATTR_NONNULL;	/* none is left, none is unconfirmed */
void	runner_replies_release(struct runner *) ATTR_NONNULL;	/* those that are left are lost */
#endif
