/*
 * slot_frames.h - the slot's end of the socket to its runner: one frame in at a time, frames out.
 * Blocking.
 *
 * When the runner is gone the slot has nothing left to do but end (the kernel kills it anyway). A
 * violation ends the process: the runner is of our own build.
 */
#ifndef PAWL_RUNTIME_SLOT_FRAMES_H
#define PAWL_RUNTIME_SLOT_FRAMES_H
#include "common/frame.h"

struct slot_frames {
	int fd;
	struct buf in;		/* payload of the last frame; starts at a multiple of 8 */
	struct buf out;
};

void	slot_frames_init(struct slot_frames *, int fd) ATTR_NONNULL;
void	slot_frames_release(struct slot_frames *) ATTR_NONNULL;
enum { SLOT_RUNNER_GONE = 0 };	/* no enum frame_type */
/* The next frame's type, its payload in frames->in; or SLOT_RUNNER_GONE. */
int	slot_frames_read(struct slot_frames *) ATTR_MUST_CHECK ATTR_NONNULL;
/* begin, append the payload to frames->out, end; any number of frames, then send all. begin returns where the payload starts. That the runner
 * is gone is told by the next read. */
size_t	slot_frames_begin(struct slot_frames *, enum frame_type) ATTR_NONNULL;
void	slot_frames_end(struct slot_frames *, size_t begin) ATTR_NONNULL;
void	slot_frames_send(struct slot_frames *) ATTR_NONNULL;
#endif
