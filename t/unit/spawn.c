/* Unit tests of util/spawn. */
#include "util/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/unit/tap.h"

static char output[64 * 1024];

static void
ignore(int number)
{
	(void)number;
}

/* Until nobody can write any more, or ten seconds have passed. */
static bool
read_all(int fd)
{
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 10000) <= 0)
			return false;
		n = read(fd, output + len, sizeof(output) - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	output[len] = '\0';
	return true;
}

/* Runs a shell script with descriptor 3 as its output; returns its wait status. */
static int
shell(const char *script, int64_t memory_limit)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	int fds[2], status = -1;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;

	const struct spawn_fd map[] = { { fds[1], 3 } };
	const struct spawn_options options = {
		.path = "/bin/sh", .argv = argv, .fds = map, .fd_count = 1, .memory_limit_bytes = memory_limit,
	};
	const char *step = NULL;
	pid_t pid = spawn_exec(&options, &step);

	close(fds[1]);
	if (!read_all(fds[0]) || pid < 0)
		diag("%s: %s", step, strerror(errno));
	close(fds[0]);
	if (pid > 0)
		waitpid(pid, &status, 0);
	return status;
}

static void
test_exec(void)
{
	sigset_t set;
	int inherited;

	is_int(shell("echo hello >&3; exit 3", 0), W_EXITCODE(3, 0), "a program runs");
	is_str(output, "hello\n", "and has its descriptor");
	shell("readlink /proc/self/fd/0 >&3", 0);
	is_str(output, "/dev/null\n", "its input is empty");
	shell("test /proc/$$/fd/1 -ef /proc/self/fd/2 && echo same >&3", 0);
	is_str(output, "same\n", "its output goes to stderr");

	/* Nothing that is not named gets through, close-on-exec or not. */
	inherited = open("/", O_RDONLY);
	ok(fcntl(inherited, F_DUPFD, 200) == 200, "a descriptor that is not close-on-exec");
	shell("exec >&3; echo begin; for i in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 199 200 201; do test -e /proc/$$/fd/$i && echo $i; done", 0);
	is_str(output, "begin\n3\n", "is not inherited");
	close(inherited);
	close(200);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, ignore);
	/* Signals 32 and 33 are the C library's own: what make starts by posix_spawn() ignores them, and sigaction() does not touch them. */
	shell("while read -r name mask; do case $name in SigBlk:|SigIgn:) echo $name $((0x$mask & ~0x180000000));; esac; done "
	    "</proc/$$/status >&3", 0);
	is_str(output, "SigBlk: 0\nSigIgn: 0\n", "signals are as new");
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigprocmask(SIG_SETMASK, NULL, &set);
	ok(!sigismember(&set, SIGUSR2) && !sigismember(&set, SIGTERM), "and the parent's as before");
	signal(SIGPIPE, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);

	shell("ulimit -v >&3", INT64_C(512) * 1024 * 1024);
	is_str(output, "524288\n", "its memory is limited");
}

/* Its own group, directory and environment; stdin and stdout that are named. */
static void
test_surroundings(void)
{
	const char *const argv[] = { "sh", "-c", "read x; echo $x $(pwd) $ONE $(ps -o pgid= -p $$) $$ ${HOME-none}", NULL };
	const char *const environment[] = { "ONE=1", "PATH=/usr/bin:/bin", NULL };
	int in[2], out[2], status = -1;
	char expected[128];
	const char *step;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return;

	const struct spawn_fd map[] = { { in[0], 0 }, { out[1], 1 } };
	const struct spawn_options options = {
		.path = "/bin/sh", .argv = argv, .fds = map, .fd_count = ARRAY_SIZE(map),
		.environment = environment, .directory = "/usr/lib", .own_group = true,
	};
	const struct spawn_options nowhere = { .path = "/bin/sh", .argv = argv, .directory = "/nonexistent" };
	pid_t pid = spawn_exec(&options, &step);

	close(in[0]);
	close(out[1]);
	ok(write(in[1], "in\n", 3) == 3, "it has an input");
	close(in[1]);
	ok(read_all(out[0]), "and an output");
	close(out[0]);
	waitpid(pid, &status, 0);
	snprintf(expected, sizeof(expected), "in /usr/lib 1 %d %d none\n", (int)pid, (int)pid);
	is_str(output, expected, "directory, environment and group are its own");
	is_int(spawn_exec(&nowhere, &step), -1, "a directory that is not there");
	is_str(step, "chdir", "the step is named");
}

/* Descriptors that change places with each other, and with the standard ones. */
static void
test_fds(void)
{
	const char *const argv[] = { "sh", "-c", "for i in 3 4 5 6 7 8 15; do echo $i >/proc/$$/fd/$i; done", NULL };
	int pipes[3][2], status = -1;
	const char *step = NULL;

	for (int i = 0; i < 3; i++) {
		if (pipe2(pipes[i], O_CLOEXEC) < 0)
			return;
		for (int k = 0; k < 2; k++) {
			int old = pipes[i][k];

			pipes[i][k] = fcntl(old, F_DUPFD_CLOEXEC, 100);
			close(old);
		}
	}
	/* Writers at 3, 4, 7; the child wants them at all numbers, its own places changed. */
	dup2(pipes[0][1], 3);
	dup2(pipes[1][1], 4);
	dup2(pipes[2][1], 7);

	const struct spawn_fd map[] = { { 3, 15 }, { 3, 4 }, { 4, 7 }, { 7, 3 }, { 3, 8 }, { 4, 5 }, { 7, 6 } };
	const struct spawn_options options = { .path = "/bin/sh", .argv = argv, .fds = map, .fd_count = ARRAY_SIZE(map) };
	pid_t pid = spawn_exec(&options, &step);

	close(3);
	close(4);
	close(7);
	for (int i = 0; i < 3; i++) {
		static const char *const wanted[] = { "4\n8\n15\n", "5\n7\n", "3\n6\n" };

		close(pipes[i][1]);
		ok(read_all(pipes[i][0]), "pipe %d ends", i);
		is_str(output, wanted[i], "pipe %d has its place", i);
		close(pipes[i][0]);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "exit status");
}

static void
test_failures(void)
{
	const char *const argv[] = { "x", NULL };
	const char *step = NULL;
	const struct spawn_options missing = { .path = "/nonexistent/program", .argv = argv };
	const struct spawn_fd bad[] = { { 999, 3 } };
	const struct spawn_options bad_fd = { .path = "/bin/sh", .argv = argv, .fds = bad, .fd_count = 1 };

	errno = 0;
	is_int(spawn_exec(&missing, &step), -1, "a program that is not there");
	ok(errno == ENOENT, "errno is exec's");
	is_str(step, "exec", "the step is named");
	is_int(spawn_exec(&bad_fd, &step), -1, "a descriptor that is not there");
	ok(errno == EBADF, "errno is dup2's");
	is_str(step, "dup2", "the step is named");
	ok(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "no child is left behind");
}

static void
test_death(void)
{
	int fds[2], status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	pid = spawn_fork();
	if (pid == 0) {
		/* Its child waits for ever, and holds the pipe's only other end. */
		const char *const argv[] = { "sh", "-c", "echo up >&3; while :; do read x <&4; done", NULL };
		int never[2], rc = pipe2(never, O_CLOEXEC);
		const struct spawn_fd map[] = { { fds[1], 3 }, { never[0], 4 } };
		const struct spawn_options options = { .path = "/bin/sh", .argv = argv, .fds = map, .fd_count = 2 };
		const char *step;

		if (rc < 0 || spawn_exec(&options, &step) < 0)
			_exit(1);
		raise(SIGKILL);
	}
	close(fds[1]);
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status), "the parent was killed");
	ok(read_all(fds[0]), "its child died with it");
	close(fds[0]);

	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGTERM, SIG_IGN);
	pid = spawn_fork();
	if (pid == 0) {
		struct sigaction action;

		sigprocmask(SIG_SETMASK, NULL, &set);
		sigaction(SIGTERM, NULL, &action);
		_exit(sigismember(&set, SIGTERM) || action.sa_handler != SIG_DFL);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "a forked child has no signal blocked or ignored");
	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGTERM, SIG_DFL);
}

static void
test_status(void)
{
	static const struct { int status; const char *text; } cases[] = {
		{ W_EXITCODE(0, 0), "exited with 0" }, { W_EXITCODE(78, 0), "exited with 78" }, { SIGKILL, "was killed by SIGKILL" },
		{ SIGSEGV | WCOREFLAG, "was killed by SIGSEGV (core dumped)" }, { 62, "was killed by signal 62" },
	};
	char text[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		is_str(spawn_status_text(cases[i].status, text, sizeof(text)), cases[i].text, "status 0x%x", (unsigned)cases[i].status);
	is_str(spawn_status_text(0, text, 5), "exit", "a small buffer");
}

/* valgrind shows its own idea of /proc/self/cmdline. */
static bool
under_valgrind(void)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

static void
test_title(int argc, char **argv)
{
	const char *area = argv[0];
	char first[256], title[256], shown[8192] = "";
	FILE *file;

	snprintf(first, sizeof(first), "%s", argv[0]);
	spawn_title_set("before init");
	is_str(argv[0], first, "without spawn_title_init nothing happens");
	setenv("PAWL_TEST_VALUE", "kept", 1);
	spawn_title_init(argc, argv);
	spawn_title_init(argc, argv);
	is_str(argv[0], first, "argv is as it was");
	ok(argv[0] != area, "but elsewhere");
	is_str(getenv("PAWL_TEST_VALUE"), "kept", "so is the environment");
	ok(getenv("PATH") != NULL, "all of it");
	spawn_title_set("pawl-test: runner %s", "view");
	is_str(area, "pawl-test: runner view", "the title is where ps looks");
	file = under_valgrind() ? NULL : fopen("/proc/self/cmdline", "r");
	if (file != NULL) {
		ok(fread(shown, 1, sizeof(shown) - 1, file) > 0, "/proc/self/cmdline");
		is_str(shown, "pawl-test: runner view", "what ps shows");
		fclose(file);
	}
	memset(title, 't', sizeof(title));
	title[sizeof(title) - 1] = '\0';
	for (int i = 0; i < 40; i++)
		spawn_title_set("%s %s %s %s %s %s", title, title, title, title, title, title + i);
	spawn_title_set("short");
	is_str(area, "short", "a shorter title");
	ok(memchr(area + strlen("short"), 't', strlen(first) - strlen("short")) == NULL, "leaves nothing of a longer one");
	setenv("PAWL_TEST_VALUE", "changed", 1);
	is_str(getenv("PAWL_TEST_VALUE"), "changed", "setenv works");
	ok(getenv("PATH") != NULL, "and keeps the others");
	ok(strstr(first, program_invocation_short_name) != NULL, "the program's name is still there");
}

int
main(int argc, char **argv)
{
	alarm(120);
	test_title(argc, argv);
	test_exec();
	test_surroundings();
	test_fds();
	test_failures();
	test_death();
	test_status();
	return done_testing();
}
