/*
 * outbox_internal.h - the parts of an outbox. For outbox*.c, and relay.c, which gives them their
 * turns.
 *
 *   outbox.c          its state, and the order in which the parts get their turn
 *   outbox_rows.c     the rows in memory
 *   outbox_lead.c     what the table is; the advisory lock
 *   outbox_keys.c     tables without a seq
 *   outbox_read.c     reading ahead, and whose turn it is to read
 *   glance.c          the same for all outboxes of a database that are quiet
 *   outbox_bell.c     sleeping until a writer rings
 *   outbox_catch_up.c reading once more what was let go of
 *   outbox_floor.c    below which seq nothing new can appear
 *   outbox_passed.c   where long transactions can appear below it nevertheless
 *   outbox_net.c      making sure of it
 *   outbox_publish.c  issuing, the window
 *   outbox_settle.c   what the broker answers; deleting
 *   outbox_retire.c   deleting what was marked long ago
 *   outbox_blocked.c  aggregates whose first row could not be published, and waits
 *   outbox_aside.c    rows that could not be published, and do not wait
 *
 * The life of a row's seq in 'known':
 *   (read) struct row -> (confirmed) CONFIRMED -> (its delete was answered) not there
 *                                      (let go of) DROPPED -> (read again) struct row
 * A visible row at or below the cursor and above the floor that is not known was committed late.
 */
#ifndef PAWL_OUTBOX_RELAY_OUTBOX_INTERNAL_H
#define PAWL_OUTBOX_RELAY_OUTBOX_INTERNAL_H
#include "outbox-relay/glance.h"
#include "outbox-relay/outbox.h"
#include "outbox-relay/relay.h"
#include "outbox-relay/row.h"
#include "outbox-relay/seq_list.h"
#include "outbox-relay/seq_map.h"
#include "util/backoff.h"
#include "util/buf.h"
#include "util/log.h"
#include "util/table.h"

enum {
	OUTBOX_BATCH = 1000,			/* rows of one read, seqs of one delete, at most */
	OUTBOX_READ_BYTES = 2 * 1024 * 1024,	/* payloads of one read, as stored */
	OUTBOX_MEMORY_BYTES = 12 * 1024 * 1024,	/* rows in memory, all outboxes together */
	OUTBOX_WINDOW_BYTES = 8 * 1024 * 1024,	/* unconfirmed */
	OUTBOX_AGGREGATE_ROWS = 64,		/* in memory, of one aggregate */
	OUTBOX_AGGREGATE_LOW = 16,		/* so few left: catch up */
	OUTBOX_BLOCKED_MOST = 65536		/* blocked aggregates; then nothing new is read */
};

enum outbox_state {
	OUTBOX_DOWN,		/* no database session */
	OUTBOX_CHECKING,	/* asking what the table is */
	OUTBOX_UNFIT,		/* the table cannot be relayed as it is; asked again later */
	OUTBOX_STANDBY,		/* tries to get the lock */
	OUTBOX_LEADING,
	OUTBOX_RESIGNING,	/* gives the lock to one who has a broker */
	OUTBOX_STATES
};

/* Marks in 'known' for what is not in memory. */
extern char outbox_dropped[], outbox_confirmed[];
#define DROPPED ((void *)outbox_dropped)
#define CONFIRMED ((void *)outbox_confirmed)

enum reading {
	READING_NOTHING,
	READING_AHEAD,		/* what is new */
	READING_LATE,		/* what was committed late; the rows ahead are held meanwhile */
	READING_CATCH_UP,	/* dropped rows of some aggregates that can go on */
	READING_SWEEP,		/* of many */
	READING_AGAIN,		/* rows without aggregate that can go on */
	READING_PROBE,		/* first rows of blocked aggregates that shall be tried */
	READING_GLANCE		/* with other outboxes: is there anything? (glance.h) */
};
struct outbox_reader {
	enum reading reading;
	struct clock_mono started;
	int64_t cursor;			/* all rows that were visible up to here have been seen */
	int64_t floor;			/* none will appear at or below here */
	/* of the next read: grows and shrinks with what reads cost */
	unsigned limit;
	size_t row_bytes;		/* in memory, of the rows read last, on average */
	size_t read_bytes;		/* of this read: payloads, at most */
	size_t reserved_bytes;		/* for its answer, and the rows that come of it */
	int64_t interval_ms;
	struct clock_mono next;		/* when to look ahead again */
	struct clock_mono last_found;	/* a look ahead found something */
	bool found_nothing;		/* the last look ahead */
	bool found_all;			/* and it asked for due rows */
	bool look;			/* a glance has seen something, or there was none */
	bool turn;			/* catching up had the last turn */
	unsigned asked_rows;		/* limit of the read that is under way */
	struct pg_result *held;		/* rows ahead, until the late ones and the fence are here */
	/* more late rows than were fetched: the held ones must be read again */
	bool late_partial;
	struct seq_list asked;		/* LATE, AGAIN, PROBE: what was asked for */
	/* rows with a not_before that were due and may still be known */
	struct seq_list due;
	bool due_asked;			/* in the look that is under way */
	int64_t due_ns, look_ns;	/* what it took longer then; a look without it */
	struct clock_mono due_next;	/* not before: ask again */
	/*
	 * begun when nobody was left, but for long transactions, who could have rows below the
	 * floor's candidate
	 */
	bool clears_floor;
	/* it reads a range that was set aside, up to here, not what is ahead */
	bool passed;
	int64_t passed_to;
	struct aggregate_list catching_up;
	struct aggregate_list swept;
	int64_t sweep_at;		/* their rows before that one have been read */
	bool swept_last;		/* of catch-up and sweep, the sweep had the last turn */
	struct log_complaint complaint, full_complaint;
};

struct outbox_bell {
	bool asleep;			/* the lock is ours: writers ring */
	bool rung;			/* since the last look ahead was sent */
	struct clock_mono next;		/* not before: try to sleep */
	struct log_complaint complaint;
};

enum floor_state { FLOOR_IDLE, FLOOR_WAITING, FLOOR_CLEAR };
struct outbox_floor {
	enum floor_state state;
	bool asking;
	int64_t candidate;
	/* transactions that may have rows at or below it under way: texts of ours */
	struct table waiting;
	struct clock_mono since;	/* it waits */
	/* their numbers; unnumbered: one has none yet */
	struct seq_list writers;
	bool unnumbered;
	struct clock_mono next;
	bool purged;			/* of rows that wait below it not all are in 'known' */
	int64_t purged_to;		/* above it, whatever was let go of is */
	size_t purge_at;		/* so many marks */
	struct log_complaint complaint;
};

/* Above from, up to to; its transactions, and which of them have ended by now. */
struct outbox_passed { int64_t from, to; struct seq_list writers, ended; };
struct outbox_passed_ranges {
	struct outbox_passed ranges[16];	/* from below to above */
	size_t count;
	int64_t at, step;		/* of reading them once more */
};
/* Which transactions are under way: those of the list, and from next on. */
struct outbox_snapshot { uint32_t next; struct seq_list running; };

struct outbox_net {
	bool asking;
	int64_t at, to;			/* of this step: from behind the one up to the other */
	int64_t step;			/* how many seqs */
	struct clock_mono sent, next;
	struct log_complaint complaint;
};

struct outbox_window {
	struct amqp_channel *channel, *probe;	/* probe: NULL until it is needed */
	struct row_list ready, issued, suspects, probes;
	struct row_list orphans;	/* unconfirmed rows of an earlier session */
	size_t issued_bytes;
	struct row *probed;		/* unconfirmed on the probe channel */
	int suspect_code;		/* 404 or 406: what closed the channel */
	struct row_message_maker maker;	/* of the message that is being issued */
	/* for routes at any other time: answers are read while a message is being issued */
	struct row_message_maker router;
};

struct outbox_settling {
	struct seq_list confirmed;	/* to be deleted */
	struct clock_mono since;	/* when the first of them came */
	struct seq_list deleting;	/* the delete is under way */
	/* deleted, and still there: something at the server keeps them */
	struct seq_list kept;
	struct clock_mono kept_again;	/* when they are tried again */
	bool busy;
	struct clock_mono sent;		/* the delete */
	struct clock_mono retry;	/* not before, after a failure */
	struct backoff backoff;
	struct log_complaint complaint, kept_complaint;
};

struct outbox_retiring {
	bool asking;
	char *at;			/* the walk's last key; NULL: at the beginning */
	unsigned rows;			/* of the next step */
	struct clock_mono sent, next;
	struct log_complaint complaint;
};

enum block_reason {
	BLOCK_NO_EXCHANGE,	/* of a route: one row of it is tried for all */
	BLOCK_UNROUTABLE,
	BLOCK_NACKED,
	BLOCK_PRECONDITION,	/* of the row itself */
	BLOCK_REFUSED,
	BLOCK_REASONS
};
struct outbox_aside {
	/* in the order in which they came; the first 'asked' are under way */
	struct aside { struct row *row; enum block_reason reason; char *why; } *items;
	size_t count, cap, asked;
	enum config_policy policy;	/* of those that are under way */
	struct clock_mono retry;	/* not before, after a failure */
	struct backoff backoff;
	size_t most;			/* rows of the next statement */
	struct log_complaint complaint, missing, news;
	struct clock_mono said;		/* the last news */
};

/* Of a table without a seq: ids and the numbers that stand for them. */
struct outbox_keys {
	struct table by_text;
	struct seq_map by_number;
	int64_t last;
};

enum { OUTBOX_PROBES = 64, OUTBOX_EVENT_NAME = 128 };
struct outbox_blocked {
	struct blockage *head, *tail;
	struct table routes;		/* those that are about a route, by key */
	size_t unroutable;		/* how many of these are BLOCK_UNROUTABLE */
	size_t aggregates;
	struct seq_list again;		/* rows without aggregate that can go on */
	struct blockage *asked[OUTBOX_PROBES];	/* whose first rows are being read */
	size_t asked_count;
	struct clock_mono next;		/* none is due before */
	struct log_complaint nacks;
	struct clock_mono nacked;	/* the last one */
	bool changed;			/* since it was listed */
};

struct outbox {
	struct relay *relay;
	const struct config_outbox *config;
	struct database *database;
	struct database_user user;
	struct glance *glance;		/* of the database */
	struct amqp_publisher *publisher;
	struct stats_page *page;	/* never NULL */
	struct stats_page *own_page;	/* where there is no file */
	struct log_context context;
	unsigned number, checks;	/* in the names of prepared statements */

	enum outbox_state state;
	struct outbox_table table;
	struct loop_timer timer;
	struct outbox *next_awake;	/* in the list of those that were woken */
	bool awake;
	int64_t wait_ms;		/* gathered while working: when to work again */
	struct clock_mono next_check;	/* UNFIT, STANDBY: when to ask again */
	struct backoff check_backoff;
	struct clock_mono checked_afresh;	/* 0: never */
	struct backoff afresh_backoff;
	struct clock_mono next_plans;	/* not before: make the statements' plans afresh */
	struct log_complaint complaint;
	/* the lock is being tried; it was said that another one leads */
	bool trying, standing_by;
	struct clock_mono broker_lost_since;	/* LEADING: 0 while there is one */
	char backend_pid[16];		/* as the session itself says */
	char file[16];			/* of the table; "" before the first read */
	bool check_again;		/* RESIGNING: the table is not what it was */

	struct seq_map known;
	struct table aggregates;
	struct aggregate_list lagging;	/* AGGREGATE_LAGGING */
	size_t rows;			/* in memory, orphans aside */
	size_t dropped;			/* marks in 'known' */
	/* rows that were dropped and are to be read again, for the gauge */
	size_t let_go;
	unsigned ticks;

	struct outbox_keys keys;
	struct outbox_reader reader;
	struct outbox_bell bell;
	struct outbox_floor floor;
	struct outbox_passed_ranges passed;
	struct outbox_net net;
	struct outbox_window window;
	struct outbox_settling settling;
	struct outbox_retiring retiring;
	struct outbox_blocked blocked;
	struct outbox_aside aside;
};

/* outbox.c */
void	outbox_wake(struct outbox *) ATTR_NONNULL;
/* while working: work again in so many ms at the latest */
void	outbox_due_ms(struct outbox *, int64_t ms) ATTR_NONNULL;
void	outbox_due(struct outbox *, struct clock_mono now, struct clock_mono at) ATTR_NONNULL;
void	outbox_set_state(struct outbox *, enum outbox_state) ATTR_NONNULL;
void	outbox_statement(const struct outbox *, const char *which, char name[32]) ATTR_NONNULL;
void	outbox_execute(struct outbox *, database_fn *, const char *which, int n,
    const char *const *values);
/* a statement that reads or deletes took so long */
void	outbox_took(struct outbox *, int64_t ms) ATTR_NONNULL;
bool	outbox_may_issue(const struct outbox *, struct clock_mono now) ATTR_NONNULL;
struct stats_outbox *outbox_stats(struct outbox *) ATTR_NONNULL;

/* outbox_rows.c */
/* the session is lost: what is in memory is no longer ours */
void	outbox_forget(struct outbox *) ATTR_NONNULL;
/* is in memory and known from now on */
void	outbox_keep_row(struct outbox *, struct row *) ATTR_NONNULL;
/* no longer in memory; it is in no list. 'known' is the caller's business */
void	outbox_let_go(struct outbox *, struct row **) ATTR_NONNULL;
/* a new one: kept, ready when it is its turn; or dropped. Takes it */
void	outbox_take_row(struct outbox *, struct row *) ATTR_NONNULL;
/* the head of its aggregate is settled: let go of it, the next one is ready */
void	outbox_pop_row(struct outbox *, struct row **) ATTR_NONNULL;
/* the head, if there is one, is ready; what has no rows left is caught up or freed */
void	outbox_next_row(struct outbox *, struct aggregate *) ATTR_NONNULL;
/* all of its rows, which are in no list */
void	outbox_drop_aggregate(struct outbox *, struct aggregate *) ATTR_NONNULL;
void	outbox_mark_dropped(struct outbox *, int64_t seq) ATTR_NONNULL;
void	outbox_unmark_dropped(struct outbox *, int64_t seq) ATTR_NONNULL;
/* one row that was dropped is in memory again, or gone */
void	outbox_taken_back(struct outbox *) ATTR_NONNULL;
/* kept; ready when it is its turn */
void	outbox_add_row(struct outbox *, struct aggregate *, struct row *) ATTR_NONNULL;
void	outbox_leave_list(struct outbox *, struct aggregate *) ATTR_NONNULL;
/* NULL: it is not known, or id is */
struct aggregate *outbox_find_aggregate(const struct outbox *, const char *type, const char *id);
/* for now: out of the reader's list, back to lagging or flowing */
void	outbox_caught_up(struct outbox *, struct aggregate *) ATTR_NONNULL;

/* outbox_lead.c */
void	outbox_lead_check(struct outbox *) ATTR_NONNULL;
void	outbox_lead_work(struct outbox *, struct clock_mono now) ATTR_NONNULL;
/* the table is not what it was: look at it afresh */
void	outbox_lead_again(struct outbox *, const char *why) ATTR_NONNULL;

/* outbox_keys.c */
/* as row_new(); it has its number */
struct row *outbox_new_row(struct outbox *, const struct pg_result *, int row) ATTR_NONNULL;
/* of what the server calls it; 0: it is not known */
int64_t	outbox_seq_of(const struct outbox *, const char *text) ATTR_NONNULL;
/* of a table without seq: nothing is to be known of this row any more */
void	outbox_forget_key(struct outbox *, int64_t number) ATTR_NONNULL;
/* "event 17", for the log */
void	outbox_name_event(const struct outbox *, int64_t seq,
    char text[OUTBOX_EVENT_NAME]) ATTR_NONNULL;
/* what the server calls this row: a number, or an id */
void	outbox_key_text(const struct outbox *, int64_t seq, struct buf *) ATTR_NONNULL;
/* an array of texts is begun with an empty buf */
void	outbox_add_text(struct buf *list, struct slice) ATTR_NONNULL;
void	outbox_end_list(struct buf *list) ATTR_NONNULL;
/* what the server knows these rows by: an int8[], or a text[] of ids */
void	outbox_keys_text(const struct outbox *, const struct seq_list *, struct buf *) ATTR_NONNULL;
void	outbox_keys_look(struct outbox *, database_fn *, unsigned rows) ATTR_NONNULL;
/* before what it found is taken */
void	outbox_keys_opened(struct outbox *) ATTR_NONNULL;
void	outbox_keys_reset(struct outbox *) ATTR_NONNULL;

/* outbox_read.c */
void	outbox_read_start(struct outbox *) ATTR_NONNULL;
void	outbox_read_reset(struct outbox *) ATTR_NONNULL;
void	outbox_read_work(struct outbox *, struct clock_mono now) ATTR_NONNULL;
/* has nothing to do but to look, and not soon: a glance will do */
bool	outbox_is_quiet(const struct outbox *) ATTR_NONNULL;
/* the answer of a glance, if it was in one: something may be there */
void	outbox_glanced(struct outbox *, bool something) ATTR_NONNULL;

/* For the readings of outbox_catch_up.c, too. */
void	outbox_read_begin(struct outbox *, enum reading) ATTR_NONNULL;
void	outbox_read_end(struct outbox *) ATTR_NONNULL;
/* and ended */
void	outbox_read_failed(struct outbox *, const struct pg_error *) ATTR_NONNULL;
/* the rows of reader.asked */
void	outbox_read_fetch(struct outbox *, database_fn *) ATTR_NONNULL;
int64_t	outbox_read_seq(const struct pg_result *, int row) ATTR_NONNULL;
/* of fetch and catch_up: no row was left out for its size */
bool	outbox_read_is_complete(const struct pg_result *) ATTR_NONNULL;
struct outbox_number { char text[24]; };	/* a number as a parameter */
static inline const char *
outbox_number(struct outbox_number *n, long long value)
{
	(void)snprintf(n->text, sizeof(n->text), "%lld", value);
	return n->text;
}

/* outbox_catch_up.c */
void	outbox_catch_up(struct outbox *, unsigned rows) ATTR_NONNULL;
/* false: none is due */
bool	outbox_read_probes(struct outbox *, struct clock_mono now) ATTR_NONNULL;

/* outbox_bell.c */
void	outbox_bell_listen(struct outbox *) ATTR_NONNULL;	/* it leads */
void	outbox_bell_resign(struct outbox *) ATTR_NONNULL;	/* it will not any more */
void	outbox_bell_reset(struct outbox *) ATTR_NONNULL;	/* the session is lost */
/* a look ahead is about to be sent: sleep first, if it is quiet */
void	outbox_bell_look(struct outbox *, struct clock_mono now) ATTR_NONNULL;
/* it found something */
void	outbox_bell_wake(struct outbox *) ATTR_NONNULL;
void	outbox_bell_notified(struct outbox *, const char *channel) ATTR_NONNULL;

/* outbox_floor.c */
void	outbox_floor_reset(struct outbox *) ATTR_NONNULL;
void	outbox_floor_work(struct outbox *, struct clock_mono now) ATTR_NONNULL;
bool	outbox_floor_is_clear(const struct outbox *) ATTR_NONNULL;
/* a look ahead that was begun when it was clear has taken in all that it found */
void	outbox_floor_rise(struct outbox *) ATTR_NONNULL;
/* rows were found there nevertheless: the next looks see them */
void	outbox_floor_lower(struct outbox *, int64_t floor) ATTR_NONNULL;

/* the snapshot of a look ahead. True: none of it may be taken, ranges have to be read first */
bool	outbox_floor_look(struct outbox *, const char *snapshot) ATTR_NONNULL;

/* outbox_passed.c */
void	outbox_passed_reset(struct outbox *) ATTR_NONNULL;
/* a transaction's number, as pg_locks and snapshots have it, for a seq_list */
int64_t	outbox_passed_xid(const char *text) ATTR_NONNULL;
void	outbox_snapshot_parse(struct outbox_snapshot *, const char *text) ATTR_NONNULL;
void	outbox_snapshot_strike_ended(const struct outbox_snapshot *,
    struct seq_list *xids) ATTR_NONNULL;
/* the floor rises over them; without transactions there is nothing to do */
void	outbox_passed_add(struct outbox *, int64_t from, int64_t to,
    const struct seq_list *writers) ATTR_NONNULL;
/* all of them are known to be long already */
bool	outbox_passed_has_writers(const struct outbox *, const struct seq_list *) ATTR_NONNULL;
/* of which some have ended only now */
bool	outbox_passed_ended(struct outbox *, const struct outbox_snapshot *) ATTR_NONNULL;
/* what to read once more before anything else; false: nothing */
bool	outbox_passed_step(struct outbox *, int64_t *from, int64_t *to) ATTR_NONNULL;
/* it has been taken, and took so long */
void	outbox_passed_stepped(struct outbox *, int64_t to, int64_t ms) ATTR_NONNULL;
/* nobody will ever commit rows at or below it */
int64_t	outbox_passed_lowest(const struct outbox *) ATTR_NONNULL;

/* outbox_net.c */
void	outbox_net_reset(struct outbox *) ATTR_NONNULL;
void	outbox_net_work(struct outbox *, struct clock_mono now) ATTR_NONNULL;

/* outbox_publish.c */
void	outbox_publish_init(struct outbox *) ATTR_NONNULL;
void	outbox_publish_release(struct outbox *) ATTR_NONNULL;
void	outbox_publish_reset(struct outbox *) ATTR_NONNULL;
void	outbox_publish_work(struct outbox *, struct clock_mono now) ATTR_NONNULL;
void	outbox_publish_tick(struct outbox *, struct clock_mono now) ATTR_NONNULL;

/*
 * Where a row goes. The texts are good until the next call; false: nowhere, it cannot be published
 * as it is.
 */
bool	outbox_route(struct outbox *, const struct row *, struct slice *exchange,
    struct slice *routing_key) ATTR_NONNULL;

/* outbox_settle.c */
/* it is in no list */
void	outbox_settle_row(struct outbox *, struct row *, enum amqp_outcome,
    struct slice text) ATTR_NONNULL;
void	outbox_settle_reset(struct outbox *) ATTR_NONNULL;
void	outbox_settle_work(struct outbox *, struct clock_mono now) ATTR_NONNULL;

/* outbox_aside.c */
/* what the configuration says of such an event */
enum config_policy outbox_policy(const struct outbox *, enum block_reason) ATTR_NONNULL;
/*
 * The row, the head of its aggregate and in no list, will not be published. What is behind it goes
 * on when it is out of the table. Takes the row.
 */
void	outbox_put_aside(struct outbox *, struct row *, enum block_reason,
    const char *why) ATTR_NONNULL;
void	outbox_aside_reset(struct outbox *) ATTR_NONNULL;
void	outbox_aside_tick(struct outbox *) ATTR_NONNULL;
void	outbox_aside_work(struct outbox *, struct clock_mono now) ATTR_NONNULL;

/* outbox_retire.c */
void	outbox_retire_reset(struct outbox *) ATTR_NONNULL;
void	outbox_retire_work(struct outbox *, struct clock_mono now) ATTR_NONNULL;

/* outbox_blocked.c */
void	outbox_blocked_reset(struct outbox *) ATTR_NONNULL;
void	outbox_blocked_tick(struct outbox *, struct clock_mono now) ATTR_NONNULL;
const char *outbox_reason(enum block_reason);	/* "unroutable", for tables and lists */
/* all of them are tried, now */
void	outbox_blocked_try(struct outbox *) ATTR_NONNULL;
/* a line of JSON for each aggregate that waits; they are then not changed */
void	outbox_blocked_list(struct outbox *, struct buf *) ATTR_NONNULL;
/*
 * The row, the head of its aggregate and in no list, cannot be published: it and what is behind it
 * is dropped and waits. Takes the row.
 */
void	outbox_block(struct outbox *, struct row **, enum block_reason,
    struct slice text) ATTR_NONNULL;
/* The same of a row that will not be published and could not be put aside. */
void	outbox_hold(struct outbox *, struct row *, enum block_reason, const char *why) ATTR_NONNULL;
bool	outbox_exchange_is_missing(const struct outbox *, struct slice exchange) ATTR_NONNULL;
/* A row was confirmed that nothing blocked: what waits for its route is tried soon. */
void	outbox_route_works(struct outbox *, const struct row *) ATTR_NONNULL;
/*
 * The first row of a blocked aggregate was confirmed: it can go on, and whoever waits for the same.
 */
void	outbox_unblock(struct outbox *, struct aggregate *) ATTR_NONNULL;
/* when the oldest of the first rows was created; INT64_MAX: unknown */
int64_t	outbox_blocked_oldest_s(const struct outbox *) ATTR_NONNULL;
/*
 * First rows that are due to be tried: their seqs. They are then under way; each ends in
 * outbox_blocked_row() or outbox_blocked_gone().
 */
void	outbox_blocked_due(struct outbox *, struct clock_mono now, struct seq_list *) ATTR_NONNULL;
void	outbox_blocked_row(struct outbox *, struct row *) ATTR_NONNULL;	/* takes the row */
/* all that were due and did not come */
void	outbox_blocked_gone(struct outbox *) ATTR_NONNULL;
/* the same, but they could not be read: later */
void	outbox_blocked_untried(struct outbox *) ATTR_NONNULL;
#endif
