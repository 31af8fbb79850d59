/*
 * master.c - see master.h: when runners are started, started again, told to retire, stopped and
 * killed.
 *
 * Warns of every runner that dies. Dies itself only of lack of memory or descriptors, at start or
 * reload; its runners die with it.
 */
#include "runtime/master.h"

#include <assert.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "runtime/master_internal.h"
#include "runtime/runner.h"
#include "util/notify.h"
#include "util/spawn.h"

enum {
	RESTART_FIRST_MS = 100, RESTART_MOST_MS = 30000,
	STEADY_MS = 60000,		/* who lived for so long is started again at once */
	KILL_EXTRA_MS = 5000,		/* after shutdown_timeout, or after a second request */
	SPARE_PAGES = 32		/* for queues that a reload adds */
};

static const char *const state_text[] = {
	[CHILD_RESTARTING] = "restarting", [CHILD_STARTING] = "starting",
	[CHILD_CONSUMING] = "consuming", [CHILD_RETIRING] = "retiring",
	[CHILD_STOPPING] = "stopping",
};

static void
set_state(struct child *c, enum child_state state)
{
	if (c->state == state)
		return;
	log_debug("runner of queue \"%s\" (pid %d, generation %u): %s, was %s", c->name,
	    (int)c->pid, c->generation, state_text[state], state_text[c->state]);
	c->state = state;
	master_tell_systemd(c->master, "");
}

void
master_tell_systemd(const struct master *m, const char *first)
{
	unsigned queues = 0, consuming = 0;

	for (const struct child *c = m->children; c != NULL; c = c->next) {
		queues += c->queue != NULL;
		consuming += c->state == CHILD_CONSUMING;
	}
	notify_systemd("%sSTATUS=%u queues, %u consuming", first, queues, consuming);
}

/* ---- one runner ---- */

static bool
tell(struct child *c, enum runner_byte byte)
{
	char data = (char)byte;

	return send(c->control_fd, &data, 1, MSG_NOSIGNAL) == 1;
}

static void
retire_older(struct child *successor)
{
	for (struct child *c = successor->master->children; c != successor; c = c->next) {
		if (strcmp(c->name, successor->name) != 0 ||
		    (c->state != CHILD_STARTING && c->state != CHILD_CONSUMING))
			continue;
		if (tell(c, RUNNER_RETIRE))
			set_state(c, CHILD_RETIRING);
		else
			master_stop_child(c);	/* it does not listen */
	}
}

static void
on_control(void *arg, unsigned events)
{
	struct child *c = arg;
	char bytes[64];
	ssize_t n = recv(c->control_fd, bytes, sizeof(bytes), 0);

	(void)events;
	if (n == 0)
		loop_unwatch(&c->watch);	/* it ends: SIGCHLD follows */
	if (n <= 0 || (c->state != CHILD_STARTING && c->state != CHILD_CONSUMING))
		return;
	set_state(c, bytes[n - 1] == RUNNER_CONSUMING ? CHILD_CONSUMING : CHILD_STARTING);
	if (c->state == CHILD_CONSUMING)
		retire_older(c);
}

static void
start(void *arg)
{
	struct child *c = arg;

	if (master_spawn_runner(c) < 0) {
		loop_timer_set_ms(&c->restart, backoff_next_ms(&c->delays));
		return;
	}
	c->watch = loop_watch(c->master->loop, c->control_fd, LOOP_READ, on_control, c);
	set_state(c, CHILD_STARTING);
}

struct child *
master_add(struct master *m, const struct config_queue *queue)
{
	struct child *c = xcalloc(1, sizeof(*c)), **end = &m->children;

	c->master = m;
	c->name = xstrdup(queue->name);
	c->queue = queue;
	c->shutdown_timeout_ms = queue->shutdown_timeout_ms;
	c->generation = m->generation;
	c->control_fd = -1;
	backoff_init(&c->delays, RESTART_FIRST_MS, RESTART_MOST_MS);
	loop_timer_init(&c->restart, m->loop, start, c);
	while (*end != NULL)
		end = &(*end)->next;
	*end = c;
	start(c);
	return c;
}

void
master_remove(struct child **cp)
{
	struct child *c = *cp, **at = &c->master->children;

	assert(c->pid == 0);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	*cp = NULL;
	master_close_control(c);
	loop_timer_stop(&c->restart);
	free(c->name);
	free(c);
}

void
master_stop_child(struct child *c)
{
	set_state(c, CHILD_STOPPING);
	kill(c->pid, SIGTERM);
}

/* Its older ones serve the queue no longer: they were told to end when it consumed. */
static void
restart(struct child *c, const char *how)
{
	int64_t ms;

	if (clock_ms_between(c->started, clock_mono_now()) >= STEADY_MS)
		backoff_reset(&c->delays);
	ms = backoff_next_ms(&c->delays);
	log_warning("the runner of queue \"%s\" %s, it is started again in %lld ms", c->name, how,
	    (long long)ms);
	c->generation = c->master->generation;
	set_state(c, CHILD_RESTARTING);
	loop_timer_set_ms(&c->restart, ms);
}

static void
child_ended(struct child *c, int status)
{
	struct master *m = c->master;
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0, drained;
	char how[64];

	spawn_status_text(status, how, sizeof(how));
	drained = good && m->options->drain && c->queue != NULL;
	c->pid = 0;
	master_close_control(c);
	if (!m->stopping && !drained && c->queue != NULL && c->state != CHILD_STOPPING) {
		restart(c, how);
		return;
	}
	if (!good && !m->killing)
		log_warning("the runner of queue \"%s\" %s", c->name, how);
	master_remove(&c);
	master_tell_systemd(m, "");
	if (m->children == NULL && (m->stopping || m->options->drain))
		loop_stop(m->loop);
}

static void
reap(struct master *m)
{
	struct child *c;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == m->checker) {
			master_checked(m, status);
			continue;
		}
		for (c = m->children; c != NULL && c->pid != pid; c = c->next)
			;
		if (c != NULL)
			child_ended(c, status);
	}
}

/* ---- all of them ---- */

static void
deadline_passed(void *arg)
{
	struct master *m = arg;

	log_warning("runners did not end in time, they are killed; their messages go back");
	m->killing = true;
	for (struct child *c = m->children; c != NULL; c = c->next) {
		if (c->pid > 0)
			kill(c->pid, SIGKILL);
	}
}

static void
abort_all(struct master *m)
{
	for (struct child *c = m->children; c != NULL; c = c->next) {
		if (c->control_fd >= 0)
			(void)tell(c, RUNNER_ABORT);
	}
	loop_timer_set_ms(&m->deadline, KILL_EXTRA_MS);
}

static void
stop(struct master *m)
{
	int64_t longest_ms = 0;
	struct child *next;

	m->stopping = true;
	log_info("ending: runners give back what they have not started and finish what they have");
	notify_systemd("STOPPING=1");
	for (struct child *c = m->children; c != NULL; c = next) {
		next = c->next;
		if (c->shutdown_timeout_ms > longest_ms)
			longest_ms = c->shutdown_timeout_ms;
		if (c->pid > 0)
			master_stop_child(c);
		else
			master_remove(&c);
	}
	loop_timer_set_ms(&m->deadline, longest_ms + KILL_EXTRA_MS);
	if (m->children == NULL)
		loop_stop(m->loop);
}

static void
on_signal(void *arg, int number)
{
	struct master *m = arg;

	if (number == SIGCHLD) {
		reap(m);
	} else if (number == SIGHUP) {
		master_reload(m);
	} else if (!m->stopping) {
		stop(m);
	} else {
		abort_all(m);
	}
}

static struct stats_file *
make_stats(const struct config *c)
{
	char error[1024];
	struct stats_file *stats;

	if (stats_lock(c->run_dir, "worker", c->name, error, sizeof(error)) != 0)
		log_fatal(EX_CONFIG, "%s", error);
	stats = stats_create(c->run_dir, "worker", c->name,
	    (uint32_t)c->queue_count + SPARE_PAGES, error, sizeof(error));
	if (stats == NULL)
		log_warning("the worker runs without statistics: %s", error);
	return stats;
}

int
master_run(const struct master_options *options, struct config *config)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	struct master m = { .options = options, .config = config, .generation = 1 };

	log_set_role("master");
	spawn_title_set("pawl-worker: master %s", config->name);
	m.stats = make_stats(config);
	m.loop = loop_new();
	loop_signals(m.loop, signals, ARRAY_SIZE(signals), on_signal, &m);
	loop_timer_init(&m.deadline, m.loop, deadline_passed, &m);
	log_info("started with \"%s\": %zu queues", config->file, config->queue_count);
	for (size_t i = 0; i < config->queue_count; i++)
		master_add(&m, &config->queues[i]);
	master_tell_systemd(&m, "READY=1\n");
	loop_run(m.loop);
	if (m.checker != 0)
		kill(m.checker, SIGKILL);
	if (m.stats != NULL)
		atomic_store(&m.stats->closed, 1);
	loop_free(&m.loop);
	config_free(&m.config);
	log_info("ended");
	return EX_OK;
}
