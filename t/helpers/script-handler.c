/*
 * script-handler.c - a handler for tests that does what the header "script", or else the body, says: lines of fields between tabs. Public
 * ABI only.
 *
 *   sql TEXT PARAM ...    expect ROWS VERDICT CODE    emit AGGREGATETYPE AGGREGATEID TYPE PAYLOAD    emit_header NAME VALUE    emit_delay MS
 *   field|field_if|json|header|bytes|quote NAME    insert into seen (key, what, value) what came of it
 *   body, view            the same with the whole body, and with the properties
 *   rows TEXT PARAM ...   a query; the same with each value that it gives, and with "rows" and "columns"
 *   headers, members PATH the same with each header; with each key of a group of the settings, as start() saw it
 *   act FILE              appends the key, as one that acts outside would (act_unless_failed: asks first);  until FILE: waits for it
 *   fail VERDICT CODE TEXT    again_after MS    return VERDICT    query TEXT    reply TEXT    log LEVEL TEXT
 *   shutdown              ends its slot's session, as one that takes the wrong descriptor does;  close: closes its socket
 *   crash, hang, exit     as bad handlers do;  fork: goes on in both, first in the child
 *   misuse WHAT           of the host's functions: format, bytes, size, log, config
 *
 * "\N" is NULL. Settings: name, number, wait (a duration), list, group; statement; kind; fork; fail = "text" makes start() fail ("silent",
 * "crash", "fork", "daemon", "close": in these ways); stop = "crash" or a file that stop() makes.
 */
#include <pawl/handler.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

enum { FIELDS_MOST = 64 };
static char members[256];		/* of the group "group" */
static const struct pawl_config *kept;	/* as nobody should */
static const char *at_stop = "";

static void
see(struct pawl_call *call, const struct pawl_message *msg, const char *what, const char *value)
{
	PAWL_SQL(call, "insert into seen (key, what, value) values ($1, $2, $3)", msg->key, what, value);
}

static void
view(struct pawl_call *call, const struct pawl_message *msg)
{
	see(call, msg, "key", msg->key);
	see(call, msg, "id", msg->id);
	see(call, msg, "type", msg->type);
	see(call, msg, "queue", msg->queue);
	see(call, msg, "exchange", msg->exchange);
	see(call, msg, "routing_key", msg->routing_key);
	see(call, msg, "reply_to", msg->reply_to);
	see(call, msg, "traceparent", msg->traceparent);
	see(call, msg, "attempt", pawl_format(call, "%u/%u", msg->attempt, msg->attempts));
	see(call, msg, "timeout_ms", pawl_format(call, "%lld", (long long)msg->timeout_ms));
	see(call, msg, "timestamp_ms", pawl_format(call, "%lld", (long long)msg->timestamp_ms));
}

static const char *
arg(const char *const *fields, size_t count, size_t i)
{
	return i < count && strcmp(fields[i], "\\N") != 0 ? fields[i] : NULL;
}

static void
misuse(struct pawl_call *call, const struct pawl_message *msg, const char *what)
{
	static const wchar_t no_character[] = { 0x7fffffff, 0 };

	if (strcmp(what, "format") == 0)
		see(call, msg, "format", pawl_format(call, "a%ls", no_character));
	else if (strcmp(what, "log") == 0)
		pawl_log(call, PAWL_WARNING, "a%ls", no_character);
	else if (strcmp(what, "bytes") == 0)
		see(call, msg, "bytes", pawl_bytes(call, NULL, 5));
	else if (strcmp(what, "size") == 0)
		see(call, msg, "bytes", pawl_bytes(call, msg->body, SIZE_MAX));
	else if (strcmp(what, "config") == 0)
		see(call, msg, "config", pawl_config_string(kept, "name", "none"));
}

/* true: *verdict is to be returned now. */
static int
step(struct pawl_call *call, const struct pawl_message *msg, const char *const *fields, size_t count, enum pawl_verdict *verdict)
{
	const char *name = fields[0];
	const char *a = arg(fields, count, 1), *b = arg(fields, count, 2), *c = arg(fields, count, 3), *d = arg(fields, count, 4);
	long number = a == NULL ? 0 : strtol(a, NULL, 10);

	if (strcmp(name, "sql") == 0) {
		const char *texts[FIELDS_MOST];

		for (size_t i = 1; i < count; i++)
			texts[i - 1] = arg(fields, count, i);
		call->host->sql(call, texts, count - 1);
	} else if (strcmp(name, "expect") == 0) {
		pawl_expect(call, number, (enum pawl_verdict)strtol(b, NULL, 10), c);
	} else if (strcmp(name, "emit") == 0) {
		pawl_emit(call, a, b, c, d);
	} else if (strcmp(name, "emit_header") == 0) {
		pawl_emit_header(call, a, b);
	} else if (strcmp(name, "emit_delay") == 0) {
		pawl_emit_delay(call, number);
	} else if (strcmp(name, "field") == 0) {
		see(call, msg, a, pawl_field(call, a));
	} else if (strcmp(name, "field_if") == 0) {
		see(call, msg, a, pawl_field_if(call, a));
	} else if (strcmp(name, "json") == 0) {
		see(call, msg, a, pawl_json(call, a));
	} else if (strcmp(name, "header") == 0) {
		see(call, msg, a, pawl_header(call, a));
	} else if (strcmp(name, "quote") == 0) {
		see(call, msg, "quote", pawl_quote(call, a));
	} else if (strcmp(name, "bytes") == 0) {
		see(call, msg, "bytes", pawl_bytes(call, a, strlen(a)));
	} else if (strcmp(name, "body") == 0) {
		see(call, msg, "body", pawl_body(call));
	} else if (strcmp(name, "view") == 0) {
		view(call, msg);
	} else if (strcmp(name, "fail") == 0) {
		*verdict = call->host->fail(call, (enum pawl_verdict)number, b, "%s", c == NULL ? "" : c);
		return 1;
	} else if (strcmp(name, "again_after") == 0) {
		pawl_again_after(call, number);
	} else if (strcmp(name, "return") == 0) {
		*verdict = (enum pawl_verdict)number;
		return 1;
	} else if (strcmp(name, "query") == 0) {
		(void)PAWL_QUERY(call, a);
	} else if (strcmp(name, "rows") == 0) {
		const struct pawl_rows *rows = pawl_query(call, fields + 1, count - 1);

		if (rows != NULL) {
			see(call, msg, "rows", pawl_format(call, "%d", rows->rows));
			see(call, msg, "columns", pawl_format(call, "%d", rows->columns));
			for (int i = 0; i < rows->rows * rows->columns; i++)
				see(call, msg, "value", pawl_value(rows, 0, i));
		}
	} else if (strcmp(name, "act_unless_failed") == 0) {
		return pawl_failed(call) ? 0 : step(call, msg, (const char *const[]){ "act", a }, 2, verdict);
	} else if (strcmp(name, "headers") == 0) {
		const char *header, *value;

		for (size_t i = 0; (header = pawl_header_at(call, i, &value)) != NULL; i++)
			see(call, msg, header, value);
	} else if (strcmp(name, "members") == 0) {
		see(call, msg, "members", members);
	} else if (strcmp(name, "act") == 0) {
		FILE *file = fopen(a, "a");

		if (file != NULL) {
			(void)fprintf(file, "%s\n", msg->key);
			(void)fclose(file);
		}
	} else if (strcmp(name, "until") == 0) {
		while (access(a, F_OK) != 0)
			(void)usleep(1000);
	} else if (strcmp(name, "reply") == 0) {
		pawl_reply(call, "text/plain", a, strlen(a));
	} else if (strcmp(name, "log") == 0) {
		pawl_log(call, (enum pawl_level)number, "%s", b);
	} else if (strcmp(name, "crash") == 0) {
		(void)raise(SIGSEGV);
	} else if (strcmp(name, "shutdown") == 0) {
		for (int fd = 5; fd < 100; fd++)	/* the runner's socket is at 100 */
			(void)shutdown(fd, SHUT_RDWR);
	} else if (strcmp(name, "close") == 0) {
		struct stat st;

		for (int fd = 5; fd < 100; fd++)
			if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
				(void)close(fd);
	} else if (strcmp(name, "fork") == 0) {
		int child = (int)fork();

		if (child > 0)
			(void)waitpid(child, NULL, 0);
	} else if (strcmp(name, "hang") == 0) {
		for (;;)
			(void)pause();
	} else if (strcmp(name, "exit") == 0) {
		_exit(7);
	} else if (strcmp(name, "misuse") == 0) {
		misuse(call, msg, a);
	}
	return 0;
}

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	const char *header = pawl_header(call, "script");
	char *script = header != NULL ? strdup(header) : strndup(msg->body, msg->body_size), *save_line = NULL;
	enum pawl_verdict verdict = PAWL_DONE;
	int end = 0;

	(void)self;
	for (char *line = strtok_r(script, "\n", &save_line); line != NULL && !end; line = strtok_r(NULL, "\n", &save_line)) {
		const char *fields[FIELDS_MOST];
		size_t count = 0;

		for (char *field; count < FIELDS_MOST && (field = strsep(&line, "\t")) != NULL;)
			fields[count++] = field;
		end = step(call, msg, fields, count, &verdict);
	}
	free(script);
	return verdict;
}

static int
start(const struct pawl_config *cfg, void **self)
{
	const char *fail = pawl_config_string(cfg, "fail", NULL), *statement = pawl_config_string(cfg, "statement", NULL);
	const char *kind = pawl_config_string(cfg, "kind", "effects"), *member;
	int status = 0, count = pawl_config_count(cfg, "list");

	(void)self;
	kept = cfg;
	at_stop = pawl_config_string(cfg, "stop", "");
	for (int i = 0; i < count; i++) {
		char path[32];

		(void)snprintf(path, sizeof(path), "list.[%d].name", i);
		(void)pawl_config_string(cfg, path, "");
	}
	(void)pawl_config_string(cfg, "name", "");
	(void)pawl_config_int(cfg, "number", 0);
	(void)pawl_config_ms(cfg, "wait", 0);
	if (strcmp(kind, "effects") != 0)
		(void)pawl_config_kind(cfg, strcmp(kind, "reads") == 0 ? PAWL_READS :
		    strcmp(kind, "external") == 0 ? PAWL_EXTERNAL : (enum pawl_kind)9);
	for (int i = 0; (member = pawl_config_member(cfg, "group", i)) != NULL; i++) {
		char path[64];
		size_t len = strlen(members);

		(void)snprintf(path, sizeof(path), "group.%s", member);
		(void)snprintf(members + len, sizeof(members) - len, "%s=%s;", member, pawl_config_string(cfg, path, "(group)"));
		(void)snprintf(path, sizeof(path), "group.%s.deep", member);
		(void)pawl_config_string(cfg, path, "");
	}
	member = pawl_config_string(cfg, "ca_file", NULL);
	if (member != NULL)
		(void)snprintf(members, sizeof(members), "ca_file=%s;secret=%s;token=%s;", member, pawl_config_secret(cfg, "password_file"),
		    pawl_config_secret(cfg, "header_files.Token"));
	if (pawl_config_string(cfg, "fork", NULL) != NULL)
		(void)!fork();
	if (statement != NULL)
		status |= pawl_config_statement(cfg, "statement", statement);
	if (fail != NULL && strcmp(fail, "crash") == 0)
		(void)raise(SIGSEGV);
	if (fail != NULL && strcmp(fail, "fork") == 0)
		return fork() < 0 ? -1 : 0;
	if (fail != NULL && strcmp(fail, "daemon") == 0)
		return daemon(1, 1);
	for (int fd = 3; fail != NULL && strcmp(fail, "close") == 0 && fd < 1024; fd++)
		(void)close(fd);
	if (fail != NULL && strcmp(fail, "silent") == 0)
		return -1;
	if (fail != NULL)
		status |= pawl_config_error(cfg, "fail", "%s", fail);
	return status;
}

static void
stop(void *self)
{
	(void)self;
	if (strcmp(at_stop, "crash") == 0)
		(void)raise(SIGSEGV);
	else if (at_stop[0] != '\0')
		(void)close(open(at_stop, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
}

PAWL_HANDLER(.name = "script", .version = "2.1", .start = start, .handle = handle, .stop = stop);
