/*
 * runner_slots.c - the slots' processes: started, watched, killed, reaped, started again.
 *
 * While slots die before they have finished anything, and no message is to blame, new ones of the
 * queue wait longer and longer.
 * A slot that is in a handler for longer than the queue's timeout is killed; one that shows no sign
 * of life elsewhere as well, much later: the database phase is bounded by the server's own
 * timeouts. In the runner; warns of each death, with growing pauses.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/slot_setup.h"
#include "runtime/runner_internal.h"
#include "util/spawn.h"

enum {
	POOL_FIRST_MS = 200, POOL_MOST_MS = 30000,	/* for new slots, after fruitless deaths */
	STUCK_EXTRA_MS = 60000,		/* no sign of life outside a handler: 2 x timeout and this */
	LAST_WORDS_MS = 300,		/* from SIGXCPU to SIGKILL */
	LOOK_AGAIN_MS = 5,		/* the watchdog kills what it saw twice */
	SEND_BUFFER = 1 << 20
};

static const char *const state_text[] = {
	[SLOT_DOWN] = "down", [SLOT_STARTING] = "starting", [SLOT_READY] = "ready",
	[SLOT_WAITING] = "waiting", [SLOT_STOPPING] = "stopping", [SLOT_KILLED] = "killed",
};

static void start(void *slot);
static void look(void *slot);

void
runner_slot_set_state(struct runner_slot *s, enum slot_state state)
{
	struct runner *r = s->runner;
	unsigned ready = r->slots_ready - (s->state == SLOT_READY) + (state == SLOT_READY);
	bool changed = (ready == 0) != (r->slots_ready == 0);

	if (s->state == state)
		return;
	log_debug("slot %u: %s, was %s", s->index, state_text[state], state_text[s->state]);
	s->state = state;
	r->slots_ready = ready;
	if (changed)
		runner_slots_changed(r);
}

/* ---- start ---- */

/* Sealed: a slot that shrinks it would kill who looks at it. */
static int
make_desk(struct desk **desk)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int fd = memfd_create("pawl-desk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *map;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, sizeof(**desk)) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0) {
		map = mmap(NULL, sizeof(**desk), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map != MAP_FAILED) {
			*desk = map;
			return fd;
		}
	}
	close(fd);
	return -1;
}

static pid_t
launch(struct runner_slot *s, int socket_fd, int desk_fd, const char **step)
{
	const struct runner *r = s->runner;
	const struct spawn_fd fds[] = {
		{ socket_fd, FRAME_SOCKET_FD }, { desk_fd, FRAME_DESK_FD },
	};
	const char *const argv[] = { "pawl-slot", r->queue->name, NULL };
	struct spawn_options options = {
		.path = r->slot_program, .argv = argv, .fds = fds, .fd_count = ARRAY_SIZE(fds),
		.memory_limit_bytes = r->queue->memory_limit_bytes,
		.without = r->config->broker_variables,
	};

	return spawn_exec(&options, step);
}

static void
put_setup(struct runner_slot *s)
{
	struct runner *r = s->runner;
	struct slot_setup_options options = {
		.host = r->host, .log_level = r->config->log_level,
		.log_format = r->config->log_format, .slot = s->index,
	};
	struct frame_header head = { .type = FRAME_SETUP, .magic = FRAME_MAGIC };

	buf_clear(&s->out);
	buf_append(&s->out, &head, sizeof(head));
	slot_setup_put(&s->out, r->queue, &options);
	head.size = (uint32_t)(s->out.len - sizeof(head));
	memcpy(s->out.data, &head, sizeof(head));
}

static void
set_serialize(struct runner_slot *s)
{
	atomic_store_explicit(&s->desk->serialize_until_ns, s->runner->serialize_until.ns,
	    memory_order_relaxed);
}

static void
again_later(struct runner_slot *s, int64_t ms)
{
	if (s->runner->state != RUNNER_STATE_DRAINING && s->runner->state != RUNNER_STATE_CLOSING)
		loop_timer_set_ms(&s->pause, ms);
}

static void
start(void *arg)
{
	struct runner_slot *s = arg;
	struct runner *r = s->runner;
	int64_t wait_ms = clock_ms_between(loop_now(r->loop), r->pool_not_before);
	int ends[2] = { -1, -1 }, desk_fd = -1, size = SEND_BUFFER;
	const char *step = "socketpair";

	if (s->state != SLOT_DOWN)
		return;			/* a slot's pause is over: the round's end dispatches */
	if (wait_ms > 0) {
		again_later(s, wait_ms);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		goto failed;
	step = "make a desk";
	desk_fd = make_desk(&s->desk);
	if (desk_fd < 0)
		goto failed;
	s->pid = launch(s, ends[1], desk_fd, &step);
	if (s->pid < 0)
		goto failed;
	log_recovered(&r->slot_spawn, "slots can be started again");
	close(desk_fd);
	close(ends[1]);
	s->fd = ends[0];
	fcntl(s->fd, F_SETFL, O_NONBLOCK);
	/* As much as the kernel likes to give. */
	setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	set_serialize(s);
	s->finished = s->refused = s->hostile = s->hung_up = false;
	s->messages = 0;
	s->fruitless = 0;
	s->watch = loop_watch(r->loop, s->fd, LOOP_READ, runner_slot_event, s);
	put_setup(s);
	runner_slot_set_state(s, SLOT_STARTING);
	runner_slot_watch(s);
	runner_slot_write(s);
	return;
failed:
	log_complain(&r->slot_spawn, LOG_LEVEL_ERROR, "could not start %s: %s: %m",
	    r->slot_program, step);
	if (s->desk != NULL)
		munmap(s->desk, sizeof(*s->desk));
	s->desk = NULL;
	s->pid = 0;
	if (desk_fd >= 0)
		close(desk_fd);
	if (ends[0] >= 0)
		close(ends[0]);
	if (ends[1] >= 0)
		close(ends[1]);
	r->pool_not_before = clock_mono_after_ms(clock_mono_now(), backoff_next_ms(&r->pool));
	again_later(s, clock_ms_between(clock_mono_now(), r->pool_not_before));
}

void
runner_slots_start(struct runner *r)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	backoff_init(&r->pool, POOL_FIRST_MS, POOL_MOST_MS);
	r->slot_count = r->queue->slots;
	r->slots = arena_array(&r->arena, r->slot_count, sizeof(*r->slots));
	for (unsigned i = 0; i < r->slot_count; i++) {
		struct runner_slot *s = &r->slots[i];

		s->runner = r;
		s->index = i;
		s->fd = -1;
		buf_init(&s->in);
		buf_init(&s->out);
		loop_timer_init(&s->pause, r->loop, start, s);
		loop_timer_init(&s->watchdog, r->loop, look, s);
		for (unsigned k = 0; k < RUNNER_SLOT_BATCHES; k++) {
			struct batch *b = arena_zalloc(&r->arena, sizeof(*b));

			b->members = arena_array(&r->arena, r->queue->batch, sizeof(*b->members));
			s->batches[k] = b;
		}
	}
	/* Only now: starting one looks at all. */
	for (unsigned i = 0; i < r->slot_count; i++)
		start(&r->slots[i]);
}

void
runner_slots_serialize(struct runner *r)
{
	r->serialize_until = clock_mono_after_ms(loop_now(r->loop), RUNNER_SERIALIZE_MS);
	for (unsigned i = 0; i < r->slot_count; i++) {
		if (r->slots[i].desk != NULL)
			set_serialize(&r->slots[i]);
	}
}

/* ---- watch ---- */

static struct desk_view
view_desk(const struct runner_slot *s)
{
	return (struct desk_view){
		.phase = atomic_load_explicit(&s->desk->phase, memory_order_acquire),
		.index = atomic_load_explicit(&s->desk->index, memory_order_relaxed),
		.batch = atomic_load_explicit(&s->desk->batch, memory_order_relaxed),
		.since_ns = atomic_load_explicit(&s->desk->since_ns, memory_order_relaxed),
	};
}

static bool
same_view(const struct desk_view *a, const struct desk_view *b)
{
	return a->phase == b->phase && a->index == b->index && a->batch == b->batch &&
	    a->since_ns == b->since_ns;
}

void
runner_slot_watch(struct runner_slot *s)
{
	s->seen_since = loop_now(s->runner->loop);
	if (s->hung_up || s->state == SLOT_KILLED)	/* the watchdog has to end it */
		return;
	if (s->flying == 0 && s->state != SLOT_STARTING)
		loop_timer_stop(&s->watchdog);
	else if (!loop_timer_running(&s->watchdog))
		loop_timer_set_ms(&s->watchdog, s->runner->queue->timeout_ms);
}

/* Since when the desk shows this: what it says itself, if that can be; else since we saw it. */
static struct clock_mono
shown_since(const struct runner_slot *s, const struct desk_view *view, struct clock_mono now)
{
	bool possible = s->flying > 0 && view->since_ns <= now.ns &&
	    view->since_ns >= s->batches[0]->given.ns;

	return possible ? (struct clock_mono){ view->since_ns } : s->seen_since;
}

/*
 * The desk is read without a lock: what looks overdue is killed when it looks exactly the same a
 * little later. Nothing that it says keeps messages for ever: a handler has its timeout; everything
 * else that does not change, with a batch in the slot, is stuck.
 */
static void
look(void *arg)
{
	struct runner_slot *s = arg;
	int64_t timeout_ms = s->runner->queue->timeout_ms, left_ms;
	struct clock_mono now = loop_now(s->runner->loop);
	struct desk_view view;
	bool twice;

	if (s->desk == NULL)
		return;
	if (s->state == SLOT_KILLED) {
		if (s->pid > 0)
			kill(s->pid, SIGKILL);
		return;
	}
	if (s->hung_up) {
		runner_slot_kill(s, STATS_DEATH_PROTOCOL, "it closed its socket and lives on");
		return;
	}
	if (s->state == SLOT_STOPPING) {
		runner_slot_kill(s, STATS_DEATH_EXIT, "it was told to end and did not");
		return;
	}
	if (s->flying == 0 && s->state != SLOT_STARTING)
		return;
	view = view_desk(s);
	twice = same_view(&view, &s->seen);
	if (!twice) {
		s->seen = view;
		s->seen_since = now;
	}
	if (view.phase == DESK_HANDLING) {
		left_ms = timeout_ms - clock_ms_between(shown_since(s, &view, now), now);
	} else if (view.phase == DESK_WAITING && s->flying == 0) {
		left_ms = timeout_ms;	/* for its database, as long as it takes */
	} else {
		left_ms = 2 * timeout_ms + STUCK_EXTRA_MS - clock_ms_between(s->seen_since, now);
	}
	if (left_ms > 0) {
		loop_timer_set_ms(&s->watchdog, left_ms < timeout_ms ? left_ms : timeout_ms);
	} else if (!twice) {
		loop_timer_set_ms(&s->watchdog, LOOK_AGAIN_MS);
	} else if (s->state == SLOT_WAITING) {
		runner_slot_kill(s, STATS_DEATH_EXIT,
		    "it waits for the database and has messages that others could have");
	} else {
		s->killed_at = view;
		runner_slot_kill(s, STATS_DEATH_TIMEOUT, view.phase == DESK_HANDLING ?
		    "a handler did not return within %" PRId64 " ms" :
		    "no sign of life outside a handler, with a timeout of %" PRId64 " ms",
		    timeout_ms);
	}
}

/* ---- end ---- */

void
runner_slot_kill(struct runner_slot *s, enum stats_slot_death why, const char *fmt, ...)
{
	char reason[256];
	va_list args;

	if (why == STATS_DEATH_PROTOCOL)
		s->hostile = true;
	if (s->state == SLOT_DOWN || s->state == SLOT_KILLED)
		return;
	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	log_complain(&s->runner->slot_kill, LOG_LEVEL_WARNING, "slot %u is killed: %s",
	    s->index, reason);
	s->killed_for = why;
	loop_timer_stop(&s->watchdog);
	runner_slot_set_state(s, SLOT_KILLED);
	if (s->pid <= 0)		/* reaped, and its last words were hostile */
		return;
	kill(s->pid, why == STATS_DEATH_TIMEOUT ? SIGXCPU : SIGKILL);
	if (why == STATS_DEATH_TIMEOUT)
		loop_timer_set_ms(&s->watchdog, LAST_WORDS_MS);
}

static void
close_slot(struct runner_slot *s)
{
	loop_unwatch(&s->watch);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	if (s->desk != NULL)
		munmap(s->desk, sizeof(*s->desk));
	s->desk = NULL;
	s->pid = 0;
	buf_clear(&s->in);
	buf_clear(&s->out);
	loop_timer_stop(&s->watchdog);
}

/* A death that a message is charged with says nothing about the next slot, and crash_attempts
 * bounds how many there are: the delay does not grow. */
static void
throttle(struct runner *r, bool charged)
{
	struct clock_mono now = clock_mono_now();

	if (r->pool_not_before.ns <= now.ns)	/* deaths at the same time count once */
		r->pool_not_before = clock_mono_after_ms(now,
		    charged ? POOL_FIRST_MS : backoff_next_ms(&r->pool));
}

static enum slot_end
end_of(const struct runner_slot *s, enum slot_state was, const struct desk_view *view)
{
	if (s->hostile)
		return SLOT_END_HOSTILE;
	if (was == SLOT_KILLED && s->killed_for == STATS_DEATH_EXIT)
		return SLOT_END_BLAMELESS;
	if (was == SLOT_KILLED && s->killed_for == STATS_DEATH_TIMEOUT)	/* else it went on, late */
		return same_view(view, &s->killed_at) ? SLOT_END_TIMEOUT : SLOT_END_BLAMELESS;
	return was == SLOT_WAITING ? SLOT_END_BLAMELESS : SLOT_END_CRASH;
}

static void
reaped(struct runner_slot *s, int status)
{
	struct runner *r = s->runner;
	enum slot_state was = s->state;
	bool orderly = was == SLOT_STOPPING || r->state == RUNNER_STATE_CLOSING;
	enum stats_slot_death why = WIFSIGNALED(status) ? STATS_DEATH_CRASH : STATS_DEATH_EXIT;
	int pid = (int)s->pid;
	struct slot_death death;
	bool charged;

	spawn_status_text(status, death.how, sizeof(death.how));
	s->pid = 0;
	runner_slot_drain(s);
	death.view = view_desk(s);
	death.end = end_of(s, was, &death.view);
	(void)desk_report(s->desk, death.report, sizeof(death.report));
	if (was == SLOT_KILLED)
		why = s->killed_for;
	if (s->hostile)
		why = STATS_DEATH_PROTOCOL;
	runner_slot_set_state(s, SLOT_DOWN);
	if (!orderly) {
		stats_add(&r->stats->slot_deaths[why], 1);
		if (!s->refused && was != SLOT_KILLED)
			log_complain(&r->slot_death, LOG_LEVEL_WARNING, "slot %u (pid %d) %s%s%s%s",
			    s->index, pid, death.how,
			    s->finished ? "" : " before it had finished anything",
			    death.report[0] == '\0' ? "" : ": ", death.report);
	}
	close_slot(s);
	charged = runner_slot_lost(s, &death);
	if (!orderly && !s->finished)
		throttle(r, charged);
	again_later(s, 0);
}

static bool
is_slot(const struct runner *r, pid_t pid)
{
	for (unsigned i = 0; i < r->slot_count; i++) {
		if (r->slots[i].pid == pid)
			return true;
	}
	return false;
}

/*
 * What a dead slot's handlers have left running is ours now (PR_SET_CHILD_SUBREAPER), and ends: it
 * may hold the database's socket. What that has started comes next, with the signal of its death. A
 * kernel without this file keeps them.
 */
static void
end_orphans(struct runner *r)
{
	FILE *children = fopen("/proc/thread-self/children", "re");
	long pid;

	if (children == NULL)
		return;
	while (fscanf(children, "%ld", &pid) == 1) {
		if (pid <= 0 || is_slot(r, (pid_t)pid))
			continue;
		if (waitpid((pid_t)pid, NULL, WNOHANG) == 0) {
			log_complain(&r->orphan, LOG_LEVEL_WARNING, "process %ld, left behind by a "
			    "handler of a slot that has ended, is killed", pid);
			kill((pid_t)pid, SIGKILL);
		}
	}
	(void)fclose(children);
}

void
runner_slots_reap(struct runner *r)
{
	for (unsigned i = 0; i < r->slot_count; i++) {
		struct runner_slot *s = &r->slots[i];
		int status;

		if (s->pid > 0 && waitpid(s->pid, &status, WNOHANG) == s->pid)
			reaped(s, status);
	}
	end_orphans(r);
}

static void
send_shutdown(struct runner_slot *s)
{
	const struct frame_header head = { .type = FRAME_SHUTDOWN, .magic = FRAME_MAGIC };

	buf_append(&s->out, &head, sizeof(head));
	runner_slot_set_state(s, SLOT_STOPPING);
	runner_slot_write(s);
}

void
runner_slot_stop(struct runner_slot *s)
{
	send_shutdown(s);
	loop_timer_set_ms(&s->watchdog, s->runner->queue->timeout_ms);
}

void
runner_slots_stop(struct runner *r)
{
	for (unsigned i = 0; i < r->slot_count; i++) {
		struct runner_slot *s = &r->slots[i];

		loop_timer_stop(&s->pause);
		if (s->state != SLOT_DOWN && s->state != SLOT_KILLED && s->state != SLOT_STOPPING)
			send_shutdown(s);
	}
}

void
runner_slots_kill(struct runner *r)
{
	for (unsigned i = 0; i < r->slot_count; i++) {
		struct runner_slot *s = &r->slots[i];

		loop_timer_stop(&s->pause);
		if (s->state == SLOT_DOWN || s->state == SLOT_KILLED)
			continue;
		s->killed_for = STATS_DEATH_EXIT;
		runner_slot_set_state(s, SLOT_KILLED);
		kill(s->pid, SIGKILL);
	}
}

void
runner_slots_kill_waiting(struct runner *r)
{
	for (unsigned i = 0; i < r->slot_count; i++) {
		struct runner_slot *s = &r->slots[i];

		if (s->state == SLOT_WAITING && s->flying > 0)
			runner_slot_kill(s, STATS_DEATH_EXIT,
			    "it waits for the database and has messages that shall be given back");
	}
}

bool
runner_slots_gone(const struct runner *r)
{
	for (unsigned i = 0; i < r->slot_count; i++) {
		if (r->slots[i].pid > 0)
			return false;
	}
	return true;
}

void
runner_slots_release(struct runner *r)
{
	for (unsigned i = 0; i < r->slot_count; i++) {
		close_slot(&r->slots[i]);
		buf_release(&r->slots[i].in);
		buf_release(&r->slots[i].out);
	}
}
