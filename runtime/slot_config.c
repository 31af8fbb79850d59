/*
 * slot_config.c - see slot_config.h.
 */
#include "runtime/slot_config.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>

#include "common/config_value.h"
#include "common/secret.h"
#include "runtime/slot_call.h"
#include "runtime/slot_crash.h"
#include "util/arena.h"

/* A handler that has kept it would get answers that nobody reported, to questions that nobody counts. */
static const struct slot_config *
config_of(const struct pawl_config *config)
{
	const struct slot_config *c = (const struct slot_config *)config;

	if (c->over)
		slot_crash_end("the handler uses its pawl_config when start() has returned");
	return c;
}

void
slot_config_init(
    struct slot_config *c, struct slot_handlers *handlers, struct slot_handler *handler)
{
	memset(c, 0, sizeof(*c));
	c->config.host = &slot_host;
	c->handlers = handlers;
	c->handler = handler;
}

void
slot_config_report_unread(const struct slot_config *c)
{
	const struct slot_setup_handler *setup = c->handler->setup;

	for (size_t i = 0; i < setup->pair_count; i++)
		if (!c->handler->pair_read[i])
			slot_handlers_error(c->handlers, c->handler, setup->pairs[i].path,
			    "unknown setting: handler \"%s\" does not read it",
			    c->handler->handler->name);
}

/* The value at path, marked as read; NULL when it is not set. */
static const char *
read_value(const struct slot_config *c, const char *path)
{
	const struct slot_setup_handler *setup = c->handler->setup;

	for (size_t i = 0; path != NULL && i < setup->pair_count; i++) {
		if (strcmp(setup->pairs[i].path, path) == 0) {
			c->handler->pair_read[i] = true;
			return setup->pairs[i].value;
		}
	}
	return NULL;
}

const char *
slot_config_string(const struct pawl_config *config, const char *path, const char *fallback)
{
	const char *value = read_value(config_of(config), path);

	return value == NULL ? fallback : value;
}

int64_t
slot_config_int(const struct pawl_config *config, const char *path, int64_t fallback)
{
	const struct slot_config *c = config_of(config);
	const char *value = read_value(c, path);
	char *end;
	long long number;

	if (value == NULL)
		return fallback;
	errno = 0;
	number = strtoll(value, &end, 10);
	if (errno == 0 && end != value && *end == '\0')
		return number;
	slot_handlers_error(c->handlers, c->handler, path, "is no whole number: %s",
	    config_quote(c->handlers->arena, value));
	return fallback;
}

int64_t
slot_config_ms(const struct pawl_config *config, const char *path, int64_t fallback)
{
	const struct slot_config *c = config_of(config);
	const char *value = read_value(c, path);
	char error[256];
	int64_t ms;

	if (value == NULL)
		return fallback;
	if (config_duration(value, &ms, error, sizeof(error)) == 0)
		return ms;
	slot_handlers_error(c->handlers, c->handler, path, "%s", error);
	return fallback;
}

/* What is behind "path." in a pair's path; NULL: the pair is not in that group or list. */
static const char *
rest_of(const struct config_pair *pair, const char *path)
{
	size_t len = path == NULL ? 0 : strlen(path);

	if (len == 0)
		return pair->path;
	return strncmp(pair->path, path, len) == 0 && pair->path[len] == '.' ? pair->path + len + 1 :
									       NULL;
}

/* "steps" counts "steps.[0]", "steps.[1].type" ...: the largest index and one. */
int
slot_config_count(const struct pawl_config *config, const char *path)
{
	const struct slot_setup_handler *setup = config_of(config)->handler->setup;
	long count = 0;

	for (size_t i = 0; i < setup->pair_count; i++) {
		const char *rest = rest_of(&setup->pairs[i], path);

		if (rest != NULL && *rest == '[') {
			long index = strtol(rest + 1, NULL, 10);

			if (index >= count && index < INT32_MAX)
				count = index + 1;
		}
	}
	return (int)count;
}

/* Pairs of one member stand side by side: a name that begins anew is a new member. */
const char *
slot_config_member(const struct pawl_config *config, const char *path, int index)
{
	const struct slot_config *c = config_of(config);
	const struct slot_setup_handler *setup = c->handler->setup;
	struct slice last = { NULL, 0 };

	for (size_t i = 0; i < setup->pair_count; i++) {
		const char *rest = rest_of(&setup->pairs[i], path);
		struct slice name = { rest, rest == NULL ? 0 : strcspn(rest, ".") };

		if (rest == NULL || *rest == '[' || slice_equals(name, last))
			continue;
		if (index-- == 0)
			return arena_memdup(c->handlers->arena, name.data, name.len);
		last = name;
	}
	return NULL;
}

int
slot_config_statement(const struct pawl_config *config, const char *path, const char *text)
{
	const struct slot_config *c = config_of(config);
	struct slot_handlers *h = c->handlers;
	struct slot_statement *statement;
	const char *refusal;

	if (text == NULL)
		return slot_config_error(config, path, "is no statement");
	statement = slot_statements_get(h->known, text, &refusal);
	if (statement == NULL)
		return slot_config_error(config, path, "the statement %s", refusal);
	if (h->statement_count == h->statement_room) {
		h->statement_room = h->statement_room * 2 + 8;
		h->statements = xrealloc(h->statements, h->statement_room * sizeof(*h->statements));
	}
	h->statements[h->statement_count++] = (struct slot_config_statement){
		c->handler, path == NULL ? "" : arena_strdup(h->arena, path), statement
	};
	return 0;
}

/* The name is absolute already, but for one that was given to `pawlctl try` by hand. */
const char *
slot_config_secret(const struct pawl_config *config, const char *path)
{
	const struct slot_config *c = config_of(config);
	const char *name = read_value(c, path), *secret;
	char error[PATH_MAX + 256];

	if (name == NULL)
		return NULL;
	secret = secret_read(c->handlers->arena, name, ".", error, sizeof(error));
	if (secret == NULL)
		slot_handlers_error(c->handlers, c->handler, path, "%s", error);
	return secret;
}

int
slot_config_kind(const struct pawl_config *config, enum pawl_kind kind)
{
	config_of(config)->handler->kind = kind;
	return 0;
}

int
slot_config_error(const struct pawl_config *config, const char *path, const char *fmt, ...)
{
	const struct slot_config *c = config_of(config);
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	slot_handlers_error(c->handlers, c->handler, path, "%s", text.data);
	buf_release(&text);
	return -1;
}
