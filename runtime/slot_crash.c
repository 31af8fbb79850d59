/*
 * slot_crash.c - see slot_crash.h. Runs in signal handlers on a stack of its own, or in exit().
 *
 * Not all that it calls is async-signal-safe by the book: backtrace() and dladdr() may wait for a
 * lock that is held for ever. So the words are put down one by one, and an alarm ends the process
 * with the signal that it was dying of. That takes its default action in the end: wait status and
 * core dump are what they would have been.
 */
#include "runtime/slot_crash.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <ucontext.h>
#include <unistd.h>

enum { FRAMES_MAX = 40, STACK_BYTES = 64 << 10, PATIENCE_S = 2 };

static const int fatal_numbers[] = {
	SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP,
};
static struct {
	struct desk *desk;
	pid_t owner;			/* children that a handler forks have no say */
	uint32_t len;
	atomic_flag begun;
	volatile sig_atomic_t number;	/* what it is dying of; 0: exit() */
	bool done;
} crash = { .begun = ATOMIC_FLAG_INIT };
static _Alignas(16) char stack[STACK_BYTES];

/* ---- words ---- */

static void
put(const char *text)
{
	size_t room = DESK_REPORT_MAX - crash.len, len = strnlen(text, room);

	memcpy(crash.desk->report + crash.len, text, len);
	crash.len += (uint32_t)len;
	atomic_store_explicit(&crash.desk->report_len, crash.len, memory_order_release);
}

static void
put_number(uintmax_t number, unsigned base)
{
	char digits[24], *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do
		*--at = "0123456789abcdef"[number % base];
	while ((number /= base) > 0);
	if (base == 16)
		put("0x");
	put(at);
}

static void
put_frame(int index, const void *address)
{
	Dl_info info = { 0 };
	const char *slash;

	put("; #");
	put_number((uintmax_t)index, 10);
	put(" ");
	if (dladdr(address, &info) == 0 || info.dli_fname == NULL) {
		put_number((uintptr_t)address, 16);
		return;
	}
	slash = strrchr(info.dli_fname, '/');
	put(slash == NULL ? info.dli_fname : slash + 1);
	put("+");
	put_number((uintptr_t)address - (uintptr_t)info.dli_fbase, 16);
	if (info.dli_sname != NULL) {
		put(" ");
		put(info.dli_sname);
	}
}

/* From 'first' on, if it is there: what stands before it are our own frames. */
static void
put_backtrace(const void *first)
{
	void *frames[FRAMES_MAX];
	int count = backtrace(frames, FRAMES_MAX), at = 0;

	while (at < count && frames[at] != first)
		at++;
	if (at == count)
		at = 0;
	for (int i = at; i < count; i++)
		put_frame(i - at, frames[i]);
}

/* ---- by a signal ---- */

static const void *
interrupted_at(const void *context)
{
	const ucontext_t *u = context;

#if defined(__x86_64__)
	return (const void *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (const void *)(uintptr_t)u->uc_mcontext.pc;
#else
	(void)u;
	return NULL;
#endif
}

static void
default_action(int number)
{
	const struct sigaction action = { .sa_handler = SIG_DFL };

	(void)sigaction(number, &action, NULL);
}

/* The words took too long. */
static void
on_alarm(int number)
{
	sigset_t set;

	(void)number;
	if (crash.number == 0)
		_exit(EXIT_FAILURE);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, crash.number);
	default_action(crash.number);
	(void)raise(crash.number);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void
limit_time(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	sigset_t set;

	(void)sigfillset(&action.sa_mask);
	(void)sigaction(SIGALRM, &action, NULL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGALRM);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	(void)alarm(PATIENCE_S);
}

/* The runner's patience is over. */
static void
on_overdue(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	if (getpid() == crash.owner && !atomic_flag_test_and_set(&crash.begun)) {
		crash.number = SIGKILL;
		limit_time();
		put("stopped");
		put_backtrace(interrupted_at(context));
	}
	(void)raise(SIGKILL);
}

static void
on_fatal(int number, siginfo_t *info, void *context)
{
	const char *name = sigabbrev_np(number);

	/* Raised again below, it waits until this returns: a core dump shows where it came from. */
	default_action(number);
	if (getpid() == crash.owner && !atomic_flag_test_and_set(&crash.begun)) {
		crash.number = number;
		limit_time();
		put("SIG");
		put(name == NULL ? "?" : name);
		if (info->si_code > 0 && number != SIGABRT && number != SIGSYS) {
			put(" at address ");
			put_number((uintptr_t)info->si_addr, 16);
		}
		put_backtrace(interrupted_at(context));
	}
	(void)raise(number);
}

/* ---- by exit() ---- */

static void
on_leave(int status, void *arg)
{
	(void)arg;
	if (crash.done || getpid() != crash.owner || atomic_flag_test_and_set(&crash.begun))
		return;
	limit_time();
	put("called exit(");
	put_number((unsigned)status, 10);
	put(")");
	put_backtrace(NULL);
	(void)alarm(0);
}

void
slot_crash_init(struct desk *desk)
{
	const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = {
		.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK,
	};
	void *frame;

	crash.desk = desk;
	crash.owner = getpid();
	(void)backtrace(&frame, 1);	/* loads what it needs now: later it must not call malloc() */
	(void)sigaltstack(&alternate, NULL);
	(void)sigfillset(&action.sa_mask);
	(void)sigdelset(&action.sa_mask, SIGALRM);
	for (size_t i = 0; i < ARRAY_SIZE(fatal_numbers); i++)
		(void)sigaction(fatal_numbers[i], &action, NULL);
	action.sa_sigaction = on_overdue;
	(void)sigaction(SIGXCPU, &action, NULL);
	(void)on_exit(on_leave, NULL);
}

void
slot_crash_end(const char *why)
{
	if (!atomic_flag_test_and_set(&crash.begun))
		put(why);
	_exit(EX_SOFTWARE);
}

void
slot_crash_done(void)
{
	crash.done = true;
}
