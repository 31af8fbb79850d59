/*
 * exec.c - the handler "exec": see exec.h.
 */
#include "handlers/exec/exec.h"

#include "util/arena.h"

int64_t
exec_budget_ms(const struct exec *e, const struct pawl_message *msg)
{
	int64_t most = msg->timeout_ms - msg->timeout_ms / 10;

	return e->settings.timeout_ms > 0 && e->settings.timeout_ms < most ? e->settings.timeout_ms
									   : most;
}

/* An orderly end: the program reads the end of its stdin. */
static void
stop(void *self)
{
	struct exec *e = self;

	exec_child_close_stdin(&e->child);
	exec_child_end(&e->child, NULL, EXEC_STOP_MS, NULL, NULL, 0);
	exec_child_release(&e->child);
	exec_settings_release(&e->settings);
	buf_release(&e->line);
	free(e);
}

static int
start(const struct pawl_config *cfg, void **self)
{
	struct exec *e = xcalloc(1, sizeof(*e));

	exec_child_init(&e->child);
	buf_init(&e->line);
	if (exec_settings_read(&e->settings, cfg) != 0) {
		stop(e);
		return -1;
	}
	*self = e;
	return pawl_config_kind(cfg, e->settings.external ? PAWL_EXTERNAL : PAWL_EFFECTS);
}

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	struct exec *e = self;

	return e->settings.once ? exec_once(e, call, msg) : exec_lines(e, call, msg);
}

PAWL_HANDLER(.name = "exec", .version = "1.0", .start = start, .handle = handle, .stop = stop);
