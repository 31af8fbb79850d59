/*
 * amqp_conn_internal.h - what the amqp_*.c files share: the only header of ours that shows
 * rabbitmq-c.
 *
 * An amqp_conn has one owner, a consumer or a publisher. The owner's functions are called on the
 * loop's thread, but for setup(), which runs in the dial thread and sees nothing but what prepare()
 * made for it.
 */
#ifndef PAWL_UTIL_AMQP_CONN_INTERNAL_H
#define PAWL_UTIL_AMQP_CONN_INTERNAL_H
#include "config.h"
#include <stdbool.h>
#ifdef HAVE_RABBITMQ_C_AMQP_H
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif
#include "util/amqp_conn.h"
#include "util/arena.h"
#include "util/buf.h"

enum {
	AMQP_FRAME_OVERHEAD = 8,		/* type, channel, size; end mark */
	/* Class, weight and body size in front of the properties */
	AMQP_CONTENT_OVERHEAD = 12,
	/* What the broker takes by default, at most (facts row 56) */
	AMQP_BODY_MAX = 128 * 1024 * 1024,
	AMQP_BODY_RECEIVE_MAX = 512 * 1024 * 1024	/* what it can be set to */
};

/* amqp_table.c */
static inline struct slice
slice_of_bytes(amqp_bytes_t b)
{
	return (struct slice){ b.bytes, b.len };
}
/* rabbitmq-c does not write to it, its type just is not const */
amqp_bytes_t amqp_bytes_of(struct slice);
/* Our headers as rabbitmq-c's. The texts are borrowed. */
/* entries has room for amqp_table_room(): behind the first 'count' is what is nested in them. */
size_t	amqp_table_room(const struct amqp_header *, size_t count);
void	amqp_table_entries(const struct amqp_header *, size_t count, amqp_table_entry_t *entries);
size_t	amqp_header_encoded_size(const struct amqp_header *) ATTR_NONNULL;

/* amqp_message.c: messages on their way out, checked so that nothing can fail behind the first
 * frame (facts row 28). */
struct amqp_outgoing {			/* the memory is used again for each message */
	amqp_basic_properties_t properties;
	size_t encoded_bytes;		/* of the properties */
	amqp_table_entry_t *entries;	/* behind properties.headers */
	size_t entry_cap;
	amqp_pool_t pool;		/* what a copy's properties point to */
	struct buf scratch;
};
void	amqp_outgoing_init(struct amqp_outgoing *) ATTR_NONNULL;
void	amqp_outgoing_release(struct amqp_outgoing *) ATTR_NONNULL;
struct amqp_message;
struct amqp_copy;
/* 0, or -1: it can never be sent, the error says why. Texts are borrowed until it is sent. */
int	amqp_outgoing_message(struct amqp_outgoing *, const struct amqp_message *,
    size_t frame_max, char *error, size_t error_size);
int	amqp_outgoing_copy(struct amqp_outgoing *, const struct amqp_copy *, size_t frame_max,
    char *error, size_t error_size);

/* amqp_error.c. Texts: "could not <what> at host:port: reason". */
struct amqp_target { const char *host; int port; const char *user; };	/* for texts */
void	amqp_error_set(struct amqp_error *, int code, const char *fmt, ...) ATTR_PRINTF(3, 4);
void	amqp_error_channel(struct amqp_error *, const char *host, int port,
    const amqp_channel_close_t *) ATTR_NONNULL;
bool	amqp_code_is_configuration(int code);		/* trying again soon cannot cure it */
/* From a call that waited for its answer. */
void	amqp_error_reply(struct amqp_error *, const struct amqp_target *, amqp_rpc_reply_t,
    const char *what_fmt, ...) ATTR_PRINTF(4, 5);
/* Those that a queue should have: numbers, booleans, texts. */
void	amqp_error_add_arguments(struct amqp_error *, const struct amqp_header *, size_t count);

/* amqp_dial.c */
/* Blocking set-up after the login, in the dial thread: 0, or -1 with the error set. */
typedef int amqp_setup_fn(void *prepared, amqp_connection_state_t, const struct amqp_target *,
    struct amqp_error *);
struct amqp_dial;
struct amqp_dial *amqp_dial_new(const struct amqp_conn_options *, const struct amqp_uri *);
/* For what setup will see; before the start only */
struct arena *amqp_dial_arena(struct amqp_dial *) ATTR_NONNULL;
void	amqp_dial_start(struct amqp_dial *, amqp_setup_fn *, void *prepared);
/* Readable when it has come to an end */
int	amqp_dial_fd(const struct amqp_dial *) ATTR_NONNULL;
/* Its result: the connection, and *fd, a descriptor of its socket that is the caller's to close;
 * or NULL and the error. */
amqp_connection_state_t amqp_dial_finish(struct amqp_dial **, int *fd, struct amqp_error *);
/* Waits 0.2 s at most; the thread cleans up after itself */
void	amqp_dial_give_up(struct amqp_dial **);

/* amqp_conn.c */
struct amqp_conn_owner {
	void *(*prepare)(void *arg, struct arena *);	/* NULL: no set-up */
	amqp_setup_fn *setup;
	void (*up)(void *arg);
	/* A frame of a channel other than 0. The owner releases the channel's buffers when it
	 * has read what it needs. */
	void (*frame)(void *arg, const amqp_frame_t *);
	void (*blocked)(void *arg, bool, struct slice reason);	/* NULL: not interested */
	/* A frame cannot be decoded: the connection is lost for reading, but amqp_conn_leave()
	 * may have a last word. NULL: nothing to say. */
	void (*unreadable)(void *arg);
	void (*writable)(void *arg);				/* after amqp_conn_want_room() */
	void (*down)(void *arg, const struct amqp_error *);	/* lost, or not reached */
	/* After amqp_conn_free: nothing will be called again; the owner frees itself */
	void (*gone)(void *arg);
};

struct amqp_conn;
/* Stopped */
struct amqp_conn *amqp_conn_new(struct loop *, const struct amqp_conn_options *,
    const struct amqp_conn_owner *, void *arg);
/* Closes the socket at once. gone() follows: before this returns, or, inside one of the owner's
 * functions, when that has returned. */
void	amqp_conn_free(struct amqp_conn **);
/* Dials, and again after each loss; no-op when it does already */
void	amqp_conn_start(struct amqp_conn *) ATTR_NONNULL;
/* No more dialling; a connection that is up stays */
void	amqp_conn_stop(struct amqp_conn *) ATTR_NONNULL;
bool	amqp_conn_up(const struct amqp_conn *) ATTR_NONNULL;
size_t	amqp_conn_frame_max(const struct amqp_conn *) ATTR_NONNULL;
int	amqp_conn_channel_max(const struct amqp_conn *) ATTR_NONNULL;
int	amqp_conn_fd(const struct amqp_conn *) ATTR_NONNULL;
amqp_connection_state_t amqp_conn_library(struct amqp_conn *) ATTR_NONNULL;	/* only while up */
/* Gives the connection up. down() follows from the loop, never from inside this call. 'code' is
 * the broker's, or 0. */
void	amqp_conn_fail(struct amqp_conn *, int code, const char *fmt, ...) ATTR_PRINTF(3, 4);
void	amqp_conn_channel_error(const struct amqp_conn *, const amqp_channel_close_t *,
    struct amqp_error *) ATTR_NONNULL;
void	amqp_conn_fail_channel(struct amqp_conn *, const amqp_channel_close_t *) ATTR_NONNULL;
/* As amqp_conn_fail, but the broker is asked to close and its answer awaited for half a second:
 * what was sent before is then done. Nothing more is decoded. 'rejected' goes into the error. */
void	amqp_conn_leave(struct amqp_conn *, bool rejected, const char *fmt, ...) ATTR_PRINTF(3, 4);
void	amqp_conn_fail_status(struct amqp_conn *, int library_status,
    const char *what) ATTR_NONNULL;
/* The broker broke the protocol */
void	amqp_conn_unexpected(struct amqp_conn *, const amqp_frame_t *) ATTR_NONNULL;
/* Sends a method; a failure is a failed connection, and false. */
bool	amqp_conn_send(struct amqp_conn *, unsigned channel, amqp_method_number_t,
    void *decoded) ATTR_NONNULL;
/* May so many bytes be sent without waiting for the broker to read (facts rows 20, 21)? false:
 * not now; amqp_conn_want_room() tells when. Never for more than amqp_conn_room_most(). */
bool	amqp_conn_room(struct amqp_conn *, size_t) ATTR_NONNULL;
size_t	amqp_conn_room_most(struct amqp_conn *) ATTR_NONNULL;
void	amqp_conn_want_room(struct amqp_conn *) ATTR_NONNULL;
/* What its frames pointed to */
void	amqp_conn_release(struct amqp_conn *, unsigned channel) ATTR_NONNULL;
/* Reads nothing; heartbeats go on */
void	amqp_conn_pause(struct amqp_conn *, bool) ATTR_NONNULL;
/* Blocking, for an orderly end: what comes meanwhile is read and dropped. */
bool	amqp_conn_wait_writable(struct amqp_conn *, struct clock_mono deadline) ATTR_NONNULL;
/* Sends a method and waits for its answer; false: there is none in time, or never will be. */
bool	amqp_conn_ask(struct amqp_conn *, unsigned channel, amqp_method_number_t, void *decoded,
    amqp_method_number_t answer, struct clock_mono deadline) ATTR_NONNULL;
void	amqp_conn_close(struct amqp_conn *, unsigned channel,
    struct clock_mono deadline) ATTR_NONNULL;
#endif
