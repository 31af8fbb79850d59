/*
 * amqp_conn.c - the loop's side of a broker connection: pumps frames, keeps heartbeats, notices
 * losses, dials again.
 *
 * Nothing a broker sends ends the process: what is not understood is a connection given up. down()
 * is never called from inside a call of the owner's: failures found there are reported from the
 * loop.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "util/amqp_conn_internal.h"
#include "util/backoff.h"
#include "util/clock.h"
#include "util/log.h"

enum {
	HEARTBEAT_S = 15, CONNECT_TIMEOUT_MS = 5000, RPC_TIMEOUT_MS = 60000,
	PUMP_WORK = 1536,		/* a round's share: some 512 small messages, or 12 MiB */
	PUMP_BYTES = 8192,		/* of a body are as much work as a frame */
	BACKOFF_FIRST_MS = 100, BACKOFF_CONFIGURATION_MS = 5000, BACKOFF_MOST_MS = 30000,
	/* a connection that lived so long starts the delays afresh */
	GOOD_AFTER_MS = 5000,
	LEAVE_MS = 500,
	STACK_BYTES = 16 * 1024 * 1024,	/* five times what the deepest header table took */
	/* A writable socket has a third of its buffer free. We use up to a quarter before asking
	 * again, and a little more for what is sent as one: the rest is for the kernel's own. */
	ROOM_SHARE = 4, ROOM_MOST_16THS = 5
};

enum conn_state { CONN_STOPPED, CONN_WAITING, CONN_DIALLING, CONN_UP, CONN_LEAVING, CONN_BROKEN };
static const char *const state_text[] = {
	"stopped", "waiting", "dialling", "up", "leaving", "broken"
};

/* connection.close-ok as it is on the wire: a method frame of 4 bytes on channel 0, class 10,
 * method 51. */
static const char CLOSE_OK[] = { 1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, '\xce' };

struct amqp_conn {
	struct loop *loop;
	struct amqp_conn_options options;
	const struct amqp_conn_owner *owner;
	void *arg;
	enum conn_state state;
	bool stopped;			/* do not dial (again) */
	bool freed;			/* by the owner, while busy */
	/* depth of calls of the owner's functions: nothing they may look at is freed meanwhile */
	unsigned busy;
	size_t host;			/* into options.uris, of the current or last attempt */
	struct backoff quick, slow;
	struct loop_timer retry;
	struct amqp_dial *dial;
	struct loop_watch *watch;	/* of the dial, then of the socket */
	/* while up or broken: */
	amqp_connection_state_t library;
	/* our own descriptor of the socket: the library may close its at any time */
	int fd;
	bool tls;
	bool paused, want_room;
	struct clock_mono since;
	struct loop_timer service;	/* heartbeats */
	struct loop_timer again;	/* next round: frames left over, or a failure to report */
	size_t buffer_bytes;		/* of the socket, to send; 0: not asked yet */
	size_t room_bytes;
	struct clock_mono room_checked;
	char last[sizeof(CLOSE_OK)];	/* while leaving: the last bytes that came */
	struct amqp_error error;	/* while leaving or broken */
};

static void conn_pump(struct amqp_conn *);

static const struct amqp_uri *
conn_uri(const struct amqp_conn *conn)
{
	return &conn->options.uris[conn->host];
}

static void
conn_enter(struct amqp_conn *conn, enum conn_state state)
{
	if (conn->state != state)
		log_debug("broker connection \"%s\": %s -> %s",
		    conn->options.name != NULL ? conn->options.name : "", state_text[conn->state],
		    state_text[state]);
	conn->state = state;
}

static void
conn_watch_changed(struct amqp_conn *conn)
{
	unsigned events = 0;

	if (!conn->paused)
		events |= LOOP_READ;
	if (conn->want_room)
		events |= LOOP_WRITE;
	if (conn->state == CONN_UP)
		loop_watch_events(conn->watch, events);
}

static void
conn_disconnect(struct amqp_conn *conn)
{
	loop_unwatch(&conn->watch);
	loop_timer_stop(&conn->service);
	loop_timer_stop(&conn->again);
	loop_timer_stop(&conn->retry);
	amqp_dial_give_up(&conn->dial);
	if (conn->library != NULL) {
		(void)amqp_destroy_connection(conn->library);
		conn->library = NULL;
	}
	if (conn->fd >= 0)
		(void)close(conn->fd);
	conn->fd = -1;
	conn->buffer_bytes = conn->room_bytes = 0;
	conn->want_room = false;
}

static void
conn_destroy(struct amqp_conn *conn)
{
	const struct amqp_conn_owner *owner = conn->owner;
	void *arg = conn->arg;

	conn_disconnect(conn);
	free(conn);
	owner->gone(arg);
}

static void
conn_report_loss(struct amqp_conn *conn)
{
	struct amqp_error error = conn->error;
	bool was_up = conn->library != NULL;

	if (was_up && clock_ms_between(conn->since, clock_mono_now()) >= GOOD_AFTER_MS) {
		backoff_reset(&conn->quick);
		backoff_reset(&conn->slow);
	}
	conn_disconnect(conn);
	conn_enter(conn, CONN_STOPPED);
	if (!conn->stopped) {
		conn_enter(conn, CONN_WAITING);
		loop_timer_set_ms(&conn->retry,
		    backoff_next_ms(error.configuration ? &conn->slow : &conn->quick));
	}
	conn->owner->down(conn->arg, &error);
}

/* Whatever may call the owner's functions stands between busy++ and this, which does what had to
 * wait for their return. */
static void
conn_unbusy(struct amqp_conn *conn)
{
	if (conn->busy == 1 && !conn->freed && conn->state == CONN_BROKEN)
		conn_report_loss(conn);
	if (--conn->busy == 0 && conn->freed)
		conn_destroy(conn);
}

/* Failures. */

static void
conn_break(struct amqp_conn *conn, const struct amqp_error *error)
{
	conn->error = *error;
	conn_enter(conn, CONN_BROKEN);
	loop_unwatch(&conn->watch);
	loop_timer_set_ms(&conn->again, 0);
}

static struct amqp_error ATTR_PRINTF(3, 0)
conn_error(const struct amqp_conn *conn, int code, const char *fmt, va_list ap)
{
	struct amqp_error error;
	char reason[sizeof(error.text)];

	(void)vsnprintf(reason, sizeof(reason), fmt, ap);
	amqp_error_set(&error, code, "lost the connection to %s:%d: %s", conn_uri(conn)->host,
	    conn_uri(conn)->port, reason);
	error.connection = true;
	return error;
}

void
amqp_conn_fail(struct amqp_conn *conn, int code, const char *fmt, ...)
{
	struct amqp_error error;
	va_list ap;

	if (conn->state != CONN_UP)
		return;
	va_start(ap, fmt);
	error = conn_error(conn, code, fmt, ap);
	va_end(ap);
	conn_break(conn, &error);
}

/*
 * Closing at once would make the kernel send a reset, because unread bytes are left, and a reset
 * overtakes what was sent before. So the bytes are read and thrown away until close-ok has come.
 * Over TLS it cannot be seen: then the time decides.
 */
static void
conn_leaving(void *arg, unsigned events)
{
	struct amqp_conn *conn = arg;
	char bytes[65536];
	ssize_t n;
	size_t keep;

	(void)events;
	n = recv(conn->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		keep = (size_t)n < sizeof(conn->last) ? (size_t)n : sizeof(conn->last);
		memmove(conn->last, conn->last + keep, sizeof(conn->last) - keep);
		memcpy(conn->last + sizeof(conn->last) - keep, bytes + (size_t)n - keep, keep);
		if (memcmp(conn->last, CLOSE_OK, sizeof(CLOSE_OK)) != 0)
			return;
	}
	conn->busy++;
	conn_enter(conn, CONN_BROKEN);
	conn_unbusy(conn);
}

void
amqp_conn_leave(struct amqp_conn *conn, bool rejected, const char *fmt, ...)
{
	amqp_connection_close_t method = { 200, amqp_cstring_bytes("bye"), 0, 0 };
	va_list ap;

	if (!amqp_conn_send(conn, 0, AMQP_CONNECTION_CLOSE_METHOD, &method))
		return;
	va_start(ap, fmt);
	conn->error = conn_error(conn, 0, fmt, ap);
	va_end(ap);
	conn->error.rejected = rejected;
	conn_enter(conn, CONN_LEAVING);
	memset(conn->last, 0, sizeof(conn->last));
	loop_unwatch(&conn->watch);
	conn->watch = loop_watch(conn->loop, conn->fd, LOOP_READ, conn_leaving, conn);
	loop_timer_stop(&conn->service);
	loop_timer_set_ms(&conn->again, LEAVE_MS);
}

void
amqp_conn_channel_error(
    const struct amqp_conn *conn, const amqp_channel_close_t *method, struct amqp_error *error)
{
	amqp_error_channel(error, conn_uri(conn)->host, conn_uri(conn)->port, method);
}

void
amqp_conn_fail_channel(struct amqp_conn *conn, const amqp_channel_close_t *method)
{
	struct amqp_error error;

	if (conn->state != CONN_UP)
		return;
	amqp_conn_channel_error(conn, method, &error);
	/* 406 is an ack that came too late */
	error.configuration = method->reply_code == AMQP_ACCESS_REFUSED;
	conn_break(conn, &error);
}

void
amqp_conn_fail_status(struct amqp_conn *conn, int status, const char *what)
{
	if (status == AMQP_STATUS_HEARTBEAT_TIMEOUT)
		amqp_conn_fail(conn, 0, "nothing heard from the broker for %d s",
		    2 * conn->options.heartbeat_s);
	else
		amqp_conn_fail(conn, 0, "could not %s: %s", what, amqp_error_string2(status));
}

void
amqp_conn_unexpected(struct amqp_conn *conn, const amqp_frame_t *frame)
{
	const char *name = NULL;

	if (frame->frame_type == AMQP_FRAME_METHOD)
		name = amqp_method_name(frame->payload.method.id);
	amqp_conn_fail(conn, 0, "unexpected frame of type %d on channel %d%s%s", frame->frame_type,
	    frame->channel, name != NULL ? ": " : "", name != NULL ? name : "");
}

/* Reading. */

static void
conn_connection_close(struct amqp_conn *conn, const amqp_connection_close_t *method)
{
	struct slice text = slice_of_bytes(method->reply_text);
	amqp_connection_close_ok_t ok = { 0 };
	int code = method->reply_code;
	struct amqp_error error;

	amqp_error_set(&error, code,
	    "lost the connection to %s:%d: closed by the broker: %.*s (%d)", conn_uri(conn)->host,
	    conn_uri(conn)->port, (int)text.len, text.len > 0 ? text.data : "", code);
	error.connection = true;
	error.configuration = amqp_code_is_configuration(code);
	(void)amqp_send_method(conn->library, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
	conn_break(conn, &error);
}

/*
 * A broker with an alarm leaves the socket unread for as long as that lasts, and the kernel would
 * take it for dead: its heartbeats, which still come, say that it is not.
 */
static void
conn_expect_reading(struct amqp_conn *conn, bool expected)
{
	int timeout_ms = expected ? 2 * conn->options.heartbeat_s * 1000 : 0;

	(void)setsockopt(
	    conn->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

static void
conn_channel_0(struct amqp_conn *conn, const amqp_frame_t *frame)
{
	const amqp_connection_blocked_t *blocked;

	if (frame->frame_type != AMQP_FRAME_METHOD) {
		amqp_conn_unexpected(conn, frame);
		return;
	}
	switch (frame->payload.method.id) {
	case AMQP_CONNECTION_CLOSE_METHOD:
		conn_connection_close(conn, frame->payload.method.decoded);
		break;
	case AMQP_CONNECTION_BLOCKED_METHOD:
		blocked = frame->payload.method.decoded;
		conn_expect_reading(conn, false);
		if (conn->owner->blocked != NULL)
			conn->owner->blocked(conn->arg, true, slice_of_bytes(blocked->reason));
		break;
	case AMQP_CONNECTION_UNBLOCKED_METHOD:
		conn_expect_reading(conn, true);
		if (conn->owner->blocked != NULL)
			conn->owner->blocked(conn->arg, false, (struct slice){ NULL, 0 });
		break;
	default:
		amqp_conn_unexpected(conn, frame);
		break;
	}
	amqp_conn_release(conn, 0);
}

void
amqp_conn_release(struct amqp_conn *conn, unsigned channel)
{
	amqp_maybe_release_buffers_on_channel(conn->library, (amqp_channel_t)channel);
}

/*
 * Until nothing is left, or a round's share is done. A plain socket need not be asked twice: the
 * loop says when there is more (epoll is level-triggered); TLS may hold decrypted bytes that no
 * poll shows, so there we ask until it says TIMEOUT.
 */
static void
conn_pump(struct amqp_conn *conn)
{
	static const struct timeval no_wait = { 0, 0 };
	amqp_frame_t frame;
	int status;

	for (size_t work = 0; conn->state == CONN_UP && !conn->paused && !conn->freed; work++) {
		if (work >= PUMP_WORK) {
			loop_timer_set_ms(&conn->again, 0);
			return;
		}
		status = amqp_simple_wait_frame_noblock(conn->library, &frame, &no_wait);
		if (status == AMQP_STATUS_TIMEOUT)
			return;
		if (status == AMQP_STATUS_BAD_AMQP_DATA && conn->owner->unreadable != NULL)
			conn->owner->unreadable(conn->arg);
		if (status != AMQP_STATUS_OK) {
			amqp_conn_fail_status(conn, status, "read");
			return;
		}
		if (frame.frame_type == AMQP_FRAME_BODY)
			work += frame.payload.body_fragment.len / PUMP_BYTES;
		if (frame.channel == 0)
			conn_channel_0(conn, &frame);
		else
			conn->owner->frame(conn->arg, &frame);
		if (!conn->tls && !amqp_data_in_buffer(conn->library) &&
		    !amqp_frames_enqueued(conn->library))
			return;
	}
}

static void
conn_socket_event(void *arg, unsigned events)
{
	struct amqp_conn *conn = arg;

	conn->busy++;
	if (events & LOOP_READ)
		conn_pump(conn);
	if ((events & LOOP_WRITE) && conn->state == CONN_UP && !conn->freed) {
		conn->want_room = false;
		conn_watch_changed(conn);
		conn->owner->writable(conn->arg);
	}
	conn_unbusy(conn);
}

static void
conn_again(void *arg)
{
	struct amqp_conn *conn = arg;

	conn->busy++;
	if (conn->state == CONN_UP)
		conn_pump(conn);
	else if (conn->state == CONN_LEAVING)
		conn_enter(conn, CONN_BROKEN);
	conn_unbusy(conn);
}

/* rabbitmq-c sends and checks heartbeats only when it is called to read. Who does not read sends
 * them himself; the peer's death then shows as TCP_USER_TIMEOUT. */
static void
conn_service(void *arg)
{
	struct amqp_conn *conn = arg;
	amqp_frame_t heartbeat = { .frame_type = AMQP_FRAME_HEARTBEAT, .channel = 0 };
	int status;

	loop_timer_set_ms(&conn->service, (int64_t)conn->options.heartbeat_s * 1000 / 3);
	conn->busy++;
	if (!conn->paused) {
		conn_pump(conn);
	} else if (amqp_conn_room(conn, AMQP_FRAME_OVERHEAD)) {
		status = amqp_send_frame(conn->library, &heartbeat);
		if (status != AMQP_STATUS_OK)
			amqp_conn_fail_status(conn, status, "send a heartbeat");
	}
	conn_unbusy(conn);
}

/* Dialling. */

static void
conn_dialled(void *arg, unsigned events)
{
	struct amqp_conn *conn = arg;

	(void)events;
	loop_unwatch(&conn->watch);
	conn->busy++;
	conn->library = amqp_dial_finish(&conn->dial, &conn->fd, &conn->error);
	if (conn->library == NULL) {
		conn_enter(conn, CONN_BROKEN);
	} else {
		conn_enter(conn, CONN_UP);
		conn->since = clock_mono_now();
		conn->tls = conn_uri(conn)->tls;
		conn->watch = loop_watch(conn->loop, conn->fd, LOOP_READ, conn_socket_event, conn);
		conn_watch_changed(conn);
		loop_timer_set_ms(&conn->service, (int64_t)conn->options.heartbeat_s * 1000 / 3);
		/* frames may already be in the library's buffer */
		loop_timer_set_ms(&conn->again, 0);
		conn->owner->up(conn->arg);
	}
	conn_unbusy(conn);
}

static void
conn_dial(void *arg)
{
	struct amqp_conn *conn = arg;
	void *prepared = NULL;

	conn->host = (conn->host + 1) % conn->options.uri_count;
	conn->dial = amqp_dial_new(&conn->options, conn_uri(conn));
	if (conn->owner->prepare != NULL)
		prepared = conn->owner->prepare(conn->arg, amqp_dial_arena(conn->dial));
	conn->watch =
	    loop_watch(conn->loop, amqp_dial_fd(conn->dial), LOOP_READ, conn_dialled, conn);
	conn_enter(conn, CONN_DIALLING);
	amqp_dial_start(conn->dial, conn->owner->setup, prepared);
}

void
amqp_conn_start(struct amqp_conn *conn)
{
	conn->stopped = false;
	if (conn->state == CONN_STOPPED)
		conn_dial(conn);
}

void
amqp_conn_stop(struct amqp_conn *conn)
{
	conn->stopped = true;
	if (conn->state == CONN_WAITING || conn->state == CONN_DIALLING) {
		conn_disconnect(conn);
		conn_enter(conn, CONN_STOPPED);
	}
}

/*
 * rabbitmq-c decodes nested header tables recursively, 0.11 without a limit, and an ordinary
 * publisher can nest them 26,000 deep in one frame: that must not be a stack overflow (facts row
 * 18). The main thread's stack grows up to the soft limit of the moment.
 */
static void
provide_stack(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
	    limit.rlim_cur >= STACK_BYTES)
		return;
	limit.rlim_cur = STACK_BYTES;
	if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < STACK_BYTES)
		limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_STACK, &limit);
}

struct amqp_conn *
amqp_conn_new(struct loop *loop, const struct amqp_conn_options *options,
    const struct amqp_conn_owner *owner, void *arg)
{
	struct amqp_conn *conn = xcalloc(1, sizeof(*conn));

	assert(options->uri_count > 0);
	provide_stack();
	conn->loop = loop;
	conn->options = *options;
	if (conn->options.heartbeat_s <= 0)
		conn->options.heartbeat_s = HEARTBEAT_S;
	if (conn->options.connect_timeout_ms <= 0)
		conn->options.connect_timeout_ms = CONNECT_TIMEOUT_MS;
	if (conn->options.rpc_timeout_ms <= 0)
		conn->options.rpc_timeout_ms = RPC_TIMEOUT_MS;
	conn->owner = owner;
	conn->arg = arg;
	conn->fd = -1;
	conn->host = (size_t)random_below((int64_t)options->uri_count);
	backoff_init(&conn->quick, BACKOFF_FIRST_MS, BACKOFF_MOST_MS);
	backoff_init(&conn->slow, BACKOFF_CONFIGURATION_MS, BACKOFF_MOST_MS);
	loop_timer_init(&conn->retry, loop, conn_dial, conn);
	loop_timer_init(&conn->service, loop, conn_service, conn);
	loop_timer_init(&conn->again, loop, conn_again, conn);
	return conn;
}

void
amqp_conn_free(struct amqp_conn **conn_p)
{
	struct amqp_conn *conn = *conn_p;

	if (conn == NULL)
		return;
	*conn_p = NULL;
	conn->freed = true;
	conn->busy++;
	conn_unbusy(conn);
}

/* Sending. */

bool
amqp_conn_send(struct amqp_conn *conn, unsigned channel, amqp_method_number_t method, void *decoded)
{
	int status;

	if (conn->state != CONN_UP)
		return false;
	status = amqp_send_method(conn->library, (amqp_channel_t)channel, method, decoded);
	if (status == AMQP_STATUS_OK)
		return true;
	amqp_conn_fail_status(conn, status, "send");
	return false;
}

/*
 * 0.11 has a trap: a send that finds nothing received for two heartbeats waits for the next byte
 * for ever (facts row 21). So the kernel is asked how long ago that was; heartbeats come every half
 * interval.
 */
static bool
conn_is_silent(struct amqp_conn *conn)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof(info);
	int unread = 0;

	if (ioctl(conn->fd, FIONREAD, &unread) == 0 && unread > 0)
		return false;
	return getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
	    info.tcpi_last_data_recv > (unsigned)conn->options.heartbeat_s * 1500;
}

static void
conn_ask_buffer(struct amqp_conn *conn)
{
	int buffer_bytes = 0;
	socklen_t size = sizeof(buffer_bytes);

	(void)getsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, &size);
	conn->buffer_bytes = (size_t)buffer_bytes;
}

size_t
amqp_conn_room_most(struct amqp_conn *conn)
{
	if (conn->buffer_bytes == 0)
		conn_ask_buffer(conn);
	return conn->buffer_bytes / 16 * ROOM_MOST_16THS;
}

bool
amqp_conn_room(struct amqp_conn *conn, size_t bytes)
{
	struct pollfd writable = { .fd = conn->fd, .events = POLLOUT };
	struct clock_mono now = clock_mono_now();

	if (conn->state != CONN_UP)
		return false;
	if (conn->room_bytes >= bytes &&
	    clock_ms_between(conn->room_checked, now) < conn->options.heartbeat_s * 250) {
		conn->room_bytes -= bytes;
		return true;
	}
	conn->room_bytes = 0;
	if (poll(&writable, 1, 0) != 1)
		return false;
	if (conn_is_silent(conn)) {
		amqp_conn_fail_status(conn, AMQP_STATUS_HEARTBEAT_TIMEOUT, "send");
		return false;
	}
	conn_ask_buffer(conn);
	if (bytes > amqp_conn_room_most(conn))
		return false;
	conn->room_bytes = conn->buffer_bytes / ROOM_SHARE;
	conn->room_bytes -= bytes < conn->room_bytes ? bytes : conn->room_bytes;
	conn->room_checked = now;
	return true;
}

void
amqp_conn_want_room(struct amqp_conn *conn)
{
	conn->want_room = conn->state == CONN_UP;
	conn_watch_changed(conn);
}

void
amqp_conn_pause(struct amqp_conn *conn, bool paused)
{
	conn->paused = paused;
	conn_watch_changed(conn);
	if (!paused && conn->state == CONN_UP)
		loop_timer_set_ms(&conn->again, 0);
}

/* Blocking: for the end, when the loop has nothing more to say. */

bool
amqp_conn_wait_writable(struct amqp_conn *conn, struct clock_mono deadline)
{
	struct pollfd writable = { .fd = conn->fd, .events = POLLOUT };
	int64_t left_ms = clock_ms_between(clock_mono_now(), deadline);

	return conn->state == CONN_UP && poll(&writable, 1, left_ms > 0 ? (int)left_ms : 0) == 1 &&
	    !conn_is_silent(conn);
}

/* What else comes is read and dropped: 'room for all of it' is not a thing to have at the end. */
bool
amqp_conn_ask(struct amqp_conn *conn, unsigned channel, amqp_method_number_t method, void *decoded,
    amqp_method_number_t answer, struct clock_mono deadline)
{
	amqp_frame_t frame;
	int64_t left_ms;

	if (!amqp_conn_wait_writable(conn, deadline) ||
	    amqp_send_method(conn->library, (amqp_channel_t)channel, method, decoded) !=
	    AMQP_STATUS_OK)
		return false;
	while ((left_ms = clock_ms_between(clock_mono_now(), deadline)) > 0) {
		struct timeval left = { left_ms / 1000, left_ms % 1000 * 1000 };

		if (amqp_simple_wait_frame_noblock(conn->library, &frame, &left) != AMQP_STATUS_OK)
			return false;
		if (frame.frame_type == AMQP_FRAME_METHOD && frame.channel == channel) {
			if (frame.payload.method.id == answer)
				return true;
			if (frame.payload.method.id == AMQP_CHANNEL_CLOSE_METHOD)
				return false;	/* there will be no answer */
		}
		amqp_conn_release(conn, frame.channel);
	}
	return false;
}

void
amqp_conn_close(struct amqp_conn *conn, unsigned channel, struct clock_mono deadline)
{
	amqp_channel_close_t channel_close = { 200, amqp_cstring_bytes("bye"), 0, 0 };
	amqp_connection_close_t connection_close = { 200, amqp_cstring_bytes("bye"), 0, 0 };

	if (amqp_conn_ask(conn, channel, AMQP_CHANNEL_CLOSE_METHOD, &channel_close,
	    AMQP_CHANNEL_CLOSE_OK_METHOD, deadline))
		(void)amqp_conn_ask(conn, 0, AMQP_CONNECTION_CLOSE_METHOD, &connection_close,
		    AMQP_CONNECTION_CLOSE_OK_METHOD, deadline);
}

/* Asking. */

bool
amqp_conn_up(const struct amqp_conn *conn)
{
	return conn->state == CONN_UP;
}

size_t
amqp_conn_frame_max(const struct amqp_conn *conn)
{
	return (size_t)amqp_get_frame_max(conn->library);
}

int
amqp_conn_channel_max(const struct amqp_conn *conn)
{
	return amqp_get_channel_max(conn->library);
}

int
amqp_conn_fd(const struct amqp_conn *conn)
{
	return conn->fd;
}

amqp_connection_state_t
amqp_conn_library(struct amqp_conn *conn)
{
	return conn->library;
}
