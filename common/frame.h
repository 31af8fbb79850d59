/*
 * frame.h - what crosses the socket (fd 3) between a runner and its slot, and the desk (fd 4) that both map.
 *
 * A frame is a header and 'size' bytes. Native byte order: both ends are of one build on one machine; HELLO-level checks are the
 * 'magic' of the header. The runner treats what a slot sends as hostile: frame_reader and frame_get_* never read past the frame, and a
 * violation ends the slot, never the runner.
 *
 *   runner -> slot   SETUP   consumer, connection, limits, handlers with their configuration
 *                    BATCH   messages, each one struct frame_message and its bytes
 *                    SHUTDOWN finish, then exit 0
 *   slot -> runner   READY   handlers are loaded and started, database session is good; kinds and versions of the handlers
 *                    WAITING no database: nobody is charged; text says why. READY follows when it is back
 *                    REFUSED configuration or handler errors, all of them; the slot exits 78
 *                    RESULT  what became of each message of a batch
 *                    TRIED   answers a BATCH of a dry run: two texts, what would be done as JSON, and for people
 *                    LOG is not a frame: slots write to stderr
 */
#ifndef PAWL_COMMON_FRAME_H
#define PAWL_COMMON_FRAME_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "util/attr.h"
#include "util/buf.h"
#include "util/slice.h"

enum { FRAME_SOCKET_FD = 3, FRAME_DESK_FD = 4, FRAME_SIZE_MAX = 512 * 1024 * 1024 };
#define FRAME_MAGIC 0x5057u			/* changes with any change of this file's formats */

enum frame_type { FRAME_SETUP = 1, FRAME_BATCH, FRAME_SHUTDOWN, FRAME_READY, FRAME_WAITING, FRAME_REFUSED, FRAME_RESULT, FRAME_TRIED };
struct frame_header { uint32_t size; uint16_t type; uint16_t magic; };	/* size without the header */

/* Building: integers are 8 bytes, texts are a u32 length, bytes, NUL. */
void	frame_put_u64(struct buf *, uint64_t);
void	frame_put_text(struct buf *, struct slice);
/* Reading: the first violation sets 'bad' and every further get returns 0 / "". */
struct frame_reader { const char *data; size_t len, at; bool bad; };
uint64_t frame_get_u64(struct frame_reader *);
struct slice frame_get_text(struct frame_reader *);	/* NUL-terminated inside the frame */
bool	frame_reader_done(const struct frame_reader *);	/* no violation and nothing left over */

/*
 * A message in a BATCH: this struct, then its texts (each with a NUL behind it), headers, body (with a NUL behind it), padded to 8.
 * Offsets count from the start of the struct; texts that are absent point to an empty one. The runner builds it once when the
 * delivery arrives, straight from the AMQP frames, and sends it from there.
 */
struct frame_text { uint32_t off, len; };
struct frame_message {
	uint32_t size;				/* of all of it, padding included: where the next one starts */
	uint16_t handler;			/* index into SETUP's handlers */
	uint16_t header_count;
	uint32_t attempt, attempts;
	int64_t timestamp_ms;
	struct frame_text id, type, content_type, correlation_id, reply_to, exchange, routing_key;
	uint32_t headers_off;			/* header_count times: struct frame_text name, value */
	uint32_t body_off, body_size;
};
/* Checked view of one message: -1 if any offset leaves the message or a text lacks its NUL. left: bytes from here to the frame's end. */
int	frame_message_check(const struct frame_message *, size_t left) ATTR_MUST_CHECK;
static inline struct slice
frame_message_text(const struct frame_message *m, struct frame_text t)
{
	return (struct slice){ (const char *)m + t.off, t.len };
}
bool	frame_message_header(const struct frame_message *, const char *name, struct slice *value);
bool	frame_message_header_at(const struct frame_message *, size_t index, struct slice *name, struct slice *value);	/* false: there are fewer */

/* BATCH: this struct, then count messages. */
enum {
	FRAME_BATCH_ALONE = 1,			/* one transaction per message: somebody in it is under suspicion */
	/* Sent before the batch before it was answered. When that answer has an UNAPPLIED message, the slot must answer this whole batch
	 * UNAPPLIED too, without calling a handler: else later messages of an aggregate would overtake earlier ones. */
	FRAME_BATCH_AHEAD = 2
};
struct frame_batch { uint64_t id; uint32_t count, flags; };

/* RESULT: this struct, then count times struct frame_outcome, then the texts they point to (offset from the payload's start). */
enum outcome {
	OUTCOME_DONE, OUTCOME_DUPLICATE, OUTCOME_RETRY, OUTCOME_SNOOZE, OUTCOME_REJECT,
	OUTCOME_UNAPPLIED,			/* environment: not applied, nobody's fault, hand it out again */
	OUTCOME_COUNT
};
const char *outcome_text(enum outcome);
enum {
	FRAME_OUTCOME_MAYBE = 1,		/* with UNAPPLIED: a commit was under way; if it is a duplicate later, that was us */
	FRAME_OUTCOME_LOST_SESSION = 2,		/* with UNAPPLIED: the session died without a word (EOF) while this was in its transaction */
	FRAME_OUTCOME_SUSPECT = 4,		/* with UNAPPLIED: run it alone next time */
	FRAME_OUTCOME_BUSY = 8,			/* with UNAPPLIED: another slot or worker has a message with this key just now */
	FRAME_OUTCOME_REPLY = 16		/* with DONE: an answer for whoever asked; code is its content type, text its body */
};
enum { FRAME_REPLY_MAX = 128 * 1024 };		/* bytes of its body */
struct frame_outcome {
	uint8_t outcome, flags;
	uint16_t unused;
	uint32_t delay_ms;			/* pawl_again_after; 0: the policy's */
	uint32_t handle_us;			/* time in handle() */
	struct frame_text code, text;		/* reason; empty for DONE without a reply */
};
struct frame_result { uint64_t id; uint32_t count, database_us; uint32_t deadlocks, unused; };
/* The outcomes of a RESULT of size bytes at an address that is a multiple of 8, all of their texts checked; NULL if anything is wrong. */
const struct frame_outcome *frame_result_check(const struct frame_result *, size_t size) ATTR_MUST_CHECK;
struct slice frame_result_text(const struct frame_result *, struct frame_text);	/* NUL-terminated; "" if there is none */

/* fd 4, a memfd: slot writes, runner reads, but for serialize_until_ns. Both treat it as a hint, never as truth about memory. */
enum desk_phase { DESK_STARTING, DESK_IDLE, DESK_HANDLING, DESK_DATABASE, DESK_WAITING };
enum { DESK_REPORT_MAX = 2048 };
/* The runner asks a slot for its last words with SIGXCPU, and kills it in any case a moment later. */
struct desk {
	_Atomic uint32_t phase;
	_Atomic uint32_t index;			/* message of the batch that is being handled */
	_Atomic uint64_t batch;
	_Atomic int64_t since_ns;		/* CLOCK_MONOTONIC; start of handle() */
	_Atomic int64_t serialize_until_ns;	/* runner writes: batches take the queue's advisory lock first until then */
	/* The last words of a slot that crashes or calls exit(), as far as it got: one line,
	 * "SIGSEGV at address 0x8; #0 handler.so+0x1199 name; #1 ...", innermost first. */
	_Alignas(64) _Atomic uint32_t report_len;
	char report[DESK_REPORT_MAX];
};
/* A copy for people, cut to size and terminated: anything but printable ASCII becomes '?'. "" if there is none. Its length. */
size_t	desk_report(const struct desk *, char *text, size_t size) ATTR_NONNULL;
#endif
