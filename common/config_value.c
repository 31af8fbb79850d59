/*
 * config_value.c - reads durations, sizes and ${NAME} as people write them. Any program; ends nothing.
 */
#include "common/config_value.h"

#include <ctype.h>
#include <limits.h>

#include "util/buf.h"

struct unit { const char *name; int64_t factor; };

static const struct unit duration_units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 },
	{ "h", 60 * 60 * 1000 }, { "d", 24 * 60 * 60 * 1000 } };
static const struct unit size_units[] = {
	{ "B", 1 }, { "KiB", 1024 }, { "MiB", 1024 * 1024 }, { "GiB", 1024 * 1024 * 1024 }
};

/* What people write for a unit that we have under another name. */
static const struct { const char *written, *meant;
} habits[] = { { "sec", "s" }, { "secs", "s" }, { "second", "s" }, { "seconds", "s" },
	{ "min", "m" }, { "mins", "m" }, { "minute", "m" }, { "minutes", "m" }, { "hour", "h" },
	{ "hours", "h" }, { "day", "d" }, { "days", "d" }, { "msec", "ms" }, { "S", "s" },
	{ "H", "h" }, { "D", "d" }, { "b", "B" }, { "bytes", "B" }, { "k", "KiB" }, { "K", "KiB" },
	{ "kb", "KiB" }, { "kB", "KiB" }, { "KB", "KiB" }, { "kib", "KiB" }, { "M", "MiB" },
	{ "mb", "MiB" }, { "MB", "MiB" }, { "mib", "MiB" }, { "g", "GiB" }, { "G", "GiB" },
	{ "gb", "GiB" }, { "GB", "GiB" }, { "gib", "GiB" } };

static const struct unit *
find_unit(const struct unit *units, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(units[i].name, name) == 0)
			return &units[i];
	return NULL;
}

static int
read_number(const char *text, const struct unit *units, size_t count, const char *example,
    int64_t *out, char *error, size_t error_size)
{
	const char *at = text;
	int64_t number = 0;
	bool overflow = false;

	if (!isdigit((unsigned char)*at)) {
		snprintf(error, error_size, "is no whole number with a unit; write it like \"%s\"",
		    example);
		return -1;
	}
	for (; isdigit((unsigned char)*at); at++)
		overflow |= __builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, *at - '0', &number);
	if (*at == '\0' && number == 0 && !overflow) {	/* nothing needs no unit */
		*out = 0;
		return 0;
	}
	const struct unit *unit = find_unit(units, count, at);
	if (unit == NULL) {
		const char *meant = NULL;

		for (size_t i = 0; i < ARRAY_SIZE(habits); i++)
			if (strcmp(habits[i].written, at) == 0 &&
			    find_unit(units, count, habits[i].meant) != NULL)
				meant = habits[i].meant;
		if (*at == '\0')
			snprintf(error, error_size, "has no unit; write it like \"%s\"", example);
		else if (meant != NULL && at - text < 20)
			snprintf(error, error_size, "has an unknown unit; write \"%.*s%s\"",
			    (int)(at - text), text, meant);
		else
			snprintf(error, error_size,
			    "is no number with one of the units %s; write it like \"%s\"",
			    units == size_units ? "B KiB MiB GiB" : "ms s m h d", example);
		return -1;
	}
	if (overflow || __builtin_mul_overflow(number, unit->factor, out)) {
		snprintf(error, error_size, "is too large");
		return -1;
	}
	return 0;
}

int
config_duration(const char *text, int64_t *ms, char *error, size_t error_size)
{
	return read_number(
	    text, duration_units, ARRAY_SIZE(duration_units), "30s", ms, error, error_size);
}

int
config_size(const char *text, int64_t *bytes, char *error, size_t error_size)
{
	return read_number(
	    text, size_units, ARRAY_SIZE(size_units), "64MiB", bytes, error, error_size);
}

static const char *
number_text(struct arena *arena, int64_t number, const struct unit *units, size_t count)
{
	for (size_t i = count - 1; i > 0; i--)
		if (number != 0 && number % units[i].factor == 0)
			return arena_printf(arena, "%lld%s", (long long)(number / units[i].factor),
			    units[i].name);
	return arena_printf(arena, "%lld%s", (long long)number, units[0].name);
}

const char *
config_duration_text(struct arena *arena, int64_t ms)
{
	return ms == 0 ? "0s" : number_text(arena, ms, duration_units, ARRAY_SIZE(duration_units));
}

const char *
config_size_text(struct arena *arena, int64_t bytes)
{
	return number_text(arena, bytes, size_units, ARRAY_SIZE(size_units));
}

static bool
is_variable_name(const char *name, size_t len)
{
	if (len == 0 || isdigit((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '_')
			return false;
	return true;
}

const char *
config_expand(struct arena *arena, const char *text, char *error, size_t error_size)
{
	struct buf out = BUF_INIT;
	const char *result = NULL;

	for (const char *at = text; *at != '\0';) {
		if (strncmp(at, "$${", 3) == 0) {
			buf_puts(&out, "${");
			at += 3;
			continue;
		}
		if (strncmp(at, "${", 2) != 0) {
			buf_putc(&out, *at++);
			continue;
		}
		const char *name = at + 2;
		const char *end = strchr(name, '}');

		if (end == NULL) {
			snprintf(error, error_size,
			    "a \"${\" has no \"}\"; write \"$${\" if no variable is meant");
			goto out;
		}
		size_t len = (size_t)(end - name);

		if (len > 255 || !is_variable_name(name, len)) {
			snprintf(error, error_size,
			    "between \"${\" and \"}\" must be the name of an environment variable");
			goto out;
		}
		char variable[256];

		memcpy(variable, name, len);
		variable[len] = '\0';
		const char *value = getenv(variable);

		if (value == NULL) {
			snprintf(error, error_size, "the environment variable %s is not set",
			    variable);
			goto out;
		}
		buf_puts(&out, value);
		at = end + 1;
	}
	result = arena_memdup(arena, out.data, out.len);
out:
	if (out.len > 0)
		explicit_bzero(out.data, out.len);
	buf_release(&out);
	return result;
}

const char *
config_variable(struct arena *arena, const char *text, size_t *at)
{
	while (text[*at] != '\0') {
		const char *here = text + *at;

		if (strncmp(here, "$${", 3) == 0) {
			*at += 3;
		} else if (strncmp(here, "${", 2) == 0) {
			size_t len = strcspn(here + 2, "}");

			*at += 2 + len;
			return arena_memdup(arena, here + 2, len);
		} else {
			(*at)++;
		}
	}
	return NULL;
}

static const char *
quote(struct arena *arena, const char *text, size_t most)
{
	struct buf out = BUF_INIT;
	size_t len = strnlen(text, most + 1), shown = len > most ? most : len;
	const char *result;

	while (shown < len && shown > most - 4 && ((unsigned char)text[shown] & 0xc0) == 0x80)
		shown--;		/* not in the middle of a character */
	buf_putc(&out, '"');
	for (size_t i = 0; i < shown; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\n')
			buf_puts(&out, "\\n");
		else if (c == '\t')
			buf_puts(&out, "\\t");
		else if (c < 0x20 || c == 0x7f)
			buf_printf(&out, "\\x%02x", c);
		else
			buf_putc(&out, (char)c);
	}
	buf_puts(&out, len > shown ? "\"..." : "\"");
	result = arena_memdup(arena, out.data, out.len);
	buf_release(&out);
	return result;
}

const char *
config_quote(struct arena *arena, const char *text)
{
	return quote(arena, text, 60);
}

const char *
config_quote_path(struct arena *arena, const char *path)
{
	return quote(arena, path, PATH_MAX);
}
