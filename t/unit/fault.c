/* Unit tests of util/fault. Compiled in whether the build has fault points or not. */
#include "config.h"
#ifndef PAWL_FAULTS
#define PAWL_FAULTS 1
#endif
#include "util/fault.c"	/* NOLINT(bugprone-suspicious-include) */

#include "t/unit/child.h"
#include "t/unit/tap.h"

struct plan { const char *faults, *once; int passes; };
static struct child child;

static void
pass(void *arg)
{
	const struct plan *p = arg;
	int errors = 0;

	setenv("PAWL_FAULT", p->faults, 1);
	if (p->once != NULL)
		setenv("PAWL_FAULT_ONCE", p->once, 1);
	for (int i = 0; i < p->passes; i++)
		errors += fault_hit("slot.before") ? 1 << i : 0;
	free(faults[0].point);		/* the first one's text is the whole copy */
	_exit(errors);
}

static void
test(const char *faults_text, int passes, int wanted, const char *name)
{
	struct plan p = { faults_text, NULL, passes };

	child_run(&child, pass, &p);
	is_int(child.status, wanted, "%s", name);
}

static void
count_in_child(void *arg)
{
	pid_t pid;
	int status;

	(void)arg;
	setenv("PAWL_FAULT", "a:exit@2", 1);
	fault_hit("a");
	pid = fork();
	if (pid == 0) {
		fault_hit("a");
		_exit(0);		/* the first time in this process */
	}
	waitpid(pid, &status, 0);
	_exit(status != 0);
}

int
main(void)
{
	char once[] = "/tmp/pawl-fault-XXXXXX";
	struct plan p = { "slot.before:exit", once, 1 };

	unsetenv("PAWL_FAULT");
	unsetenv("PAWL_FAULT_ONCE");
	ok(!fault_hit("slot.before"), "without PAWL_FAULT nothing happens");
	test("slot.after:kill", 3, 0, "another point is another point");
	test("slot.before:kill", 1, SIGKILL, "kill");
	test("slot.before:exit", 1, W_EXITCODE(1, 0), "exit");
	test("slot.before:error", 4, W_EXITCODE(1, 0), "error, the first time only");
	test("slot.before:error@3", 4, W_EXITCODE(4, 0), "error, the third time");
	test("slot.before:error@2,slot.before:error@3,x:kill", 4, W_EXITCODE(6, 0), "several");
	struct plan abort_plan = { "slot.before:abort", NULL, 1 };
	child_run(&child, pass, &abort_plan);
	ok(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGABRT, "abort");
	ok(strstr(child.text, "fault point slot.before: abort") != NULL, "the log says so");

	static const char *const bad[] = { "x", "x:", ":kill", "x:burn", "x:kill@", "x:kill@0", "x:kill@1x", "a:kill,", "" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		test(bad[i], 1, W_EXITCODE(EX_USAGE, 0), bad[i][0] == '\0' ? "nothing is refused" : bad[i]);

	close(mkstemp(once));
	unlink(once);
	child_run(&child, pass, &p);
	is_int(child.status, W_EXITCODE(1, 0), "the first process of many");
	child_run(&child, pass, &p);
	is_int(child.status, 0, "not the second one");
	unlink(once);
	child_run(&child, count_in_child, NULL);
	is_int(child.status, 0, "a forked process counts for itself");
	return done_testing();
}
