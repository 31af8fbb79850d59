/*
 * slot_handlers.c - see slot_handlers.h. Shared objects are never unloaded: what they registered
 * with the process stays.
 */
#include "runtime/slot_handlers.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "runtime/slot_config.h"
#include "util/arena.h"

void
slot_handlers_init(struct slot_handlers *h, const struct slot_setup *setup, struct arena *arena,
    struct slot_statements *known)
{
	memset(h, 0, sizeof(*h));
	buf_init(&h->errors);
	h->consumer = setup->consumer;
	h->arena = arena;
	h->known = known;
	h->count = setup->handler_count;
	h->list = arena_array(arena, h->count, sizeof(*h->list));
	for (size_t i = 0; i < h->count; i++) {
		h->list[i].setup = &setup->handlers[i];
		h->list[i].pair_read =
		    arena_array(arena, setup->handlers[i].pair_count, sizeof(bool));
	}
}

void
slot_handlers_release(struct slot_handlers *h)
{
	free(h->statements);
	buf_release(&h->errors);
}

void
slot_handlers_error(struct slot_handlers *h, const struct slot_handler *handler, const char *path,
    const char *fmt, ...)
{
	const struct slot_setup_handler *setup = handler->setup;
	const char *file = setup->file;
	int line = setup->line;
	size_t begin;
	va_list ap;

	for (size_t i = 0; path != NULL && i < setup->pair_count; i++) {
		if (strcmp(setup->pairs[i].path, path) == 0) {
			file = setup->pairs[i].file;
			line = setup->pairs[i].line;
		}
	}
	buf_printf(
	    &h->errors, "%s:%d: queues.%s.handlers.%s", file, line, h->consumer, setup->name);
	if (path != NULL && path[0] != '\0')
		buf_printf(&h->errors, ".config.%s", path);
	buf_puts(&h->errors, ": ");
	begin = h->errors.len;
	va_start(ap, fmt);
	buf_vprintf(&h->errors, fmt, ap);
	va_end(ap);
	for (size_t i = begin; i < h->errors.len; i++)
		if (h->errors.data[i] == '\n')
			h->errors.data[i] = ' ';	/* one error, one line */
	buf_putc(&h->errors, '\n');
}

/* Whoever can write the file can do what this process can. NULL: good. */
static const char *
file_objection(const char *path)
{
	struct stat st;

	if (path[0] != '/')
		return "is not given by an absolute path";
	if (stat(path, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "is no regular file";
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return "belongs to another user: it must be root's, or of the user that runs Pawl";
	if ((st.st_mode & S_IWOTH) != 0)
		return "can be written by everybody: run chmod o-w";
	return NULL;
}

static bool
is_name(const char *text)
{
	return text != NULL && text[0] != '\0' && strlen(text) <= SLOT_NAME_MAX;
}

static bool
handler_is_good(struct slot_handlers *h, struct slot_handler *handler, const struct pawl_handler *p)
{
	if (p->size >= offsetof(struct pawl_handler, name) &&
	    (p->abi_major != PAWL_ABI_MAJOR || p->abi_minor > PAWL_ABI_MINOR)) {
		slot_handlers_error(h, handler, NULL,
		    "cannot use \"%s\": it was built for handler ABI %u.%u, and this is %d.%d",
		    handler->setup->path, p->abi_major, p->abi_minor, PAWL_ABI_MAJOR,
		    PAWL_ABI_MINOR);
		return false;
	}
	if (p->size < sizeof(*p)) {
		slot_handlers_error(h, handler, NULL,
		    "cannot use \"%s\": its pawl_handler has %zu bytes, and ABI %d.%d has %zu",
		    handler->setup->path, p->size, PAWL_ABI_MAJOR, PAWL_ABI_MINOR, sizeof(*p));
		return false;
	}
	if (!is_name(p->name) || !is_name(p->version)) {
		slot_handlers_error(h, handler, NULL,
		    "cannot use \"%s\": its name and its version must be texts of 1 to %d bytes",
		    handler->setup->path, SLOT_NAME_MAX);
		return false;
	}
	if (p->handle == NULL) {
		slot_handlers_error(h, handler, NULL, "cannot use \"%s\": it has no function handle",
		    handler->setup->path);
		return false;
	}
	return true;
}

static const struct pawl_handler *
load(struct slot_handlers *h, struct slot_handler *handler)
{
	const char *path = handler->setup->path;
	const char *objection = file_objection(path);
	const struct pawl_handler *p;
	void *object;

	if (objection != NULL) {
		slot_handlers_error(h, handler, NULL, "could not load \"%s\": %s", path, objection);
		return NULL;
	}
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (object == NULL) {
		slot_handlers_error(h, handler, NULL, "could not load \"%s\": %s", path, dlerror());
		return NULL;
	}
	p = dlsym(object, "pawl_handler");
	if (p == NULL) {
		slot_handlers_error(
		    h, handler, NULL, "could not load \"%s\": it has no PAWL_HANDLER", path);
		return NULL;
	}
	return handler_is_good(h, handler, p) ? p : NULL;
}

static void
start(struct slot_handlers *h, struct slot_handler *handler)
{
	struct slot_config *config = arena_alloc(h->arena, sizeof(*config));
	size_t errors = h->errors.len;
	pid_t pid = getpid();
	int status = 0;

	slot_config_init(config, h, handler);
	handler->kind = handler->handler->kind;
	if (handler->handler->start != NULL)
		status = handler->handler->start(&config->config, &handler->self);
	if (getpid() != pid)	/* forked, and come back in the child: one slot is enough */
		_exit(EX_SOFTWARE);
	config->over = true;
	if (status != 0) {
		if (h->errors.len == errors)
			slot_handlers_error(h, handler, NULL,
			    "handler \"%s\" could not start, and does not say why",
			    handler->handler->name);
		return;
	}
	handler->started = true;
	slot_config_report_unread(config);
	if ((unsigned)handler->kind > PAWL_EXTERNAL)
		slot_handlers_error(h, handler, NULL,
		    "cannot use handler \"%s\": its kind is %d, and there are PAWL_EFFECTS (%d),"
		    " PAWL_READS (%d), PAWL_EXTERNAL (%d)", handler->handler->name,
		    (int)handler->kind, PAWL_EFFECTS, PAWL_READS, PAWL_EXTERNAL);
}

void
slot_handlers_start(struct slot_handlers *h)
{
	for (size_t i = 0; i < h->count; i++) {
		struct slot_handler *handler = &h->list[i];

		if (handler->setup->path[0] == '\0')
			continue;
		handler->handler = load(h, handler);
		if (handler->handler != NULL)
			start(h, handler);
	}
}

void
slot_handlers_stop(struct slot_handlers *h)
{
	for (size_t i = 0; i < h->count; i++) {
		struct slot_handler *handler = &h->list[i];

		if (handler->started && handler->handler->stop != NULL)
			handler->handler->stop(handler->self);
		handler->started = false;
	}
}

void
slot_handlers_want_statements(struct slot_handlers *h)
{
	for (size_t i = 0; i < h->statement_count; i++)
		slot_statements_want(h->known, h->statements[i].statement);
}

void
slot_handlers_report_statements(struct slot_handlers *h)
{
	for (size_t i = 0; i < h->statement_count; i++) {
		const struct slot_config_statement *s = &h->statements[i];

		if (s->statement->state == STATEMENT_FAILED)
			slot_handlers_error(
			    h, s->handler, s->path, "%s", s->statement->error->text);
	}
	h->statement_count = 0;
}
