/*
 * misbehave.c - a handler for tests: does to its process what the message's type says, after it has recorded an effect.
 */
#include <pawl/handler.h>

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int *volatile nowhere = (int *)8;
static volatile int depth_max = INT_MAX;

static int
recurse(int depth)
{
	volatile char here[4096] = { (char)depth };

	return depth < depth_max ? recurse(depth + 1) + here[0] : 0;
}

/* Both sides return. */
static void
fork_and_return(void)
{
	(void)!fork();
}

static void
fork_and_live(void)
{
	if (fork() == 0)
		for (;;)
			(void)pause();
}

/* Of the two sockets that a slot has the other one is at 100. */
static void
close_database(void)
{
	struct stat st;

	for (int fd = 5; fd < 100; fd++)
		if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
			(void)close(fd);
}

static sigjmp_buf out;

static void
jump(int number)
{
	siglongjmp(out, number);
}

static void
leave(int number)
{
	(void)number;
	_exit(9);
}

static void
catch(int number, void (*handler)(int))
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	(void)sigaction(number, &action, NULL);
}

/* Comes back from its own crash. */
static void
jump_out(void)
{
	catch(SIGSEGV, jump);
	if (sigsetjmp(out, 1) == 0)
		*nowhere = 1;
}

static void *
live(void *arg)
{
	for (;;)
		(void)pause();
	return arg;
}

static void
leave_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, live, NULL) == 0)
		(void)pthread_detach(thread);
}

static void
free_twice(void)
{
	char *volatile p = malloc(3000), *volatile q = p;

	free(p);
	free(q);
}

/* config: { crash_file = "/path"; }: start() crashes while that is there. */
static int
start(const struct pawl_config *cfg, void **self)
{
	const char *crash_file = pawl_config_string(cfg, "crash_file", NULL);

	if (crash_file != NULL && access(crash_file, F_OK) == 0)
		*nowhere = 1;
	*self = NULL;
	return 0;
}

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	(void)self;
	PAWL_SQL(call, "insert into effect values ($1)", msg->id);
	if (strcmp(msg->type, "Segv") == 0)
		(void)raise(SIGSEGV);
	else if (strcmp(msg->type, "Memory") == 0)
		for (;;)
			*(volatile char *)malloc(16 << 20) = 1;
	else if (strcmp(msg->type, "OurMemory") == 0)
		(void)pawl_bytes(call, "", (size_t)300 << 20);	/* no room for them: they are not looked at */
	else if (strcmp(msg->type, "Null") == 0)
		*nowhere = 1;
	else if (strcmp(msg->type, "Recurse") == 0)
		(void)recurse(0);
	else if (strcmp(msg->type, "QuickExit") == 0)
		_exit(4);
	else if (strcmp(msg->type, "Blocked") == 0) {
		sigset_t all;

		(void)sigfillset(&all);
		(void)sigprocmask(SIG_SETMASK, &all, NULL);
		*nowhere = 1;
	} else if (strcmp(msg->type, "Abort") == 0)
		abort();
	else if (strcmp(msg->type, "Exit") == 0)
		exit(3);
	else if (strcmp(msg->type, "DeafHang") == 0) {
		sigset_t all;

		(void)sigfillset(&all);
		(void)sigprocmask(SIG_SETMASK, &all, NULL);
		for (;;)
			(void)pause();
	} else if (strcmp(msg->type, "Hang") == 0)
		for (;;)
			(void)pause();
	else if (strcmp(msg->type, "Close") == 0)
		(void)close(3);
	else if (strcmp(msg->type, "Scribble") == 0)
		(void)!write(3, "this is not a frame, and it is longer than a header", 51);
	else if (strcmp(msg->type, "CloseDb") == 0)
		close_database();
	else if (strcmp(msg->type, "CloseStd") == 0)
		for (int fd = 1; fd < 3; fd++)
			(void)close(fd);
	else if (strcmp(msg->type, "CloseAll") == 0)
		for (int fd = 0; fd < 1024; fd++)
			(void)close(fd);
	else if (strcmp(msg->type, "Noise") == 0) {
		(void)printf("{\"noise\": true}\n");
		(void)fflush(stdout);
		(void)getchar();
	} else if (strcmp(msg->type, "ForkReturn") == 0)
		fork_and_return();
	else if (strcmp(msg->type, "ForkLive") == 0 || strcmp(msg->type, "ForkDie") == 0) {
		fork_and_live();
		if (strcmp(msg->type, "ForkDie") == 0)
			_exit(5);
	} else if (strcmp(msg->type, "Jump") == 0)
		jump_out();
	else if (strcmp(msg->type, "OwnSegv") == 0) {
		catch(SIGSEGV, leave);
		*nowhere = 1;
	} else if (strcmp(msg->type, "Thread") == 0)
		leave_thread();
	else if (strcmp(msg->type, "FreeTwice") == 0)
		free_twice();
	else if (strcmp(msg->type, "Elsewhere") == 0) {
		(void)!chdir("/");
		(void)umask(0777);
	} else if (strcmp(msg->type, "Count") == 0)
		pawl_log(call, PAWL_INFO, "called for %s", msg->id);
	else if (strcmp(msg->type, "Slow") == 0)
		(void)usleep(20000);
	return PAWL_DONE;
}

PAWL_HANDLER(.name = "misbehave", .version = "0.9", .start = start, .handle = handle);
