/*
 * slot_client.h - one pawl-slot, started and spoken to by a program that waits for it: `pawlctl check`, `pawl-worker -t`, `pawlctl try`.
 * (A runner has many slots and waits for none: runtime/runner_slot*.)
 *
 * What the slot sends is hostile: a handler runs in it. Frames are as long as they say or they are a violation.
 */
#ifndef PAWL_COMMON_SLOT_CLIENT_H
#define PAWL_COMMON_SLOT_CLIENT_H
#include <sys/types.h>
#include "common/slot_setup.h"
#include "util/clock.h"

struct slot_client {
	pid_t pid;			/* 0: not started, or ended */
	int fd;				/* -1: none */
	struct desk *desk;		/* shared with the slot: a hint; NULL: not started */
	struct buf in;			/* as received; the frame that was given last is at its start */
	size_t given;			/* bytes of that frame */
};
#define SLOT_CLIENT_INIT { 0, -1, NULL, BUF_INIT, 0 }

enum slot_client_status {
	SLOT_CLIENT_FRAME,		/* a whole one was sent or received */
	SLOT_CLIENT_CLOSED,		/* by its end, or by itself */
	SLOT_CLIENT_LATE,		/* nothing whole until the deadline */
	SLOT_CLIENT_BAD			/* what it sent is no frame, or larger than size_max */
};
/* Starts the queue's slot and sends SETUP until the deadline. without: variables of the environment that it does not get (see spawn.h).
 * -1: error says why. That the slot does not read, or is gone, is told by the next read. */
int	slot_client_start(struct slot_client *, const struct config_queue *, const struct slot_setup_options *, const char *const *without,
	    struct clock_mono deadline, char *error, size_t error_size) ATTR_MUST_CHECK;
/* A frame whose header is made here. LATE: part of it may be sent, so this slot can be given no other. */
enum slot_client_status slot_client_send(struct slot_client *, enum frame_type, struct slice payload, struct clock_mono deadline)
	    ATTR_NONNULL;
/* *type and *payload, at a multiple of 8, until the next call. */
enum slot_client_status slot_client_read(struct slot_client *, struct clock_mono deadline, size_t size_max, unsigned *type,
	    struct slice *payload) ATTR_MUST_CHECK ATTR_NONNULL;
/* Waits for its end until the deadline, then kills it. The status of waitpid(). The desk stays readable. */
int	slot_client_end(struct slot_client *, struct clock_mono deadline) ATTR_NONNULL;
void	slot_client_release(struct slot_client *) ATTR_NONNULL;	/* kills what still runs */
#endif
