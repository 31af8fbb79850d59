/*
 * config_text.c - reads a configuration file and what it includes.
 */
#include "common/config_text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config_scan.h"
#include "common/config_value.h"

struct config_include {			/* the files that are open, innermost first */
	const struct config_include *up;
	dev_t device;
	ino_t inode;
	const char *file;
	unsigned depth;
};

static void
new_line(struct config_text *t, const char *file, unsigned line)
{
	if (t->line_count == t->line_cap) {
		t->line_cap = t->line_cap == 0 ? 256 : t->line_cap * 2;
		t->lines = xrealloc(t->lines, t->line_cap * sizeof(*t->lines));
	}
	t->lines[t->line_count++] = (struct config_line){ file, (int)line };
}

/* Begins a line of another file than the one before, unless nothing is on this line yet. */
static void
turn_to(struct config_text *t, const char *file, unsigned line)
{
	if (t->text.len > 0 && t->text.data[t->text.len - 1] != '\n')
		buf_putc(&t->text, '\n');
	else if (t->line_count > 0)
		t->line_count--;
	new_line(t, file, line);
}

static void
copy(struct config_text *t, const char *file, unsigned line, const char *bytes, size_t len)
{
	buf_append(&t->text, bytes, len);
	for (const char *end = bytes + len;
	     (bytes = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL; bytes++)
		new_line(t, file, ++line);
}

struct config_line
config_text_line(const struct config_text *t, unsigned line)
{
	if (t->line_count == 0)
		return (struct config_line){ "", 0 };
	if (line < 1)
		line = 1;
	return t->lines[line <= t->line_count ? line - 1 : t->line_count - 1];
}

/* The whole file. NULL: an error was given. */
static char *
read_file(struct config_text *t, const char *file, const struct config_line *from,
    struct config_include *include, size_t *size)
{
	struct buf bytes = BUF_INIT;
	struct stat st;
	char *result = NULL;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *at = from != NULL ? from->file : file;
	int line = from != NULL ? from->line : 0;
	const char *what = "configuration file";

	if (from != NULL)
		what = arena_printf(t->arena, "included file %s", config_quote_path(t->arena, file));
	if (fd < 0) {
		config_error(
		    t->errors, at, line, NULL, "could not open %s: %s", what, strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) < 0) {
		config_error(
		    t->errors, at, line, NULL, "could not look at %s: %s", what, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		config_error(t->errors, at, line, NULL, "%s is %s", what,
		    S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
		goto out;
	}
	include->device = st.st_dev;
	include->inode = st.st_ino;
	for (const struct config_include *i = t->innermost; i != NULL; i = i->up)
		if (i->device == st.st_dev && i->inode == st.st_ino) {
			config_error(t->errors, at, line, NULL,
			    "%s includes itself, here or through others", what);
			goto out;
		}
	for (;;) {
		ssize_t n = read(fd, buf_reserve(&bytes, 65536), 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			config_error(t->errors, at, line, NULL, "could not read %s: %s", what,
			    strerror(errno));
			goto out;
		}
		if (n == 0)
			break;
		bytes.len += (size_t)n;
		if (bytes.len + t->text.len > CONFIG_TEXT_SIZE_MAX) {
			config_error(t->errors, at, line, NULL,
			    "%s is too large: all files together may have %d MiB", what,
			    CONFIG_TEXT_SIZE_MAX / (1024 * 1024));
			goto out;
		}
	}
	*size = bytes.len;
	result = buf_detach(&bytes);
out:
	buf_release(&bytes);
	close(fd);
	return result;
}

/* A relative name counts from the directory of the file that includes it. */
static const char *
included_name(struct arena *arena, const char *by, struct slice raw)
{
	char *name = arena_memdup(arena, raw.data, raw.len);
	char *to = name;
	const char *slash = strrchr(by, '/');

	for (const char *from = name; *from != '\0'; from++) {
		if (from[0] == '\\' && (from[1] == '\\' || from[1] == '"'))
			from++;
		*to++ = *from;
	}
	*to = '\0';
	if (name[0] == '/' || slash == NULL)
		return name;
	return arena_printf(arena, "%.*s%s", (int)(slash - by + 1), by, name);
}

static int
write_integer(struct config_text *t, const char *file, const struct config_scan *s)
{
	char digits[32];
	size_t len = s->raw.len;
	bool is_long = len > 0 && s->raw.data[len - 1] == 'L';
	char *end;
	long long number;

	while (len > 0 && s->raw.data[len - 1] == 'L')
		len--;
	errno = 0;
	if (len < sizeof(digits)) {
		memcpy(digits, s->raw.data, len);
		digits[len] = '\0';
		number = strtoll(
		    digits, &end, len > 1 && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10);
	}
	if (len >= sizeof(digits) || errno != 0) {
		config_error(t->errors, file, (int)s->line, NULL, "the number %.20s%s is too large",
		    s->raw.data, len > 20 ? "..." : "");
		return -1;
	}
	buf_slice(&t->text, s->raw);
	if (!is_long && (number > INT_MAX || number < INT_MIN))
		buf_putc(&t->text, 'L');
	return 0;
}

/* A comma or bracket right behind the last token, before the blanks and comments that have been copied since. */
static void
put_behind_last(struct config_text *t, char c)
{
	size_t tail = t->text.len - t->last_end;

	buf_putc(&t->text, c);
	memmove(t->text.data + t->last_end + 1, t->text.data + t->last_end, tail);
	t->text.data[t->last_end] = c;
	t->last_at = t->last_end++;
}

static int	add_file(struct config_text *, const char *file, const struct config_line *from);

static void
put_token(struct config_text *t, const char *file, const struct config_scan *s)
{
	char c = s->raw.data[0];
	bool in_list = s->token == TOKEN_COMMA || (s->token == TOKEN_CLOSE && c != '}');

	if (in_list && s->token == TOKEN_CLOSE && t->last == TOKEN_COMMA &&
	    t->last_but_one != TOKEN_OPEN && t->last_but_one != TOKEN_COMMA) {
		t->text.data[t->last_at] = c;		/* instead of the comma */
	} else if (in_list && t->last == TOKEN_TEXT) {
		put_behind_last(t, c);
	} else {
		t->last_at = t->text.len;
		copy(t, file, s->line, s->raw.data, s->raw.len);
		t->last_end = t->text.len;
	}
}

/* -1: an error was given. */
static int
add_token(struct config_text *t, const char *file, const struct config_scan *s)
{
	struct config_line here = { file, (int)s->line };

	switch (s->token) {
	case TOKEN_INCLUDE:
		if (t->innermost->depth == CONFIG_TEXT_INCLUDES_MAX) {
			config_error(t->errors, file, here.line, NULL,
			    "files include each other deeper than %d times",
			    CONFIG_TEXT_INCLUDES_MAX);
			return -1;
		}
		if (add_file(t, included_name(t->arena, file, s->value), &here) < 0)
			return -1;
		turn_to(t, file, s->line_at);
		return 0;
	case TOKEN_INTEGER:
		if (write_integer(t, file, s) < 0)
			return -1;
		break;
	case TOKEN_OPEN:
		if (++t->depth > CONFIG_TEXT_DEPTH_MAX) {
			config_error(t->errors, file, here.line, NULL,
			    "groups and lists are nested deeper than %d times",
			    CONFIG_TEXT_DEPTH_MAX);
			return -1;
		}
		break;
	case TOKEN_CLOSE:
		t->depth -= t->depth > 0;
		break;
	case TOKEN_EQUALS:
		if (++t->settings > CONFIG_TEXT_SETTINGS_MAX) {
			config_error(t->errors, file, here.line, NULL, "more than %d settings",
			    CONFIG_TEXT_SETTINGS_MAX);
			return -1;
		}
		break;
	case TOKEN_TEXT:
		if (s->has_nul) {
			config_error(t->errors, file, here.line, NULL,
			    "a text cannot hold a NUL byte (\\x00)");
			return -1;
		}
		break;
	default:
		break;
	}
	if (s->token != TOKEN_INTEGER)
		put_token(t, file, s);
	t->last_but_one = t->last;
	t->last = s->token;
	return 0;
}

static int
add_file(struct config_text *t, const char *file, const struct config_line *from)
{
	struct config_include include = { .up = t->innermost,
		.file = file,
		.depth = t->innermost == NULL ? 1 : t->innermost->depth + 1 };
	struct config_scan s;
	size_t size;
	int result = -1;
	char *bytes = read_file(t, file, from, &include, &size);

	if (bytes == NULL)
		return -1;
	const char *nul = memchr(bytes, '\0', size);
	struct slice text = { bytes, size };

	if (nul != NULL) {
		unsigned line = 1;

		for (const char *c = bytes; c < nul; c++)
			line += *c == '\n';
		config_error(t->errors, file, (int)line, NULL, "a NUL byte: this is no text file");
		free(bytes);
		return -1;
	}
	if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)		/* a byte order mark */
		text = (struct slice){ bytes + 3, size - 3 };
	t->innermost = &include;
	turn_to(t, file, 1);
	config_scan_init(&s, text);
	do {
		size_t before = s.at;
		unsigned line = s.line_at;

		config_scan_next(&s);
		/* What is between the tokens goes over as it is, for the sake of the lines; an unfinished rest as well. */
		size_t start = s.token == TOKEN_END ? s.at : (size_t)(s.raw.data - text.data);

		copy(t, file, line, text.data + before, start - before);
		if (s.token != TOKEN_END && add_token(t, file, &s) < 0)
			goto out;
	} while (
	    s.token != TOKEN_END && s.token != TOKEN_OPEN_TEXT && s.token != TOKEN_OPEN_COMMENT);
	result = 0;
out:
	t->innermost = include.up;
	explicit_bzero(bytes, size);	/* a URI may hold a password */
	free(bytes);
	return result;
}

int
config_text_load(
    struct config_text *t, const char *file, struct arena *arena, struct config_errors *errors)
{
	*t = (struct config_text){ .text = BUF_INIT, .arena = arena, .errors = errors, .last = TOKEN_END, .last_but_one = TOKEN_END };
	return add_file(t, arena_strdup(arena, file), NULL);
}

void
config_text_release(struct config_text *t)
{
	if (t->text.len > 0)
		explicit_bzero(t->text.data, t->text.len);	/* a URI may hold a password */
	buf_release(&t->text);
	free(t->lines);
	t->lines = NULL;
	t->line_count = t->line_cap = 0;
}
