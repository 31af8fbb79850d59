/*
 * exec_once.c - mode = "once": one command for each message. Its exit status is the verdict, the last line of its stderr the text.
 */
#include <errno.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "handlers/exec/exec.h"

enum { SLICE_MS = 50, NAP_MS = 2, LAST_STEPS = 32 };

/* What it prints on stdout goes to the log as well. */
static void
take_said(struct exec *e, struct exec_noise *noise, struct pawl_call *call)
{
	exec_noise_add(noise, call, e->child.said.data, e->child.said.len);
	buf_clear(&e->child.said);
}

/* Until it has ended. false: that took too long. */
static bool
run(struct exec *e, struct pawl_call *call, struct slice body, struct clock_mono deadline)
{
	struct exec_child *c = &e->child;
	struct exec_noise stdout_noise;
	bool ended = false;

	exec_noise_init(&stdout_noise, "stdout");
	while (!ended) {
		int64_t left_ms = clock_ms_between(clock_mono_now(), deadline);
		int64_t most_ms = c->out < 0 && c->err < 0 ? NAP_MS : SLICE_MS;

		if (left_ms <= 0)
			break;
		if (body.len == 0)
			exec_child_close_stdin(c);
		(void)exec_child_step(c, call, &body, left_ms < most_ms ? left_ms : most_ms);
		take_said(e, &stdout_noise, call);
		ended = exec_child_has_ended(c);
	}
	for (int i = 0; ended && i < LAST_STEPS && (c->out >= 0 || c->err >= 0); i++) {
		(void)exec_child_step(c, call, &body, 0);
		take_said(e, &stdout_noise, call);
	}
	exec_noise_end(&stdout_noise, call);
	return ended;
}

static enum pawl_verdict
judge(struct exec *e, struct pawl_call *call, int status, const char *how)
{
	const char *last = e->child.noise.last;
	const char *text = pawl_format(call, "%s", last[0] == '\0' ? how : last);

	if (WIFSIGNALED(status))
		return pawl_retry(call, "exec_crashed", "the command %s%s%s", how,
		    last[0] == '\0' ? "" : "; it said: ", last);
	switch (WEXITSTATUS(status)) {
	case EX_OK:
		return PAWL_DONE;
	case EX_TEMPFAIL:
		return pawl_retry(call, "exec_retry", "%s", text);
	case EX_DATAERR:
		return pawl_reject(call, "exec_reject", "%s", text);
	default:
		return pawl_retry(call, "exec_failed", "the command %s%s%s", how,
		    last[0] == '\0' ? "" : ": ", last);
	}
}

static enum pawl_verdict
could_not_start(struct exec *e, struct pawl_call *call, const char *step, int error)
{
	if (error == E2BIG)
		return pawl_reject(call, "exec_environment",
		    "the message's headers are too large for environment variables: use mode = "
		    "\"lines\"");
	pawl_log(call, PAWL_ERROR, "could not start \"%s\": could not %s: %s; the message waits",
	    e->settings.command.path, step, strerror(error));
	pawl_again_after(call, 1000);
	return call->host->fail(
	    call, PAWL_SNOOZE, "exec_start", "could not %s: %s", step, strerror(error));
}

enum pawl_verdict
exec_once(struct exec *e, struct pawl_call *call, const struct pawl_message *msg)
{
	int64_t budget_ms = exec_budget_ms(e, msg);
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), budget_ms);
	struct exec_environment environment = { NULL, 0, 0 };
	union {
		char **ours;
		const char *const *borrowed;
	} list;
	const char *step;
	char how[64];
	int status = 0, started, error;

	exec_message_environment(&environment, &e->settings.environment, call, msg);
	list.ours = environment.list;
	started = exec_child_start(&e->child, &e->settings.command, list.borrowed, &step);
	error = errno;
	exec_environment_release(&environment);
	if (started != 0)
		return could_not_start(e, call, step, error);
	if (!run(e, call, (struct slice){ msg->body, msg->body_size }, deadline)) {
		exec_child_end(&e->child, call, 0, NULL, NULL, 0);
		return pawl_retry(call, "exec_timeout",
		    "the command did not end within %lld ms and was killed%s%s",
		    (long long)budget_ms, e->child.noise.last[0] == '\0' ? "" : ": ",
		    e->child.noise.last);
	}
	exec_child_end(&e->child, call, 0, &status, how, sizeof(how));
	return judge(e, call, status, how);
}
