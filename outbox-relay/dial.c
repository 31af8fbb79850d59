/*
 * dial.c - see dial.h. Ends the process when there is no descriptor or thread to be had.
 */
#include "outbox-relay/dial.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "util/arena.h"
#include "util/clock.h"
#include "util/log.h"

enum {
	STACK_BYTES = 1024 * 1024,	/* resolver and TLS take a tenth of it */
	LOOK_MS = 50,			/* has it been given up? */
	SETTLE_MS = 300
};

static atomic_int running;	/* threads */

struct dial {
	struct pg *pg;
	struct pg_error error;
	int status;
	int64_t timeout_ms;
	char *name;
	int done_fd;
	pthread_t thread;
	atomic_int holders;		/* the thread, and who waits */
	atomic_bool given_up;
};

static void
drop(struct dial *dial)
{
	if (atomic_fetch_sub(&dial->holders, 1) > 1)
		return;
	pg_free(&dial->pg);
	(void)close(dial->done_fd);
	free(dial->name);
	free(dial);
}

static int
connect_session(struct dial *dial)
{
	struct clock_mono deadline = clock_mono_after_ms(clock_mono_now(), dial->timeout_ms);

	if (pg_connect_start(dial->pg, &dial->error) != 0)
		return -1;
	while (pg_state(dial->pg) == PG_CONNECTING) {
		if (clock_mono_now().ns > deadline.ns || atomic_load(&dial->given_up)) {
			pg_error_set(&dial->error, PG_CLASS_ENVIRONMENT,
			    "the server did not answer in time");
			return -1;
		}
		if (pg_wait(dial->pg, LOOK_MS, &dial->error) < 0)
			return -1;
	}
	return 0;
}

static void *
dial_main(void *arg)
{
	struct dial *dial = arg;
	const struct log_context context = { NULL, "outbox", dial->name };
	const uint64_t one = 1;

	(void)log_push(&context);
	dial->status = connect_session(dial);
	if (write(dial->done_fd, &one, sizeof(one)) < 0)
		log_fatal(EX_OSERR, "could not write to an eventfd: %m");
	drop(dial);
	(void)atomic_fetch_sub(&running, 1);
	return NULL;
}

struct dial *
dial_start(struct pg *pg, int64_t timeout_ms, const char *context)
{
	struct dial *dial = xcalloc(1, sizeof(*dial));
	sigset_t all, former;
	pthread_attr_t attr;
	int failure;

	dial->pg = pg;
	dial->timeout_ms = timeout_ms;
	dial->name = xstrdup(context);
	dial->holders = 2;
	dial->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dial->done_fd < 0)
		log_fatal(EX_OSERR, "could not make an eventfd: %m");
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &former);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	(void)atomic_fetch_add(&running, 1);
	failure = pthread_create(&dial->thread, &attr, dial_main, dial);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &former, NULL);
	if (failure != 0)
		log_fatal(EX_OSERR, "could not start a thread to connect to a database: %s",
		    strerror(failure));
	return dial;
}

int
dial_fd(const struct dial *dial)
{
	return dial->done_fd;
}

struct pg *
dial_finish(struct dial **dial_p, struct pg_error *error)
{
	struct dial *dial = *dial_p;
	struct pg *pg = NULL;

	*dial_p = NULL;
	(void)pthread_join(dial->thread, NULL);
	if (dial->status == 0) {
		pg = dial->pg;
		dial->pg = NULL;
	} else {
		*error = dial->error;
	}
	drop(dial);
	return pg;
}

void
dial_give_up(struct dial **dial_p)
{
	struct dial *dial = *dial_p;

	if (dial == NULL)
		return;
	*dial_p = NULL;
	atomic_store(&dial->given_up, true);
	(void)pthread_detach(dial->thread);
	drop(dial);
}

/* A thread that is still in TLS when the process exits would meet a torn-down OpenSSL. */
void
dial_settle(void)
{
	struct clock_mono end = clock_mono_after_ms(clock_mono_now(), SETTLE_MS);

	while (atomic_load(&running) > 0 && clock_mono_now().ns < end.ns)
		(void)poll(NULL, 0, 5);
}
