/*
 * exec_json.c - see exec_json.h. The scanner is util's, as for bodies: json-c would change numbers, and say nothing of a member
 * that stands twice.
 */
#include "handlers/exec/exec_json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

enum { SHOWN = 100 };

void
exec_json_init(struct exec_json *j, struct slice line)
{
	enum json_status status;
	size_t offset = 0;

	*j = (struct exec_json){ .line = line, .error = BUF_INIT };
	status = json_scan_check(line, &offset);
	if (status != JSON_OK)
		exec_json_fail(j, "%s at byte %zu", json_status_text(status), offset);
	else if (exec_json_root(j).kind != JSON_OBJECT)
		exec_json_fail(j, "it is no object");
}

void
exec_json_release(struct exec_json *j)
{
	free(j->texts);
	j->texts = NULL;
	buf_release(&j->error);
}

void
exec_json_fail(struct exec_json *j, const char *fmt, ...)
{
	va_list ap;

	if (j->bad)
		return;
	j->bad = true;
	va_start(ap, fmt);
	buf_vprintf(&j->error, fmt, ap);
	va_end(ap);
}

struct json_value
exec_json_root(const struct exec_json *j)
{
	struct json_value root = { JSON_NULL, { NULL, 0 } };

	if (!j->bad)
		(void)json_scan_find(j->line, "", &root, NULL);
	return root;
}

/* Each value of the line is asked for once, and something stands behind each: so there is room for their texts and NULs. */
static char *
room(struct exec_json *j, size_t len)
{
	if (j->texts == NULL) {
		j->texts = j->at = malloc(j->line.len + 1);
		if (j->texts == NULL)
			exec_json_fail(j, "out of memory");
	}
	if (j->texts == NULL || len > (size_t)(j->texts + j->line.len + 1 - j->at)) {
		exec_json_fail(j, "too many texts");
		return NULL;
	}
	return j->at;
}

static const char *
unescape(struct exec_json *j, struct slice raw, const char *name)
{
	char *to = j->bad ? NULL : room(j, raw.len - 1);
	size_t len = 0;

	if (to == NULL)
		return NULL;
	if (json_scan_unescape(raw, to, &len) != JSON_OK) {
		exec_json_fail(j, "\"%s\" holds a NUL", name);
		return NULL;
	}
	j->at += len + 1;
	return to;
}

const char *
exec_json_key(struct exec_json *j, struct slice key, const char *what)
{
	return unescape(j, key, what);
}

static size_t
index_of(const char *const *names, const char *key)
{
	size_t i = 0;

	while (names[i] != NULL && strcmp(names[i], key) != 0)
		i++;
	return i;
}

void
exec_json_members(struct exec_json *j, const struct json_value *object, const char *what,
    const char *const *names, struct json_value *values)
{
	struct json_value value;
	uint64_t seen = 0;
	struct slice key;
	size_t at = 0;

	for (size_t i = 0; names[i] != NULL; i++)
		values[i] = (struct json_value){ JSON_NULL, { NULL, 0 } };
	while (exec_json_next(j, object, JSON_OBJECT, what, &at, &key, &value)) {
		const char *name = exec_json_key(j, key, what);
		size_t i = name == NULL ? 0 : index_of(names, name);

		if (name == NULL)
			break;
		if (names[i] == NULL)
			exec_json_fail(
			    j, "%s has a member \"%.*s\", which is unknown", what, SHOWN, name);
		else if ((seen & UINT64_C(1) << i) != 0)
			exec_json_fail(j, "%s has \"%s\" twice", what, name);
		else if (value.kind != JSON_NULL)
			values[i] = value;
		seen |= UINT64_C(1) << i;
	}
	for (size_t i = 0; j->bad && names[i] != NULL; i++)
		values[i] = (struct json_value){ JSON_NULL, { NULL, 0 } };
}

const char *
exec_json_string(struct exec_json *j, const struct json_value *value, const char *name)
{
	if (!exec_json_is_there(value))
		return NULL;
	if (value->kind != JSON_STRING) {
		exec_json_fail(j, "\"%s\" is no string", name);
		return NULL;
	}
	return unescape(j, value->raw, name);
}

const char *
exec_json_text(struct exec_json *j, const struct json_value *value, const char *name)
{
	char *to;

	if (!exec_json_is_there(value) || value->kind == JSON_NULL || j->bad)
		return NULL;
	if (value->kind == JSON_STRING)
		return unescape(j, value->raw, name);
	to = room(j, value->raw.len + 1);
	if (to == NULL)
		return NULL;
	memcpy(to, value->raw.data, value->raw.len);
	to[value->raw.len] = '\0';
	j->at += value->raw.len + 1;
	return to;
}

int64_t
exec_json_number(struct exec_json *j, const struct json_value *value, const char *name)
{
	const char *text;
	long long number;
	char *end;

	if (!exec_json_is_there(value))
		return -1;
	text = exec_json_text(j, value, name);
	if (text == NULL)
		return -1;
	errno = 0;
	number = strtoll(text, &end, 10);
	if (value->kind == JSON_NUMBER && errno == 0 && *end == '\0' && number >= 0)
		return number;
	exec_json_fail(j, "\"%s\" is no whole number from 0 on", name);
	return -1;
}

bool
exec_json_bool(struct exec_json *j, const struct json_value *value, const char *name)
{
	if (exec_json_is_there(value) && value->kind != JSON_TRUE && value->kind != JSON_FALSE)
		exec_json_fail(j, "\"%s\" is neither true nor false", name);
	return exec_json_is_there(value) && value->kind == JSON_TRUE;
}

bool
exec_json_next(struct exec_json *j, const struct json_value *container, enum json_kind kind,
    const char *name, size_t *at, struct slice *key, struct json_value *value)
{
	if (j->bad || !exec_json_is_there(container))
		return false;
	if (container->kind != kind) {
		exec_json_fail(j, "\"%s\" is no %s", name, kind == JSON_OBJECT ? "object" : "list");
		return false;
	}
	return json_scan_next(container->raw, at, key, value);
}
