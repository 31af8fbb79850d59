/*
 * config.c - a configuration from its file to struct config: reads it, then checks and resolves what one key alone cannot tell.
 * Any program but the slots; ends nothing.
 */
#include "common/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config_internal.h"
#include "common/config_keys.h"
#include "common/config_read.h"
#include "common/config_value.h"
#include "common/program.h"
#include "common/secret.h"
#include "util/table.h"

struct loader {
	struct config_top top;
	struct config_text text;
	struct config_errors errors;
	const char *file;		/* as the user gave it */
};

static void	complain(struct loader *, const char *path, const char *fmt, ...) ATTR_PRINTF(3, 4);

/* At the key, or at the group it is missing from. */
static void
complain(struct loader *l, const char *path, const char *fmt, ...)
{
	struct config_line line = config_read_place(&l->top, path);
	va_list ap;

	va_start(ap, fmt);
	config_error(&l->errors, line.file != NULL ? line.file : l->file, line.line, path, "%s",
	    arena_vprintf(&l->top.config.arena, fmt, ap));
	va_end(ap);
}

static bool
is_in_file(const struct loader *l, const char *path)
{
	for (size_t i = 0; i < l->top.place_count; i++)
		if (strcmp(l->top.places[i].path, path) == 0)
			return true;
	return false;
}

static const char *
path_of(struct loader *l, const char *section, const char *name, const char *key)
{
	return arena_printf(&l->top.config.arena, "%s.%s.%s", section, name, key);
}

/* --- names of files --- */

static void
set_places(struct loader *l)
{
	struct config *c = &l->top.config;
	char *absolute = realpath(l->file, NULL);
	const char *file = absolute != NULL ? absolute : l->file, *slash = strrchr(file, '/');

	c->file = arena_strdup(&c->arena, file);
	if (slash == NULL)
		c->directory = ".";
	else
		c->directory = slash == file ? "/" : arena_memdup(&c->arena, file, (size_t)(slash - file));
	free(absolute);
}

static void
set_name(struct loader *l)
{
	struct config *c = &l->top.config;
	const char *slash = strrchr(c->file, '/'), *base = slash == NULL ? c->file : slash + 1;
	size_t len = strlen(base);
	char error[128];

	if (c->name != NULL)
		return;
	if (len > 5 && strcmp(base + len - 5, ".conf") == 0)
		len -= 5;
	c->name = arena_memdup(&c->arena, base, len);
	if (!config_name_check(c->name, error, sizeof(error)))
		complain(
		    l, "name", "is missing, and the file's name does not serve for it: %s", error);
}

static const char *
beside_file(struct config *c, const char *name)
{
	return name[0] == '/' ? name : arena_printf(&c->arena, "%s/%s", c->directory, name);
}

static bool
is_readable(const char *path, struct stat *st, const char **why)
{
	*why = NULL;
	if (stat(path, st) < 0 || access(path, R_OK) < 0)
		*why = strerror(errno);
	else if (!S_ISREG(st->st_mode))
		*why = "it is no regular file";
	return *why == NULL;
}

/* --- the broker --- */

static void
set_uris(struct loader *l)
{
	struct config_top *t = &l->top;
	struct config *c = &t->config;
	bool one = t->uri != NULL;
	const char *const *texts = one ? &t->uri : t->uris;
	size_t count = one ? 1 : t->uri_count;
	char error[256];

	if (is_in_file(l, "broker.uri") && is_in_file(l, "broker.uris"))
		complain(l, "broker.uris", "uri is set as well; only one of the two can be");
	else if (is_in_file(l, "broker") && !is_in_file(l, "broker.uri") &&
	    !is_in_file(l, "broker.uris"))
		complain(
		    l, "broker.uri", "is missing: %s", config_keys_find("broker", "uri")->manual);
	c->uris = arena_array(&c->arena, count, sizeof(*c->uris));
	for (size_t i = 0; i < count; i++)
		if (amqp_uri_parse(texts[i], &c->uris[c->uri_count], error, sizeof(error)) == 0)
			c->uri_count++;
		else
			complain(l,
			    one ? "broker.uri" : arena_printf(&c->arena, "broker.uris.[%zu]", i),
			    "%s", error);
}

static void
set_tls_file(struct loader *l, const char *key, const char **name)
{
	struct config *c = &l->top.config;
	struct stat st;
	const char *why;

	if (*name == NULL)
		return;
	*name = secret_path(&c->arena, *name, c->directory);
	if (!is_readable(*name, &st, &why))
		complain(l, key, "could not read %s: %s", config_quote(&c->arena, *name), why);
}

static void
set_broker(struct loader *l)
{
	struct config_top *t = &l->top;
	struct config *c = &t->config;
	char error[PATH_MAX + 256];

	set_uris(l);
	if (t->password_file != NULL) {
		c->password =
		    secret_read(&c->arena, t->password_file, c->directory, error, sizeof(error));
		if (c->password == NULL)
			complain(l, "broker.password_file", "%s", error);
	}
	set_tls_file(l, "broker.ca_file", &c->ca_file);
	set_tls_file(l, "broker.cert_file", &c->cert_file);
	set_tls_file(l, "broker.key_file", &c->key_file);
	if (is_in_file(l, "broker.cert_file") != is_in_file(l, "broker.key_file"))
		complain(l,
		    is_in_file(l, "broker.cert_file") ? "broker.key_file" : "broker.cert_file",
		    "is missing: cert_file and key_file belong together");
	if (t->heartbeat_ms % 1000 != 0)
		complain(l, "broker.heartbeat", "must be whole seconds");
	c->heartbeat_s = (int)(t->heartbeat_ms / 1000);
}

/* --- queues --- */

/* "directory", "cache_directory": relative to the configuration's. Credentials of systemd are files. */
static bool
is_directory(const struct config_pair *pair)
{
	const char *dot = strrchr(pair->path, '.'), *name = dot == NULL ? pair->path : dot + 1;
	const char *end = strstr(name, "directory");

	return end != NULL && end[sizeof("directory") - 1] == '\0' && (end == name || end[-1] == '_');
}

/* The names of files and directories among a handler's own settings become absolute, as those of our own settings do. */
static void
set_handler_files(struct loader *l, const struct config_queue *q, struct config_handler *h)
{
	struct config *c = &l->top.config;
	struct config_pair *pairs = arena_array(&c->arena, h->pair_count, sizeof(*pairs));
	char error[512];

	for (size_t i = 0; i < h->pair_count; i++) {
		const char *name;

		pairs[i] = h->pairs[i];
		if ((!config_pair_is_file(&pairs[i]) && !is_directory(&pairs[i])) || pairs[i].value[0] == '\0')
			continue;
		name = config_expand(&c->arena, pairs[i].value, error, sizeof(error));
		if (name != NULL)
			pairs[i].value = is_directory(&pairs[i]) ? beside_file(c, name) :
								   secret_path(&c->arena, name, c->directory);
		else
			config_error(&l->errors, pairs[i].file, pairs[i].line,
			    arena_printf(&c->arena, "queues.%s.handlers.%s.config.%s", q->name, h->name,
				pairs[i].path), "%s", error);
	}
	h->pairs = pairs;
}

static void
set_handler(struct loader *l, const struct config_queue *q, struct config_handler *h)
{
	struct config *c = &l->top.config;
	const char *path = arena_printf(&c->arena, "queues.%s.handlers.%s.use", q->name, h->name),
		   *why;
	struct stat st;

	h->path = "";
	if (h->use == NULL)		/* an error was given */
		return;
	h->ignore = strcmp(h->use, "ignore") == 0;
	if (h->ignore) {
		if (h->pair_count > 0)
			complain(l, path, "\"ignore\" has no settings; take the config away");
		return;
	}
	set_handler_files(l, q, h);
	if (strchr(h->use, '/') != NULL) {
		h->path = beside_file(c, h->use);
		if (!is_readable(h->path, &st, &why))
			complain(l, path, "could not read %s: %s",
			    config_quote_path(&c->arena, h->path), why);
		return;
	}
	h->path = arena_printf(&c->arena, "%s/%s.so", program_handler_dir(), h->use);
	if (!is_readable(h->path, &st, &why))
		complain(l, path,
		    "there is no handler %s (looked for %s: %s); a file of your own has a '/' in "
		    "its name, like \"./%s.so\"",
		    config_quote(&c->arena, h->use), config_quote_path(&c->arena, h->path), why,
		    h->use);
}

static void
check_types(struct loader *l, const struct config_queue *q)
{
	struct table types = TABLE_INIT;
	struct arena *arena = &l->top.config.arena;
	const char *handlers = arena_printf(arena, "queues.%s.handlers", q->name);

	for (size_t i = 0; i < q->handler_count; i++)
		for (size_t j = 0; j < q->handlers[i].type_count; j++) {
			const struct config_handler *h = &q->handlers[i], *other;
			const char *type = h->types[j];
			union { const struct config_handler *in; void *out; } value = { .in = h };

			other = table_get(&types, type, strlen(type));
			if (other != NULL)
				complain(l, path_of(l, handlers, h->name, "type"),
				    "%s is of handler \"%s\" already (line %d)",
				    config_quote(arena, type), other->name, other->line);
			else
				table_put(&types, type, strlen(type), value.out);
		}
	table_release(&types);
}

static void
check_binds(struct loader *l, const struct config_queue *q)
{
	for (size_t i = 0; i < q->bind_count; i++) {
		const struct config_bind *b = &q->binds[i];
		const char *path =
		    arena_printf(&l->top.config.arena, "queues.%s.bind.[%zu].key", q->name, i);

		if (b->kind == NULL || b->key == NULL)
			continue;
		if (b->key[0] == '\0' &&
		    (strcmp(b->kind, "topic") == 0 || strcmp(b->kind, "direct") == 0))
			complain(l, path, "is missing: a %s exchange delivers by it%s", b->kind,
			    strcmp(b->kind, "topic") == 0 ? "; \"#\" is everything" : "");
	}
}

static void
set_queue(struct loader *l, struct config_queue *q)
{
	struct config *c = &l->top.config;
	unsigned derived = 4 * q->slots * q->batch;	/* a slot has two batches; as much gathers meanwhile */

	if (q->queue == NULL)
		q->queue = q->name;
	if (q->conninfo == NULL && c->conninfo != NULL)
		q->conninfo = c->conninfo;
	if (q->conninfo == NULL) {
		const char *path = path_of(l, "queues", q->name, "conninfo");

		if (q->dedup == DEDUP_POSTGRES && !is_in_file(l, path) && !is_in_file(l, "database.conninfo"))
			complain(l, path,
			    "is missing, and so is database.conninfo: keys and effects need a database");
		q->conninfo = "";
	}
	q->prefetch_derived = q->prefetch == 0;
	if (q->prefetch_derived)
		q->prefetch = derived < 2000 ? derived : 2000;
	if (q->timeout_ms >= q->consumer_timeout_ms && q->consumer_timeout_ms > 0)
		complain(l, path_of(l, "queues", q->name, "timeout"),
		    "%s is not shorter than consumer_timeout, %s, after which the broker takes the message back",
		    config_duration_text(&c->arena, q->timeout_ms),
		    config_duration_text(&c->arena, q->consumer_timeout_ms));
	for (size_t i = 0; i < q->handler_count; i++) {
		union {
			const struct config_handler *in;
			struct config_handler *out;
		} handler = { .in = &q->handlers[i] };

		set_handler(l, q, handler.out);
	}
	check_types(l, q);
	check_binds(l, q);
}

/* Two consumers of one queue would each get half of its messages. */
static void
check_queue_names(struct loader *l)
{
	const struct config *c = &l->top.config;
	struct table queues = TABLE_INIT;

	for (size_t i = 0; i < c->queue_count; i++) {
		struct config_queue *q = &c->queues[i],
				    *other = table_put(&queues, q->queue, strlen(q->queue), q);

		if (other != NULL)
			complain(l, path_of(l, "queues", q->name, "queue"),
			    "%s is consumed by \"%s\" already (line %d); "
			    "bind a queue of its own for each",
			    config_quote(&l->top.config.arena, q->queue), other->name, other->line);
	}
	table_release(&queues);
}

/* --- outboxes --- */

static void
set_outbox(struct loader *l, struct config_outbox *o)
{
	struct config *c = &l->top.config;

	if (o->conninfo == NULL)
		o->conninfo = c->conninfo;
	if (o->conninfo == NULL) {
		const char *path = path_of(l, "outboxes", o->name, "conninfo");

		if (!is_in_file(l, path) && !is_in_file(l, "database.conninfo"))
			complain(l, path,
			    "is missing, and so is database.conninfo: where is the outbox?");
		o->conninfo = "";
	}
	if (o->source == NULL)
		o->source = arena_printf(&c->arena, "/%s", o->name);
	if (o->retention_ms > 0 && o->sent == NULL)
		complain(l, path_of(l, "outboxes", o->name, "retention"),
		    "is for rows that are marked, but sent is not set: published rows are deleted at once");
	if (o->poll_min_ms > o->poll_max_ms)
		complain(l, path_of(l, "outboxes", o->name, "poll_min"),
		    "%s is longer than poll_max, %s",
		    config_duration_text(&c->arena, o->poll_min_ms),
		    config_duration_text(&c->arena, o->poll_max_ms));
}

/* Only one of two could ever lead. */
static void
check_tables(struct loader *l)
{
	const struct config *c = &l->top.config;

	for (size_t i = 0; i < c->outbox_count; i++)
		for (size_t j = 0; j < i; j++) {
			const struct config_outbox *o = &c->outboxes[i], *other = &c->outboxes[j];

			if (o->table != NULL && other->table != NULL &&
			    strcmp(o->table, other->table) == 0 && o->conninfo[0] != '\0' &&
			    strcmp(o->conninfo, other->conninfo) == 0)
				complain(l, path_of(l, "outboxes", o->name, "table"),
				    "%s of the same database is outbox \"%s\" already (line %d)",
				    config_quote(&l->top.config.arena, o->table), other->name,
				    other->line);
		}
}

/* --- all of it --- */

static void
resolve(struct loader *l)
{
	struct config *c = &l->top.config;
	char error[256];

	set_name(l);
	set_broker(l);
	for (size_t i = 0; i < c->queue_count; i++)
		set_queue(l, &c->queues[i]);
	check_queue_names(l);
	for (size_t i = 0; i < c->outbox_count; i++)
		set_outbox(l, &c->outboxes[i]);
	check_tables(l);
	if (config_set_run_dir(c, error, sizeof(error)) < 0)
		complain(l, "run_dir", "is missing, and there is no good place: %s", error);
	if (c->conninfo == NULL)
		c->conninfo = "";
}

int
config_load(const char *file, struct config **out, struct buf *errors)
{
	struct loader l = {
		.top.config.arena = ARENA_INIT, .errors = CONFIG_ERRORS_INIT, .file = file
	};
	struct config *c = &l.top.config;

	if (config_text_load(&l.text, file, &c->arena, &l.errors) == 0) {
		set_places(&l);
		if (config_read_text(&l.text, &l.top, &c->arena, &l.errors) == 0)
			resolve(&l);
	}
	if (l.errors.count == 0)
		config_set_fingerprints(c);
	config_text_release(&l.text);
	free(l.top.places);
	*out = xmalloc(sizeof(**out));
	**out = *c;
	if (l.errors.count == 0) {
		config_errors_release(&l.errors);
		return 0;
	}
	config_errors_write(&l.errors, errors);
	config_errors_release(&l.errors);
	config_free(out);
	return -1;
}

void
config_free(struct config **c)
{
	if (*c == NULL)
		return;
	for (size_t i = 0; i < (*c)->uri_count; i++)
		amqp_uri_release(&(*c)->uris[i]);
	if ((*c)->password != NULL) {
		union { const char *in; char *out; } password = { .in = (*c)->password };

		explicit_bzero(password.out, strlen(password.out));
	}
	arena_release(&(*c)->arena);
	free(*c);
	*c = NULL;
}

const struct config_queue *
config_queue_find(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->queue_count; i++)
		if (strcmp(c->queues[i].name, name) == 0)
			return &c->queues[i];
	return NULL;
}

const struct config_outbox *
config_outbox_find(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->outbox_count; i++)
		if (strcmp(c->outboxes[i].name, name) == 0)
			return &c->outboxes[i];
	return NULL;
}
