/*
 * master_spawn.c - how the master makes processes: runners, and the one that tries a new
 * configuration. Mechanism only.
 *
 * The children come from fork() and keep the configuration that was read. What they do not need of
 * the master is closed first.
 */
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/program.h"
#include "runtime/master_internal.h"
#include "runtime/runner.h"
#include "util/arena.h"
#include "util/fault.h"
#include "util/spawn.h"

/* In the child: signals are as in a new program (spawn_fork), the loop's descriptors must go
 * without being unwatched. */
static void
leave_master(struct master *m)
{
	for (struct child *c = m->children; c != NULL; c = c->next) {
		c->watch = NULL;
		if (c->control_fd >= 0)
			close(c->control_fd);
		c->control_fd = -1;
	}
	loop_free(&m->loop);
}

static struct stats_page *
page_of(const struct child *c)
{
	struct stats_page *page;

	if (c->master->stats == NULL)
		return NULL;
	page = stats_page_take(c->master->stats, STATS_PAGE_QUEUE, c->name);
	if (page == NULL)
		return NULL;
	/* Here, not in the runner: two generations of runners must not take places at once. */
	for (size_t i = 0; i < c->queue->handler_count; i++)
		(void)stats_handler_take(&page->queue, c->queue->handlers[i].name);
	return page;
}

static void
run(struct child *c, int control_fd, struct stats_page *page)
{
	struct master *m = c->master;
	struct stats_page *uncounted = NULL;
	struct runner_options options = {
		.config = m->config, .queue = c->queue, .page = page, .generation = c->generation,
		.control_fd = control_fd, .drain = m->options->drain,
	};
	int code;

	leave_master(m);
	if (page == NULL)
		options.page = uncounted = xcalloc(1, sizeof(*uncounted));
	code = runner_run(&options);
	free(uncounted);
	close(control_fd);
	exit(code);		/* this is the end of a process, as at the end of main() */
}

int
master_spawn_runner(struct child *c)
{
	struct master *m = c->master;
	struct stats_page *page = page_of(c);
	int ends[2];

	if (page == NULL && m->stats != NULL)
		log_warning("the statistics file has no room for queue \"%s\": it is counted when the "
		    "worker was restarted", c->name);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		log_complain(&m->spawn, LOG_LEVEL_ERROR,
		    "could not start the runner of queue \"%s\": socketpair: %m", c->name);
		return -1;
	}
	c->pid = spawn_fork();
	if (c->pid == 0) {
		close(ends[0]);
		run(c, ends[1], page);
	}
	close(ends[1]);
	if (c->pid < 0) {
		log_complain(&m->spawn, LOG_LEVEL_ERROR,
		    "could not start the runner of queue \"%s\": fork: %m", c->name);
		close(ends[0]);
		c->pid = 0;
		return -1;
	}
	log_recovered(&m->spawn, "runners can be started again");
	c->control_fd = ends[0];
	c->started = clock_mono_now();
	(void)fault_hit("master.after_spawn");
	return 0;
}

void
master_close_control(struct child *c)
{
	loop_unwatch(&c->watch);
	if (c->control_fd >= 0)
		close(c->control_fd);
	c->control_fd = -1;
}

static int
check(struct master *m)
{
	struct buf errors = BUF_INIT;
	struct config *config;
	int code = EX_CONFIG;

	log_set_role("check");
	leave_master(m);
	config = master_load(m, &errors);
	if (config == NULL)
		program_log(LOG_LEVEL_ERROR, errors.data);
	else
		code = m->options->check(m->options->arg, config);
	config_free(&config);
	buf_release(&errors);
	return code;
}

pid_t
master_spawn_check(struct master *m)
{
	pid_t pid = spawn_fork();

	if (pid == 0)
		exit(check(m));
	if (pid < 0)
		log_error("could not try the new configuration, the old one is kept: fork: %m");
	return pid < 0 ? 0 : pid;
}
