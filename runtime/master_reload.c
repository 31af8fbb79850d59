/*
 * master_reload.c - SIGHUP: a new configuration is tried as a whole before anything changes; then
 * only queues that differ get new runners.
 *
 * The trial runs in a process of its own, because it loads handlers (in slots) and may take its
 * time. In the master.
 */
#include <sys/wait.h>

#include "runtime/master_internal.h"
#include "util/notify.h"
#include "util/spawn.h"

struct config *
master_load(const struct master *m, struct buf *errors)
{
	struct config *config = NULL;

	if (config_load(m->options->file, &config, errors) < 0)
		return NULL;
	m->options->adjust(m->options->arg, config);
	return config;
}

void
master_reload(struct master *m)
{
	if (m->stopping)
		return;
	if (m->checker != 0) {
		m->reload_again = true;
		return;
	}
	log_info("reloading \"%s\"", m->options->file);
	notify_systemd("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(clock_mono_now().ns / 1000));
	m->checker = master_spawn_check(m);
	if (m->checker == 0)
		notify_systemd("READY=1");
}

/* The newest of its name; NULL: there is none that shall go on. */
static struct child *
current(const struct master *m, const char *name)
{
	struct child *found = NULL;

	for (struct child *c = m->children; c != NULL; c = c->next) {
		if (c->queue != NULL && strcmp(c->name, name) == 0)
			found = c;
	}
	return found;
}

/* An old one that consumes goes on until its successor does (master.c); one that does not is of
 * no use. */
static void
supersede(struct child *c)
{
	c->queue = NULL;
	if (c->state == CHILD_RESTARTING)
		master_remove(&c);
	else if (c->state != CHILD_CONSUMING)
		master_stop_child(c);
}

static void
apply(struct master *m, struct config *config)
{
	struct config *old = m->config;
	size_t changed = 0, added = 0, removed = 0;
	struct child *next;

	m->config = config;
	m->generation++;
	for (struct child *c = m->children; c != NULL; c = next) {
		next = c->next;
		if (c->queue == NULL || config_queue_find(config, c->name) != NULL)
			continue;
		log_info("queue \"%s\" is not configured any more, its runner ends", c->name);
		removed++;
		c->queue = NULL;
		if (c->state == CHILD_RESTARTING)
			master_remove(&c);
		else
			master_stop_child(c);
	}
	for (size_t i = 0; i < config->queue_count; i++) {
		const struct config_queue *q = &config->queues[i];
		struct child *c = current(m, q->name);

		if (c != NULL && c->queue->fingerprint == q->fingerprint) {
			c->queue = q;
			continue;
		}
		log_info("queue \"%s\" is %s, it gets a new runner", q->name,
		    c == NULL ? "new" : "changed");
		added += c == NULL;
		changed += c != NULL;
		if (c != NULL)
			supersede(c);
		master_add(m, q);
	}
	if (strcmp(old->name, config->name) != 0 || strcmp(old->run_dir, config->run_dir) != 0)
		log_warning("name and run_dir take effect when the worker is restarted");
	log_info("reloaded: %zu queues, %zu changed, %zu new, %zu removed", config->queue_count,
	    changed, added, removed);
	config_free(&old);
}

void
master_checked(struct master *m, int status)
{
	struct buf errors = BUF_INIT;
	struct config *config = NULL;
	char how[64];

	m->checker = 0;
	if (m->stopping)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		config = master_load(m, &errors);
		if (config == NULL)
			log_error("the new configuration changed while it was tried, "
			    "the old one is kept: %s", errors.data);
		else
			apply(m, config);
	} else {
		log_error("the new configuration is not good, the old one is kept (the trial %s)",
		    spawn_status_text(status, how, sizeof(how)));
	}
	buf_release(&errors);
	master_tell_systemd(m, "READY=1\n");
	if (m->reload_again) {
		m->reload_again = false;
		master_reload(m);
	}
}
