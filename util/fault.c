/*
 * fault.c - see fault.h. Only in builds for tests; a PAWL_FAULT that cannot be understood ends the
 * process.
 */
#include "util/fault.h"

#ifdef PAWL_FAULTS

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "util/arena.h"
#include "util/log.h"

enum action { ACTION_KILL, ACTION_STOP, ACTION_EXIT, ACTION_ABORT, ACTION_ERROR, ACTION_COUNT };
static const char *const action_text[] = {
	[ACTION_KILL] = "kill", [ACTION_STOP] = "stop", [ACTION_EXIT] = "exit",
	[ACTION_ABORT] = "abort", [ACTION_ERROR] = "error",
};

enum { FAULTS_MAX = 16 };
struct fault { char *point; enum action action; unsigned long when, passed; };
static struct fault faults[FAULTS_MAX];
static size_t fault_count;
static pid_t counted_in;	/* process whose passes are counted; 0: PAWL_FAULT was not read */

static bool
parse_one(char *text, struct fault *fault)
{
	char *action = strchr(text, ':'), *when, *end = NULL;

	if (action == NULL || action == text)
		return false;
	*action++ = '\0';
	*fault = (struct fault){ .point = text, .action = ACTION_COUNT, .when = 1 };
	when = strchr(action, '@');
	if (when != NULL) {
		*when++ = '\0';
		fault->when = strtoul(when, &end, 10);
		if (*end != '\0' || fault->when == 0)
			return false;
	}
	for (size_t i = 0; i < ACTION_COUNT; i++) {
		if (strcmp(action, action_text[i]) == 0)
			fault->action = (enum action)i;
	}
	return fault->action != ACTION_COUNT;
}

static void
parse(const char *env)
{
	char *next = xstrdup(env), *one;	/* stays: faults[] points into it */

	while ((one = strsep(&next, ",")) != NULL) {
		if (fault_count == FAULTS_MAX || !parse_one(one, &faults[fault_count]))
			log_fatal(EX_USAGE, "cannot understand PAWL_FAULT=%s: write point:action "
			    "or point:action@n, with kill, stop, exit, abort or error", env);
		fault_count++;
	}
}

/* Of all processes that share PAWL_FAULT_ONCE only the first. */
static bool
is_ours(void)
{
	const char *path = getenv("PAWL_FAULT_ONCE");
	int fd;

	if (path == NULL)
		return true;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		if (errno != EEXIST)
			log_fatal(EX_USAGE, "could not make PAWL_FAULT_ONCE=%s: %m", path);
		return false;
	}
	close(fd);
	return true;
}

bool
fault_hit(const char *point)
{
	const char *env = getenv("PAWL_FAULT");

	if (env == NULL)
		return false;
	if (counted_in == 0)
		parse(env);
	if (counted_in != getpid()) {
		counted_in = getpid();
		for (size_t i = 0; i < fault_count; i++)
			faults[i].passed = 0;
	}

	bool error = false;

	for (size_t i = 0; i < fault_count; i++) {
		struct fault *fault = &faults[i];

		if (strcmp(fault->point, point) != 0 || ++fault->passed != fault->when ||
		    !is_ours())
			continue;
		assert(fault->action < ACTION_COUNT);
		log_info("fault point %s: %s", point, action_text[fault->action]);
		switch (fault->action) {
		case ACTION_KILL:
			kill(getpid(), SIGKILL);
			break;
		case ACTION_STOP:
			kill(getpid(), SIGSTOP);
			break;
		case ACTION_EXIT:
			_exit(1);
		case ACTION_ABORT:
			abort();
		case ACTION_ERROR:
			error = true;
			break;
		case ACTION_COUNT:
			break;
		}
	}
	return error;
}

#endif
