/*
 * exec_lines.c - mode = "lines": one program that lives on, a line for each message and a line for each answer.
 *
 * Whatever the program does wrong while it has a message is charged to that message; a program that cannot be started is nobody's fault,
 * so messages wait. After a mistake there is a new program: nobody knows what the old one would say next.
 */
#include <errno.h>

#include "handlers/exec/exec.h"
#include "handlers/exec/exec_answer.h"

enum {
	SHOWN = 200,			/* bytes of a line in an error */
	RESTART_FIRST_MS = 100, RESTART_MOST_MS = 30000,
	LOOK_MS = 100,			/* of silence, then: does it live? */
	LINE_KEPT = 1 << 20		/* memory for the next message's line */
};
enum said { SAID_LINE, SAID_TOO_LONG, SAID_END, SAID_NOTHING };

/* ---- failures */

/* The first one in a row costs no wait: the program was good until then. */
static void
restart_later(struct exec *e, bool started)
{
	int64_t wait_ms = RESTART_FIRST_MS;

	if (++e->failures == 1 && started)
		wait_ms = 0;
	for (unsigned i = 2; i < e->failures && wait_ms < RESTART_MOST_MS; i++)
		wait_ms *= 2;
	if (wait_ms > RESTART_MOST_MS)
		wait_ms = RESTART_MOST_MS;
	e->not_before = clock_mono_after_ms(clock_mono_now(), wait_ms);
}

/* What is left of so much patience: behind the deadline this slot is killed. */
static int64_t
patience(int64_t most_ms, struct clock_mono deadline)
{
	int64_t left_ms = clock_ms_between(clock_mono_now(), deadline);

	return left_ms < most_ms ? left_ms : most_ms;
}

/* How the program ended, and what it said last. It is gone then. */
static const char *
obituary(struct exec *e, struct pawl_call *call, struct clock_mono deadline)
{
	const char *last = e->child.noise.last;
	char how[64];

	exec_child_end(
	    &e->child, call, patience(EXEC_GRACE_MS, deadline), NULL, how, sizeof(how));
	return pawl_format(call, "%s%s%s",
	    how[0] == '\0' ? "closed its stdout and had to be killed" : how,
	    last[0] == '\0' ? "" : "; it said: ", last);
}

static enum pawl_verdict
wait_for_start(struct exec *e, struct pawl_call *call, const char *why)
{
	int64_t wait_ms = clock_ms_between(clock_mono_now(), e->not_before);

	pawl_again_after(call, wait_ms < RESTART_FIRST_MS ? RESTART_FIRST_MS : wait_ms);
	return call->host->fail(call, PAWL_SNOOZE, "exec_start", "%s", why);
}

static enum pawl_verdict
could_not_start(struct exec *e, struct pawl_call *call, const char *why)
{
	restart_later(e, false);
	pawl_log(call, PAWL_ERROR, "could not start \"%s\": %s; messages wait",
	    e->settings.command.path, why);
	return wait_for_start(e, call, why);
}

/* ---- lines */

/*
 * Sends text, if any, and waits for a line. *line is in the child's memory until said is consumed. Who has ended says no more,
 * even if what it has started holds the pipe.
 */
static enum said
ask(struct exec *e, struct pawl_call *call, struct slice *text, struct clock_mono deadline,
    struct slice *line)
{
	struct exec_child *c = &e->child;
	size_t looked_at = 0;
	bool ended = false;

	for (;;) {
		const char *newline =
		    memchr(c->said.data + looked_at, '\n', c->said.len - looked_at);
		int64_t left_ms;

		if (newline != NULL) {
			*line = (struct slice){ c->said.data, (size_t)(newline - c->said.data) };
			return line->len > e->settings.max_line ? SAID_TOO_LONG : SAID_LINE;
		}
		looked_at = c->said.len;
		if (looked_at > e->settings.max_line)
			return SAID_TOO_LONG;
		if (c->out < 0 || (c->in < 0 && text->len > 0))
			return SAID_END;
		left_ms = clock_ms_between(clock_mono_now(), deadline);
		if (left_ms <= 0)
			return SAID_NOTHING;
		if (left_ms > LOOK_MS)
			left_ms = LOOK_MS;
		if (exec_child_step(c, call, text, ended ? 0 : left_ms))
			continue;
		if (ended)
			return SAID_END;
		ended = exec_child_has_ended(c);
	}
}

static const char *
shown(struct pawl_call *call, const char *data, size_t len)
{
	return exec_noise_shown(call, data, len, SHOWN);
}

/* ---- start */

static bool
greet(struct exec *e, struct pawl_call *call, const struct pawl_message *msg,
    struct clock_mono deadline, const char **why)
{
	struct buf hello = BUF_INIT, program = BUF_INIT, error = BUF_INIT;
	struct slice text, line = { "", 0 };

	*why = NULL;
	buf_printf(&hello, "{\"pawl\":%d,\"queue\":%s,\"kind\":\"%s\",\"max_line\":%zu}\n",
	    EXEC_PROTOCOL, pawl_quote(call, msg->queue),
	    e->settings.external ? "external" : "effects", e->settings.max_line);
	text = (struct slice){ hello.data, hello.len };
	switch (ask(e, call, &text, deadline, &line)) {
	case SAID_LINE:
		if (exec_answer_greeting(line, &program, &error) != 0)
			*why = pawl_format(call,
			    "its first line is not {\"pawl\":%d,\"ready\":true}: %s: %s",
			    EXEC_PROTOCOL, error.data, shown(call, line.data, line.len));
		else if (e->child.said.len > line.len + 1)
			*why = "it said more than one line before it was asked";
		break;
	case SAID_TOO_LONG:
		*why = "its first line is longer than max_line";
		break;
	case SAID_END:
		*why = pawl_format(call, "it %s", obituary(e, call, deadline));
		break;
	case SAID_NOTHING:
		*why = "it did not say that it is ready in time (start_timeout, and the queue's timeout)";
		break;
	}
	if (*why == NULL) {
		pawl_log(call, PAWL_INFO, "started \"%s\" (pid %d)%s%s", e->settings.command.path,
		    (int)e->child.pid, program.len > 0 ? ": " : "", program.data);
		buf_consume(&e->child.said, line.len + 1);
	}
	buf_release(&hello);
	buf_release(&program);
	buf_release(&error);
	return *why == NULL;
}

static bool
start(struct exec *e, struct pawl_call *call, const struct pawl_message *msg,
    struct clock_mono deadline, const char **why)
{
	struct clock_mono own = clock_mono_after_ms(clock_mono_now(), e->settings.start_timeout_ms);
	union {
		char **ours;
		const char *const *borrowed;
	} environment = { e->settings.environment.list };
	const char *step;

	e->number = 0;
	if (exec_child_start(&e->child, &e->settings.command, environment.borrowed, &step) != 0) {
		*why = pawl_format(call, "could not %s: %s", step, strerror(errno));
		return false;
	}
	if (greet(e, call, msg, own.ns < deadline.ns ? own : deadline, why))
		return true;
	exec_child_end(&e->child, call, 0, NULL, NULL, 0);
	return false;
}

/* Between messages the program has nothing to say, and may end. */
static void
look_after(struct exec *e, struct pawl_call *call, struct clock_mono deadline)
{
	struct exec_child *c = &e->child;
	struct slice nothing = { NULL, 0 };

	if (c->pid <= 0)
		return;
	(void)exec_child_step(c, call, &nothing, 0);
	if (c->said.len > 0) {
		pawl_log(call, PAWL_WARNING,
		    "the program (pid %d) said something that was not asked for,"
		    " and is killed (exec_protocol): %s",
		    (int)c->pid, shown(call, c->said.data, c->said.len));
		exec_child_end(c, call, 0, NULL, NULL, 0);
		restart_later(e, true);
	} else if (c->out < 0 || exec_child_has_ended(c)) {
		int pid = (int)c->pid;

		pawl_log(call, PAWL_WARNING, "the program (pid %d), which had nothing to do, %s",
		    pid, obituary(e, call, deadline));
		restart_later(e, true);
	}
}

/* ---- a message */

/* The program did this wrong; it is killed, and the message goes by the queue's policy. */
static enum pawl_verdict
broken(struct exec *e, struct pawl_call *call, const char *code, const char *what, const char *more)
{
	int pid = (int)e->child.pid;

	exec_child_end(&e->child, call, 0, NULL, NULL, 0);
	restart_later(e, true);
	return pawl_retry(call, code, "the program (pid %d) %s%s%s", pid, what,
	    more[0] == '\0' ? "" : ": ", more);
}

static enum pawl_verdict
understand(struct exec *e, struct pawl_call *call, struct clock_mono deadline, struct slice line,
    struct slice unsent)
{
	struct exec_answer answer = { PAWL_DONE, false };
	struct buf error = BUF_INIT;
	const char *more;

	if (e->child.said.len > line.len + 1) {
		more = shown(call, line.data + line.len + 1, e->child.said.len - line.len - 1);
		return broken(e, call, "exec_protocol", "said more than one line", more);
	}
	if (unsent.len > 0)
		return broken(e, call, "exec_protocol", "answered before it had read the message",
		    shown(call, line.data, line.len));
	if (exec_answer_read(line, e->number, call, &answer, &error) != 0) {
		more = pawl_format(call, "%s: %s", error.data, shown(call, line.data, line.len));
		buf_release(&error);
		return broken(e, call, "exec_protocol",
		    "gave an answer that cannot be used (is stdout for answers only?)", more);
	}
	buf_release(&error);
	buf_clear(&e->child.said);
	e->failures = 0;
	if (answer.last) {
		exec_child_close_stdin(&e->child);
		exec_child_end(
		    &e->child, call, patience(EXEC_STOP_MS, deadline), NULL, NULL, 0);
	}
	return answer.verdict;
}

static enum pawl_verdict
exchange(struct exec *e, struct pawl_call *call, struct clock_mono deadline, int64_t budget_ms)
{
	struct slice text = { e->line.data, e->line.len }, line = { "", 0 };
	int pid = (int)e->child.pid;
	const char *how, *begun;

	switch (ask(e, call, &text, deadline, &line)) {
	case SAID_LINE:
		return understand(e, call, deadline, line, text);
	case SAID_TOO_LONG:
		return broken(
		    e, call, "exec_protocol", "said a line that is longer than max_line", "");
	case SAID_NOTHING:
		return broken(e, call, "exec_timeout",
		    pawl_format(
			call, "did not answer within %lld ms and was killed", (long long)budget_ms),
		    e->child.noise.last);
	case SAID_END:
		break;
	}
	begun = e->child.said.len == 0 ? "" :
	    pawl_format(call, "; in the middle of a line: %s",
		shown(call, e->child.said.data, e->child.said.len));
	how = obituary(e, call, deadline);
	restart_later(e, true);
	return pawl_retry(call, "exec_crashed", "the program (pid %d) %s%s", pid, how, begun);
}

enum pawl_verdict
exec_lines(struct exec *e, struct pawl_call *call, const struct pawl_message *msg)
{
	int64_t budget_ms = exec_budget_ms(e, msg);
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), budget_ms);
	enum pawl_verdict verdict;
	const char *why;

	look_after(e, call, deadline);
	if (e->child.pid <= 0) {
		if (e->not_before.ns > clock_mono_now().ns)
			return wait_for_start(
			    e, call, "the program failed and is started again later");
		if (!start(e, call, msg, deadline, &why))
			return could_not_start(e, call, why);
	}
	e->child.noise.last[0] = '\0';	/* it was about another message */
	buf_clear(&e->line);
	exec_message_line(&e->line, ++e->number, budget_ms, call, msg);
	verdict = exchange(e, call, deadline, budget_ms);
	if (e->line.cap > LINE_KEPT)
		buf_release(&e->line);
	if (e->child.said.cap > LINE_KEPT && e->child.said.len == 0)
		buf_release(&e->child.said);
	return verdict;
}
