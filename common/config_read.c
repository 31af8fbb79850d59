/*
 * config_read.c - walks libconfig's tree by the table of keys: groups, their names, what is missing. Works with 1.5 to 1.8.
 */
#include "common/config_read.h"

#include <stdarg.h>

#include "common/config_read_internal.h"
#include "common/config_syntax.h"

/* A section of the file while it is read. */
struct section {
	const char *pattern, *path;
	const config_setting_t *group;		/* NULL: not in the file */
	const config_setting_t *defaults;	/* the same section of `defaults`; NULL: none */
	char *base;
	bool is_defaults;			/* only checked: nothing is required, nothing is stored */
};

static void	read_section(struct reader *, const struct section *);

struct config_line
reader_line(const struct reader *r, const config_setting_t *setting)
{
	return config_text_line(r->text, config_setting_source_line(setting));
}

void
reader_complain(
    struct reader *r, const config_setting_t *setting, const char *path, const char *fmt, ...)
{
	struct config_line line = reader_line(r, setting);
	va_list ap;

	if (config_setting_is_root(setting))
		line.line = 0;
	va_start(ap, fmt);
	config_error(r->errors, line.file, line.line, path, "%s", arena_vprintf(r->arena, fmt, ap));
	va_end(ap);
}

const char *
reader_join(struct reader *r, const char *path, const char *name)
{
	if (path[0] == '\0')
		return arena_strdup(r->arena, name);
	return arena_printf(r->arena, "%s.%s", path, name);
}

const char *
reader_join_index(struct reader *r, const char *path, int index)
{
	return arena_printf(r->arena, path[0] == '\0' ? "%s[%d]" : "%s.[%d]", path, index);
}

static const config_setting_t *
member(const config_setting_t *group, const char *name)
{
	return group == NULL ? NULL : config_setting_get_member(group, name);
}

static void
remember_place(struct reader *r, const config_setting_t *setting, const char *path)
{
	struct config_top *t = r->top;

	if (t->place_count == t->place_cap) {
		t->place_cap = t->place_cap == 0 ? 64 : t->place_cap * 2;
		t->places = xrealloc(t->places, t->place_cap * sizeof(*t->places));
	}
	t->places[t->place_count++] = (struct config_place){ path, reader_line(r, setting) };
}

/* Queues, handlers, outboxes: a group each under a name of the user's. */
static void
read_groups(struct reader *r, const struct place *p)
{
	struct named { const char *name; int line; const char *file; };		/* how these structs begin: see config.h */
	int count = config_setting_length(p->setting);
	const config_setting_t *defaults = strcmp(p->key->path, "queues") == 0 ? r->defaults : NULL;
	char *structs;
	size_t good = 0;

	if (config_setting_type(p->setting) != CONFIG_TYPE_GROUP) {
		reader_complain_type(r, p);
		return;
	}
	if (count > p->key->max) {
		reader_complain(r, p->setting, p->path, "has %d groups, more than %lld", count,
		    (long long)p->key->max);
		return;
	}
	if (count == 0 && (p->key->flags & KEY_REQUIRED) != 0)
		reader_complain(r, p->setting, p->path, "is empty; it needs at least one group");
	structs = arena_array(r->arena, (size_t)count, p->key->size);
	for (int i = 0; i < count; i++) {
		const config_setting_t *group = config_setting_get_elem(p->setting, (unsigned)i);
		const char *name = config_setting_name(group),
			   *path = reader_join(r, p->path, name);
		struct config_line line = reader_line(r, group);
		char error[128];

		if (config_setting_type(group) != CONFIG_TYPE_GROUP) {
			reader_complain(r, group, path, "must be a group: %s: { ... };", name);
			continue;
		}
		if (!config_name_check(name, error, sizeof(error)))
			reader_complain(r, group, path, "%s", error);
		char *base = structs + good++ * p->key->size;

		remember_place(r, group, path);
		*(struct named *)(void *)base = (struct named){ arena_strdup(r->arena, name), line.line, line.file };
		read_section(r,
		    &(struct section){ .pattern = arena_printf(r->arena, "%s.*", p->key->path),
			.path = path,
			.group = group,
			.defaults = defaults,
			.base = base });
	}
	*(void **)(void *)(p->base + p->key->offset) = structs;
	*(size_t *)(void *)(p->base + p->key->count_offset) = good;
}

static void
read_group_list(struct reader *r, const struct place *p)
{
	int count = reader_is_list(p->setting) ? config_setting_length(p->setting) : 0;
	char *structs;
	size_t good = 0;

	if (!reader_is_list(p->setting)) {
		reader_complain_type(r, p);
		return;
	}
	if (count > p->key->max) {
		reader_complain(r, p->setting, p->path, "has %d groups, more than %lld", count,
		    (long long)p->key->max);
		return;
	}
	structs = arena_array(r->arena, (size_t)count, p->key->size);
	for (int i = 0; i < count; i++) {
		const config_setting_t *group = config_setting_get_elem(p->setting, (unsigned)i);
		const char *path = reader_join_index(r, p->path, i);

		if (config_setting_type(group) != CONFIG_TYPE_GROUP) {
			reader_complain(r, group, path, "must be a group: { ... }, is %s",
			    reader_kind(r, group));
			continue;
		}
		remember_place(r, group, path);
		read_section(r,
		    &(struct section){ .pattern = arena_printf(r->arena, "%s.[]", p->key->path),
			.path = path,
			.group = group,
			.base = structs + good++ * p->key->size });
	}
	*(void **)(void *)(p->base + p->key->offset) = structs;
	*(size_t *)(void *)(p->base + p->key->count_offset) = good;
}

static void
read_value(struct reader *r, const struct place *p)
{
	if (p->key->type == KEY_GROUPS)
		read_groups(r, p);
	else if (p->key->type == KEY_GROUP_LIST)
		read_group_list(r, p);
	else
		reader_value(r, p);
}

static const config_setting_t *
group_or_null(const config_setting_t *setting)
{
	return setting == NULL || config_setting_type(setting) != CONFIG_TYPE_GROUP ? NULL : setting;
}

static void
complain_unknown(
    struct reader *r, const struct section *s, const config_setting_t *setting, const char *path)
{
	const char *name = config_setting_name(setting), *nearest;

	if (r->errors->dropped > 0) {		/* nobody will read it */
		reader_complain(r, setting, path, "unknown key");
		return;
	}
	nearest = config_keys_nearest(s->pattern, name);
	if (nearest != NULL) {
		reader_complain(r, setting, path, "unknown key; did you mean \"%s\"?", nearest);
		return;
	}
	for (size_t i = 0; i < config_keys_count; i++) {	/* right name, wrong place? */
		const char *dot = strrchr(config_keys[i].path, '.');

		if (dot != NULL && strcmp(dot + 1, name) == 0 && config_keys[i].type != KEY_GROUP) {
			reader_complain(
			    r, setting, path, "unknown key here; there is %s", config_keys[i].path);
			return;
		}
	}
	reader_complain(r, setting, path, "unknown key");
}

/* The keys of the group itself: known, and allowed here? */
static void
check_names(struct reader *r, const struct section *s)
{
	for (int i = 0; i < config_setting_length(s->group); i++) {
		const config_setting_t *setting = config_setting_get_elem(s->group, (unsigned)i);
		const struct config_key *key =
		    config_keys_find(s->pattern, config_setting_name(setting));
		const char *path = reader_join(r, s->path, config_setting_name(setting));

		remember_place(r, setting, path);
		if (key == NULL)
			complain_unknown(r, s, setting, path);
		else if (s->is_defaults && (key->flags & KEY_QUEUE_ONLY) != 0)
			reader_complain(r, setting, path,
			    "each queue must say this itself; it cannot be in defaults");
	}
}

static void
read_key(struct reader *r, const struct section *s, const struct config_key *key, const char *name)
{
	bool queue_only = (key->flags & KEY_QUEUE_ONLY) != 0;
	const config_setting_t *own = member(s->group, name);
	const config_setting_t *inherited = queue_only ? NULL : member(s->defaults, name);
	struct place p = { key, own, reader_join(r, s->path, name), s->base };

	if (s->is_defaults && queue_only)
		return;
	if (key->type == KEY_GROUP) {
		bool is_group = own != NULL && config_setting_type(own) == CONFIG_TYPE_GROUP;

		if (own != NULL && !is_group)
			reader_complain_type(r, &p);
		else if (own == NULL && (key->flags & KEY_REQUIRED) != 0)
			reader_complain(r, s->group, p.path, "is missing: %s", key->manual);
		else if (strcmp(key->path, "defaults") == 0 && own != NULL)
			read_section(r,
			    &(struct section){ .pattern = "queues.*",
				.path = "defaults",
				.group = own,
				.is_defaults = true });
		else
			read_section(r,
			    &(struct section){ .pattern = key->path,
				.path = p.path,
				.group = own,
				.defaults = group_or_null(inherited),
				.base = s->base,
				.is_defaults = s->is_defaults });
		return;
	}
	if (own != NULL) {
		read_value(r, &p);
	} else if (inherited != NULL) {
		/* Whatever is wrong with it was said when `defaults` itself was read. */
		struct config_errors said = CONFIG_ERRORS_INIT, *errors = r->errors;

		p.setting = inherited;
		r->errors = &said;
		read_value(r, &p);
		r->errors = errors;
		config_errors_release(&said);
	} else if ((key->flags & KEY_REQUIRED) != 0 && !s->is_defaults) {
		reader_complain(r, s->group, p.path, "is missing: %s", key->manual);
	} else {
		reader_fallback(r, &p);
	}
}

static void
read_section(struct reader *r, const struct section *s)
{
	if (s->group != NULL)
		check_names(r, s);
	for (size_t i = 0; i < config_keys_count; i++) {
		const char *name = config_keys_name(&config_keys[i], s->pattern);

		if (name != NULL)
			read_key(r, s, &config_keys[i], name);
	}
}

struct config_line
config_read_place(const struct config_top *top, const char *path)
{
	size_t len = strlen(path);

	for (;;) {
		for (size_t i = 0; i < top->place_count; i++)
			if (strlen(top->places[i].path) == len &&
			    memcmp(top->places[i].path, path, len) == 0)
				return top->places[i].line;
		while (len > 0 && path[len - 1] != '.')
			len--;
		if (len == 0)
			return (struct config_line){ NULL, 0 };
		len--;
	}
}

int
config_read_text(const struct config_text *text, struct config_top *top, struct arena *arena,
    struct config_errors *errors)
{
	struct reader r = { text, top, arena, errors, NULL };
	config_t tree;
	int result = -1;

	if (config_syntax_check(text) < 0)
		return -1;
	config_init(&tree);
	if (config_read_string(&tree, text->text.data) != CONFIG_TRUE) {
		const char *what = config_error_text(&tree);

		config_syntax_explain(text,
		    config_error_line(&tree) > 0 ? (unsigned)config_error_line(&tree) : 0,
		    what != NULL ? what : "syntax error");
		goto out;
	}
	const config_setting_t *root = config_root_setting(&tree);

	r.defaults = group_or_null(member(root, "defaults"));
	read_section(
	    &r, &(struct section){ .pattern = "", .path = "", .group = root, .base = (char *)top });
	result = 0;
out:
	config_destroy(&tree);
	return result;
}
