/*
 * slot_session.c - see slot_session.h.
 */
#include "runtime/slot_session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/schema.h"
#include "util/arena.h"
#include "util/log.h"
#include "util/loop.h"

enum {
	IDLE_IN_TRANSACTION_MS = 30000,
	CONNECTION_CHECK_MS = 1000,
	TCP_USER_TIMEOUT_MS = 30000,
	TERMINATE_MS = 5000,		/* for a lost backend to go */
	POOLER_LOOKS = 4,
	PATIENCE_MS = 30000		/* beyond the server's own time-outs */
};

void
slot_session_init(struct slot_session *s, const struct slot_setup *setup)
{
	int64_t statement_ms = setup->timeout_ms - setup->timeout_ms / 10;
	int64_t lock_ms = setup->timeout_ms / 2;
	char *name = xasprintf("pawl-slot %s", setup->consumer);
	char statement[24], lock[24], idle[24], check[24], tcp[24];

	(void)snprintf(
	    statement, sizeof(statement), "%lld", (long long)(statement_ms > 0 ? statement_ms : 1));
	(void)snprintf(lock, sizeof(lock), "%lld", (long long)(lock_ms > 0 ? lock_ms : 1));
	(void)snprintf(idle, sizeof(idle), "%d", IDLE_IN_TRANSACTION_MS);
	(void)snprintf(check, sizeof(check), "%d", CONNECTION_CHECK_MS);
	(void)snprintf(tcp, sizeof(tcp), "%d", TCP_USER_TIMEOUT_MS);

	const char *const settings[] = {
		"statement_timeout", statement,
		"lock_timeout", lock,
		"idle_in_transaction_session_timeout", idle,
		"idle_session_timeout", "0",		/* waiting for work is our trade */
		"client_connection_check_interval", check,
		"tcp_user_timeout", tcp,
		"standard_conforming_strings", "on",
		NULL
	};

	memset(s, 0, sizeof(*s));
	s->pg = pg_new(setup->conninfo, name, settings);
	s->patience_ms = statement_ms + PATIENCE_MS;
	s->checks_schema = setup->dedup == DEDUP_POSTGRES;
	free(name);
}

void
slot_session_release(struct slot_session *s)
{
	pg_free(&s->pg);
}

bool
slot_session_is_up(const struct slot_session *s)
{
	enum pg_state state = pg_state(s->pg);

	return state == PG_READY || state == PG_BUSY;
}

bool
slot_session_has_socket(const struct slot_session *s)
{
	int fd = slot_session_is_up(s) ? pg_fd(s->pg) : -1;
	struct stat st;

	return fd < 0 || (fstat(fd, &st) == 0 && st.st_ino == s->socket);
}

void
slot_session_close(struct slot_session *s)
{
	pg_close(s->pg);
	s->open_transaction = false;
}

enum pg_answer
slot_session_next(struct slot_session *s, struct pg_result **result, struct pg_error *error)
{
	struct clock_mono deadline = { 0 };

	for (;;) {
		enum pg_answer answer = pg_next(s->pg, result, error);
		int64_t left;

		if (answer != PG_NOTHING)
			return answer;
		if (deadline.ns == 0)
			deadline = clock_mono_after_ms(clock_mono_now(), s->patience_ms);
		left = clock_ms_between(clock_mono_now(), deadline);
		if (left > 0 && pg_wait(s->pg, left, error) >= 0)
			continue;
		if (left <= 0) {
			pg_error_set(error, PG_CLASS_ENVIRONMENT,
			    "the database did not answer for %lld s",
			    (long long)(s->patience_ms / 1000));
			error->lost = true;
		}
		slot_session_close(s);
		return PG_LOST;
	}
}

int
slot_session_roll_back(struct slot_session *s, struct pg_error *error)
{
	struct pg_error here;
	bool lost = false, refused = false;

	if (!s->open_transaction)
		return 0;
	s->open_transaction = false;
	if (!slot_session_is_up(s) || pg_transaction(s->pg) == 'I')
		return 0;
	/* Not prepared: the statements may just have been lost. A send that fails is told by its
	 * answer. */
	pg_send_query(s->pg, "rollback", 0, NULL);
	pg_send_sync(s->pg);
	for (;;) {
		struct pg_result *result;
		enum pg_answer answer = slot_session_next(s, &result, &here);

		pg_result_free(&result);
		if (answer == PG_SYNC)
			break;
		lost = lost || answer == PG_LOST;
		refused = refused || answer == PG_ERROR;
		if (lost || refused)
			*error = here;
		if (lost)
			return -1;
	}
	if (!refused && pg_transaction(s->pg) == 'I')
		return 0;
	slot_session_close(s);		/* whatever it is, this session is not to be trusted */
	error->class = PG_CLASS_ENVIRONMENT;
	error->lost = true;
	return -1;
}

/* One row of texts; their values are copied. -1: error. */
static int
query_row(struct slot_session *s, struct pg_error *error, const char *sql, int n,
    const char *const *params, struct pg_result **result)
{
	if (pg_query(s->pg, s->patience_ms, result, error, sql, n, params) != 0)
		return -1;
	if (*result != NULL && pg_rows(*result) <= 1)
		return 0;
	pg_result_free(result);
	pg_error_set(error, PG_CLASS_ENVIRONMENT, "the database gave an answer of a wrong shape");
	return -1;
}

static void
copy_value(char *out, size_t size, const struct pg_result *result, int column)
{
	const char *value = pg_value(result, 0, column);

	(void)snprintf(out, size, "%s", value == NULL ? "" : value);
}

static int
end_predecessor(struct slot_session *s, struct pg_error *error)
{
	static const char sql[] =
	    "select pg_catalog.pg_terminate_backend(pid, $3::bigint)"
	    " from pg_catalog.pg_stat_activity where pid = $1::int"
	    " and (extract(epoch from backend_start) * 1000000)::bigint = $2::bigint";
	char wait[24];
	const char *params[] = { s->backend_pid, s->backend_start, wait };
	struct pg_result *result = NULL;

	if (s->backend_pid[0] == '\0')
		return 0;
	(void)snprintf(wait, sizeof(wait), "%d", TERMINATE_MS);
	if (query_row(s, error, sql, (int)ARRAY_SIZE(params), params, &result) != 0)
		return -1;
	if (pg_rows(result) == 1)
		log_info("terminated the backend of the lost session (pid %s)", s->backend_pid);
	pg_result_free(&result);
	s->backend_pid[0] = '\0';
	return 0;
}

int
slot_session_check_backend(struct slot_session *s, struct pg_error *error)
{
	static const char pid_sql[] = "select pg_catalog.pg_backend_pid()";

	for (int i = 0; i < POOLER_LOOKS && s->pooled; i++) {
		struct pg_result *result = NULL;
		char pid[16] = "";

		if (query_row(s, error, pid_sql, 0, NULL, &result) != 0)
			return -1;
		if (pg_rows(result) == 1)
			copy_value(pid, sizeof(pid), result, 0);
		pg_result_free(&result);
		if (strcmp(pid, s->backend_pid) != 0) {
			slot_session_pooler_error(error);
			return -1;
		}
	}
	return 0;
}

/* What must be true of a new session, and what must be known of it. */
static int
look_around(struct slot_session *s, struct pg_error *error)
{
	static const char sql[] =
	    "select pid, (extract(epoch from backend_start) * 1000000)::bigint,"
	    " current_setting('transaction_read_only'),"
	    " case current_setting('synchronous_commit') when 'off'"
	    " then set_config('synchronous_commit', 'on', false) end"
	    " from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid()";
	struct pg_result *result = NULL;
	char pid[16] = "", start[32] = "", read_only[8] = "", protocol_pid[16];

	if (query_row(s, error, sql, 0, NULL, &result) != 0)
		return -1;
	if (pg_rows(result) == 1 && pg_columns(result) == 4) {
		copy_value(pid, sizeof(pid), result, 0);
		copy_value(start, sizeof(start), result, 1);
		copy_value(read_only, sizeof(read_only), result, 2);
	}
	pg_result_free(&result);
	if (strcmp(read_only, "off") != 0) {
		pg_error_set(error, PG_CLASS_ENVIRONMENT, "the database is read-only (a standby?)");
		return -1;
	}
	if (end_predecessor(s, error) != 0)
		return -1;
	(void)snprintf(protocol_pid, sizeof(protocol_pid), "%d", pg_backend_pid(s->pg));
	memcpy(s->backend_pid, pid, sizeof(pid));
	memcpy(s->backend_start, start, sizeof(start));
	/* A pooler makes up the pid of the log-in. Whether it pools by transaction shows when
	 * the real one changes. */
	s->pooled = strcmp(protocol_pid, pid) != 0;
	if (slot_session_check_backend(s, error) != 0)
		return -1;
	return s->checks_schema ? schema_check(s->pg, error) : 0;
}

void
slot_session_pooler_error(struct pg_error *error)
{
	pg_error_set(error, PG_CLASS_ENVIRONMENT,
	    "cannot work through a pooler in transaction mode (the backend's pid changes):"
	    " use session mode, or connect to the server itself");
}

/* Waits for the session or for wake_fd. true: wake_fd. */
static bool
wait_for_either(const struct slot_session *s, int wake_fd, int64_t left_ms)
{
	unsigned events = pg_events(s->pg);
	struct pollfd p[2] = { { .fd = pg_fd(s->pg) }, { .fd = wake_fd, .events = POLLIN } };

	p[0].events = (short)((events & LOOP_READ ? POLLIN : 0) | (events & LOOP_WRITE ? POLLOUT : 0));
	if (poll(p, 2, left_ms > 0 ? (int)left_ms : 0) < 0 && errno != EINTR)
		log_warning("could not wait for the database: %m");
	return p[1].revents != 0;
}

/* Of those a handler may have closed one. Were the socket there next, the database would get what is printed. */
static void
occupy_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

enum slot_session_status
slot_session_open(struct slot_session *s, int wake_fd, int64_t patience_ms, struct pg_error *error)
{
	struct stat st;

	if (pg_state(s->pg) == PG_DOWN) {
		occupy_standard_fds();
		s->open_transaction = false;
		s->connect_deadline = clock_mono_after_ms(clock_mono_now(), patience_ms);
		if (pg_connect_start(s->pg, error) != 0)
			return SESSION_FAILED;
	}
	while (pg_state(s->pg) == PG_CONNECTING) {
		int64_t left = clock_ms_between(clock_mono_now(), s->connect_deadline);

		if (left <= 0) {
			slot_session_close(s);
			pg_error_set(error, PG_CLASS_ENVIRONMENT,
			    "could not connect to the database: no answer within %lld s",
			    (long long)(patience_ms / 1000));
			return SESSION_FAILED;
		}
		if (wait_for_either(s, wake_fd, left))
			return SESSION_WOKEN;
		if (pg_step(s->pg, error) != 0)
			return SESSION_FAILED;
	}
	if (look_around(s, error) != 0) {
		slot_session_close(s);
		return SESSION_FAILED;
	}
	s->socket = fstat(pg_fd(s->pg), &st) == 0 ? st.st_ino : 0;
	return SESSION_UP;
}
