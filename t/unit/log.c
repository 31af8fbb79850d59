/* Unit tests of util/log: what one line looks like, byte for byte but for time and pid. */
#include "util/log.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "t/unit/child.h"
#include "t/unit/tap.h"

static struct child child;

/* A line without its "time=..." and with the pid's digits made one P. */
static const char *
normal(const char *line)
{
	static char out[PIPE_BUF + 1];
	size_t len = 0;

	if (strncmp(line, "time=", 5) == 0)
		line = strchr(line, ' ') + 1;
	while (*line != '\0' && len < sizeof(out) - 1) {
		const char *pid = strncmp(line, "pid=", 4) == 0 ? line + 4 : strncmp(line, "\"pid\":", 6) == 0 ? line + 6 : NULL;

		if (pid == NULL) {
			out[len++] = *line++;
			continue;
		}
		memcpy(out + len, line, (size_t)(pid - line));
		len += (size_t)(pid - line);
		out[len++] = 'P';
		line = pid + strspn(pid, "0123456789");
	}
	out[len] = '\0';
	return out;
}

static void
one_line(void *arg)
{
	log_init("pawl-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_warning("%s", (const char *)arg);
}

static void
one_json_line(void *arg)
{
	log_init("pawl-test", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_set_role("runner");
	log_warning("%s", (const char *)arg);
}

static void
as_journal(void *arg)
{
	struct stat st;
	char stream[64];

	fstat(STDERR_FILENO, &st);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + (arg != NULL));
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("pawl-test", LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	log_error("e");
	log_warning("w");
	log_info("i");
	log_debug("d");
}

static void
with_context(void *arg)
{
	const struct log_context queue = { NULL, "queue", "view" };
	const struct log_context message = { &queue, "message_id", "a b\"c" };
	const struct log_context inner = { &message, "queue", "inner" };
	const struct log_context none = { &inner, "none", NULL };
	const struct log_context *former;

	(void)arg;
	log_init("pawl-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	former = log_push(&message);
	log_info("two");
	log_push(&none);
	log_info("hidden");
	log_pop(former);
	log_info("none");
	log_set_role("master");
	log_info("role");
}

static void
with_errno(void *arg)
{
	struct log_complaint complaint = { .interval_ms = 0 };

	(void)arg;
	errno = ENOENT;
	log_info("could not open: %m");
	log_info("kept: %d", errno == ENOENT);
	log_complain(&complaint, LOG_LEVEL_WARNING, "complaint: %m");
	log_info("kept: %d", errno == ENOENT);
	log_recovered(&complaint, "recovered: %m");
	log_info("kept: %d", errno == ENOENT);
}

/* Also when nothing can be written. */
static void
without_stderr(void *arg)
{
	struct log_complaint complaint = { .interval_ms = 0 };

	(void)arg;
	close(STDERR_FILENO);
	errno = ENOENT;
	log_info("lost");
	log_complain(&complaint, LOG_LEVEL_WARNING, "lost");
	log_recovered(&complaint, "lost");
	_exit(errno == ENOENT ? 0 : 1);
}

static void
by_level(void *arg)
{
	(void)arg;
	log_info("before log_init");
	log_init("pawl-test", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	log_info("not shown");
	log_warning("shown: %d %d", log_enabled(LOG_LEVEL_WARNING), log_enabled(LOG_LEVEL_INFO));
}

/* Lines that just fit, and some that do not: characters of three bytes must stay whole. */
static void
long_line(void *arg)
{
	const int euros_max = PIPE_BUF / 3 + 10;
	char text[PIPE_BUF * 2];

	log_init("pawl-test", LOG_LEVEL_INFO, arg != NULL ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
	for (int i = 0; i < euros_max; i++)
		memcpy(text + i * 3, "\xe2\x82\xac", 4);
	for (int euros = PIPE_BUF / 3 - 36; euros < PIPE_BUF / 3 - 22; euros++)
		log_info("%.*s", euros * 3, text);
	log_info("%s", text);
}

static void
fatal(void *arg)
{
	(void)arg;
	log_init("pawl-test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	log_fatal(EX_CONFIG, "cannot go on");
}

static void
complaints(void *arg)
{
	struct log_complaint complaint = { .interval_ms = 0 };

	(void)arg;
	log_init("pawl-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_recovered(&complaint, "not shown: there was none");
	for (int i = 0; i < 5; i++)
		log_complain(&complaint, LOG_LEVEL_WARNING, "bad %d", i);
	complaint.next = clock_mono_now();	/* as if the second had passed */
	log_complain(&complaint, LOG_LEVEL_WARNING, "bad");
	log_info("now every %lld ms", (long long)complaint.interval_ms);
	for (int i = 0; i < 20; i++) {
		complaint.next = clock_mono_now();
		log_complain(&complaint, LOG_LEVEL_ERROR, "bad");
	}
	log_info("now every %lld ms", (long long)complaint.interval_ms);
	log_recovered(&complaint, "good again after %s", "all");
	log_recovered(&complaint, "not shown");
	log_complain(&complaint, LOG_LEVEL_WARNING, "bad anew");
}

static void
after_fork(void *arg)
{
	pid_t pid;

	(void)arg;
	log_init("pawl-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("parent=%ld", (long)getpid());
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		log_info("parent=%ld", (long)getpid());
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void *
other_thread(void *arg)
{
	(void)arg;
	log_info("thread");
	return NULL;
}

static void
threads(void *arg)
{
	const struct log_context context = { NULL, "queue", "view" };
	pthread_t thread;

	(void)arg;
	log_init("pawl-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_push(&context);
	pthread_create(&thread, NULL, other_thread, NULL);
	pthread_join(thread, NULL);
}

/* Each line of the child begins with its own pid. */
static bool
pids_are_right(const char *text)
{
	long told, is;

	while ((text = strstr(text, "pid=")) != NULL) {
		if (sscanf(text, "pid=%ld msg=\"parent=%ld", &told, &is) != 2 || told != is)
			return false;
		text += 4;
	}
	return true;
}

static void
test_escapes(void)
{
	static const struct { const char *text, *line, *json; } cases[] = {
		{ "plain text", "plain text", "plain text" },
		{ "a\nb\rc\td", "a\\nb\\x0dc\\x09d", "a\\nb\\u000dc\\u0009d" },
		{ "\"quoted\" \\ back", "\\\"quoted\\\" \\\\ back", "\\\"quoted\\\" \\\\ back" },
		{ "\x1b[31mred\x7f", "\\x1b[31mred\\x7f", "\\u001b[31mred\\u007f" },
		{ "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		  "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xc2\x9b" "31m", "\\xc2\\x9b31m", "\\u009b31m" },
		{ "bad \xff\xc3 utf8", "bad \\xff\\xc3 utf8", "bad \\ufffd\\ufffd utf8" },
		{ "cut \xe2\x82", "cut \\xe2\\x82", "cut \\ufffd\\ufffd" },
		{ "", "", "" },
	};
	char wanted[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		union { const char *text; void *arg; } arg = { cases[i].text };

		child_run(&child, one_line, arg.arg);
		snprintf(wanted, sizeof(wanted), "level=warning program=pawl-test pid=P msg=\"%s\"\n", cases[i].line);
		is_str(normal(child.text), wanted, "text %zu", i);
		child_run(&child, one_json_line, arg.arg);
		snprintf(wanted, sizeof(wanted), ",\"level\":\"warning\",\"program\":\"pawl-test\",\"role\":\"runner\",\"pid\":P,\"msg\":\"%s\"}\n",
		    cases[i].json);
		is_str(strchr(normal(child.text), ','), wanted, "JSON %zu", i);
	}
}

static void
test_long_lines(void)
{
	for (int json = 0; json < 2; json++) {
		const char *end = json ? "\"}\n" : "\"\n", *next = child.text;
		int whole = 0, cut = 0;
		bool good = true;

		child_run(&child, long_line, json ? &child : NULL);
		for (const char *line = child.text; *line != '\0' && good; line = next) {
			next = strchr(line, '\n') + 1;
			good = next - line <= PIPE_BUF && strncmp(next - strlen(end), end, strlen(end)) == 0;
			if (strncmp(next - strlen(end) - 3, "...", 3) == 0)
				cut++;
			else
				whole++;
		}
		ok(good && strstr(child.text, json ? "ufffd" : "\\x") == NULL, "long lines are cut between characters (%d)", json);
		ok(whole > 0 && cut > 1, "where they are too long (%d whole, %d cut)", whole, cut);
	}
}

int
main(void)
{
	unsetenv("JOURNAL_STREAM");
	test_escapes();

	child_run(&child, one_line, (char[]){ "x" });
	is_int(child.writes, 1, "a line is one write");
	int year, month, day, hour, minute, second, ms, end = 0;
	is_int(sscanf(child.text, "time=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour, &minute, &second, &ms, &end), 7,
	    "the time is written as RFC 3339");
	ok(end == 30 && year >= 2024, "in UTC, with milliseconds");

	child_run(&child, as_journal, NULL);
	is_str(normal(child.text), "<3>level=error program=pawl-test pid=P msg=\"e\"\n<4>level=warning program=pawl-test pid=P msg=\"w\"\n"
	    "<6>level=info program=pawl-test pid=P msg=\"i\"\n<7>level=debug program=pawl-test pid=P msg=\"d\"\n",
	    "for systemd: a priority and no time");
	child_run(&child, as_journal, &child);
	ok(strncmp(child.text, "time=", 5) == 0, "JOURNAL_STREAM of another stream does not count");

	child_run(&child, with_context, NULL);
	const char *line = child.text, *wanted[] = {
		"queue=view message_id=\"a b\\\"c\" msg=\"two\"\n", "message_id=\"a b\\\"c\" queue=inner none=\"\" msg=\"hidden\"\n",
		"pid=P msg=\"none\"\n", "program=pawl-test role=master pid=P msg=\"role\"\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(wanted) && line != NULL; i++, line = strchr(line, '\n') + 1)
		ok(strstr(normal(line), wanted[i]) != NULL, "context of line %zu", i) || (diag("%s", line), 0);

	child_run(&child, with_errno, NULL);
	ok(strstr(child.text, "could not open: No such file or directory\"") != NULL, "%%m");
	ok(strstr(child.text, "complaint: No such file or directory\"") != NULL, "%%m of a complaint");
	ok(strstr(child.text, "recovered: No such file or directory\"") != NULL, "%%m of a recovery");
	ok(strstr(child.text, "kept: 1") != NULL && strstr(child.text, "kept: 0") == NULL, "errno survives");
	child_run(&child, without_stderr, NULL);
	is_int(child_exit(&child), 0, "also when nothing can be written");

	child_run(&child, by_level, NULL);
	ok(strstr(child.text, "before log_init") != NULL, "logs before log_init");
	ok(strstr(child.text, "not shown") == NULL && strstr(child.text, "shown: 1 0") != NULL, "levels");

	test_long_lines();

	child_run(&child, fatal, NULL);
	is_int(child_exit(&child), EX_CONFIG, "log_fatal exits with its code");
	ok(strstr(child.text, "level=error program=pawl-test") != NULL && strstr(child.text, "msg=\"cannot go on\"\n") != NULL, "and says why");

	child_run(&child, complaints, NULL);
	ok(strstr(child.text, "not shown") == NULL, "nobody recovers who did not complain");
	ok(strstr(child.text, "\"bad 0\"") != NULL && strstr(child.text, "\"bad 1\"") == NULL, "the first complaint is shown, the next are not");
	ok(strstr(child.text, "level=warning program=pawl-test pid=") != NULL && strstr(child.text, "bad (again, 5 times since)") != NULL,
	    "then they are counted");
	ok(strstr(child.text, "now every 2000 ms") != NULL && strstr(child.text, "now every 3600000 ms") != NULL, "less and less often");
	ok(strstr(child.text, "\"good again after all\"") != NULL, "recovery is announced");
	ok(strstr(child.text, "\"bad anew\"") != NULL, "and then all begins anew");

	child_run(&child, after_fork, NULL);
	is_int(child.writes, 2, "two processes log");
	ok(pids_are_right(child.text), "each with its own pid");

	child_run(&child, threads, NULL);
	ok(strstr(child.text, "msg=\"thread\"") != NULL && strstr(child.text, "queue=") == NULL, "context belongs to a thread");
	return done_testing();
}
