/*
 * log.c - see log.h. Nothing here allocates, so that it also works when there is no memory. A line
 * is at most PIPE_BUF bytes: so lines of several processes that share one pipe never mix (pipe(7)).
 */
#include "util/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/slice.h"
#include "util/utf8.h"

enum { TAIL = 8, VALUE_MAX = 256, CONTEXT_MAX = 16 };	/* TAIL: room for ..."}\n */

struct line { char data[PIPE_BUF]; size_t len; bool full; };

static const char *const level_text[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug",
};
static const int level_priority[] = {		/* sd-daemon(3) */
	[LOG_LEVEL_ERROR] = 3, [LOG_LEVEL_WARNING] = 4, [LOG_LEVEL_INFO] = 6, [LOG_LEVEL_DEBUG] = 7,
};
static const char *program, *role;
static enum log_level most_level = LOG_LEVEL_INFO;
static enum log_format format;
static bool journal;				/* stderr goes to systemd's journal */
static _Thread_local const struct log_context *context;

/* JOURNAL_STREAM names the stream, because children inherit it also when their stderr is another
   one (systemd.exec(5)). */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	    fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void
log_init(const char *name, enum log_level most, enum log_format how)
{
	program = name;
	most_level = most;
	format = how;
	journal = stderr_is_journal();
}

void
log_set_role(const char *name)
{
	role = name;
}

const struct log_context *
log_push(const struct log_context *innermost)
{
	const struct log_context *former = context;

	context = innermost;
	return former;
}

void
log_pop(const struct log_context *former)
{
	context = former;
}

bool
log_enabled(enum log_level level)
{
	return level <= most_level;
}

bool
log_is_json(void)
{
	return format == LOG_FORMAT_JSON;
}

/* All of it or nothing; once something did not fit, nothing more is put. */
static void put(struct line *, const char *fmt, ...) ATTR_PRINTF(2, 3);
static void
put(struct line *line, const char *fmt, ...)
{
	size_t room = sizeof(line->data) - TAIL - line->len;
	va_list args;
	int len;

	va_start(args, fmt);
	len = line->full ? -1 : vsnprintf(line->data + line->len, room, fmt, args);
	va_end(args);
	if (len < 0 || (size_t)len >= room)
		line->full = true;
	else
		line->len += (size_t)len;
}

static void
put_escaped(struct line *line, struct slice text)
{
	bool json = format == LOG_FORMAT_JSON;

	for (size_t at = 0, n; at < text.len && !line->full; at += n) {
		const char *p = text.data + at;
		unsigned char c = (unsigned char)p[0];

		n = utf8_length(p, text.len - at);
		if (n == 0 && json) {
			put(line, "\\ufffd");
		} else if (c == '\n' || c == '"' || c == '\\') {
			put(line, "\\%c", c == '\n' ? 'n' : c);
		} else if (n == 0 || c < 0x20 || c == 0x7f) {
			put(line, json ? "\\u%04x" : "\\x%02x", c);
		} else if (c == 0xc2 && (unsigned char)p[1] < 0xa0) {	/* C1: a terminal obeys */
			put(line, json ? "\\u%04x" : "\\xc2\\x%02x", (unsigned char)p[1]);
		} else if (n < sizeof(line->data) - TAIL - line->len) {
			memcpy(line->data + line->len, p, n);
			line->len += n;
		} else {
			line->full = true;
		}
		n += n == 0;
	}
}

static bool
is_bare(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] <= ' ' || text.data[i] > '~' ||
		    strchr("\"'=\\", text.data[i]) != NULL)
			return false;
	}
	return text.len > 0;
}

static void
put_field(struct line *line, const char *name, const char *value)
{
	struct slice text = { value, value == NULL ? 0 : strnlen(value, VALUE_MAX) };
	bool json = format == LOG_FORMAT_JSON, quoted = json || !is_bare(text);

	put(line, json ? "\"%s\":" : "%s=", name);
	put(line, quoted ? "\"" : "");
	put_escaped(line, text);
	put(line, "%s%s", quoted ? "\"" : "", json ? "," : " ");
}

static void
put_time(struct line *line)
{
	struct clock_wall now = clock_wall_now();
	time_t seconds = (time_t)(now.ms / 1000);
	char text[32];
	struct tm tm;

	if (gmtime_r(&seconds, &tm) != NULL &&
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) > 0)
		put(line, format == LOG_FORMAT_JSON ? "\"time\":\"%s.%03dZ\"," : "time=%s.%03dZ ",
		    text, (int)(now.ms % 1000));
}

/* Outermost first; of several with one name the innermost counts. */
static void
put_context(struct line *line)
{
	const struct log_context *shown[CONTEXT_MAX];
	size_t count = 0;

	for (const struct log_context *c = context; c != NULL && count < CONTEXT_MAX; c = c->up) {
		bool hidden = false;

		for (size_t i = 0; i < count && !hidden; i++)
			hidden = strcmp(shown[i]->name, c->name) == 0;
		if (!hidden)
			shown[count++] = c;
	}
	while (count-- > 0)
		put_field(line, shown[count]->name, shown[count]->value);
}

/* truncated: text is only the beginning. */
static void
write_line(enum log_level level, const char *text, bool truncated)
{
	struct line line = { .len = 0 };
	bool json = format == LOG_FORMAT_JSON;

	if (journal)
		put(&line, "<%d>", level_priority[level]);
	put(&line, json ? "{" : "%s", "");
	if (!journal)
		put_time(&line);
	put_field(&line, "level", level_text[level]);
	put_field(&line, "program", program == NULL ? program_invocation_short_name : program);
	if (role != NULL)
		put_field(&line, "role", role);
	put(&line, json ? "\"pid\":%ld," : "pid=%ld ", (long)getpid());
	put_context(&line);
	put(&line, json ? "\"msg\":\"" : "msg=\"");
	put_escaped(&line, slice_of(text));

	const char *end =
	    line.full || truncated ? (json ? "...\"}\n" : "...\"\n") : (json ? "\"}\n" : "\"\n");

	memcpy(line.data + line.len, end, strlen(end));		/* at most TAIL */
	line.len += strlen(end);
	while (write(STDERR_FILENO, line.data, line.len) < 0 && errno == EINTR)
		;
}

static void ATTR_PRINTF(2, 0)
log_v(enum log_level level, const char *fmt, va_list args)
{
	int saved = errno, len;
	char text[PIPE_BUF];

	len = vsnprintf(text, sizeof(text), fmt, args);		/* the C library knows %m */
	if (len < 0)
		len = snprintf(text, sizeof(text), "cannot format the message \"%.100s\"", fmt);
	write_line(level, text, (size_t)len >= sizeof(text));
	errno = saved;
}

void
log_at(enum log_level level, const char *fmt, ...)
{
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	log_v(level, fmt, args);
	va_end(args);
}

void
log_fatal(int exit_code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_v(LOG_LEVEL_ERROR, fmt, args);
	va_end(args);
	exit(exit_code);
}
