/*
 * config_read.c - walks libconfig's tree by the table of keys. The only file that knows libconfig. Works with 1.5 to 1.8.
 */
#include "common/config_read.h"

#include <limits.h>
#include <math.h>
#include <libconfig.h>

#include "common/config_keys.h"
#include "common/config_syntax.h"
#include "common/config_value.h"

struct reader {
	const struct config_text *text;
	struct config_top *top;
	struct arena *arena;
	struct config_errors *errors;
	const config_setting_t *defaults;	/* the group `defaults`; NULL: none */
};

/* Where a value goes and how it is called in a message. */
struct place {
	const struct config_key *key;
	const config_setting_t *setting;	/* NULL: the key's default */
	const char *path;
	char *base;				/* the section's struct */
};

/* A section of the file while it is read. */
struct section {
	const char *pattern, *path;
	const config_setting_t *group;		/* NULL: not in the file */
	const config_setting_t *defaults;	/* the same section of `defaults`; NULL: none */
	char *base;
	bool is_defaults;			/* only checked: nothing is required, nothing is stored */
};

static void	read_section(struct reader *, const struct section *);

static void	complain(struct reader *, const config_setting_t *, const char *path, const char *fmt, ...) ATTR_PRINTF(4, 5);

static struct config_line
line_of(const struct reader *r, const config_setting_t *setting)
{
	return config_text_line(r->text, config_setting_source_line(setting));
}

static void
complain(struct reader *r, const config_setting_t *setting, const char *path, const char *fmt, ...)
{
	struct config_line line = line_of(r, setting);
	va_list ap;

	if (config_setting_is_root(setting))
		line.line = 0;
	va_start(ap, fmt);
	config_error(r->errors, line.file, line.line, path, "%s", arena_vprintf(r->arena, fmt, ap));
	va_end(ap);
}

static const char *
join(struct reader *r, const char *path, const char *name)
{
	return path[0] == '\0' ? arena_strdup(r->arena, name) : arena_printf(r->arena, "%s.%s", path, name);
}

static const char *
join_index(struct reader *r, const char *path, int index)
{
	return arena_printf(r->arena, path[0] == '\0' ? "%s[%d]" : "%s.[%d]", path, index);
}

static const config_setting_t *
member(const config_setting_t *group, const char *name)
{
	return group == NULL ? NULL : config_setting_get_member(group, name);
}

/* Foreign text in a message; of a secret nothing. */
static const char *
shown(struct reader *r, const struct place *p, const char *text)
{
	return (p->key->flags & KEY_SECRET) != 0 ? "the text" : config_quote(r->arena, text);
}

static int
word_index(const char *words, const char *text)
{
	size_t len = strlen(text);

	for (int i = 0; words != NULL && *words != '\0'; i++) {
		size_t word = strcspn(words, " ");

		if (word == len && memcmp(words, text, len) == 0)
			return i;
		words += word;
		words += strspn(words, " ");
	}
	return -1;
}

/* "a", "b" or "c" */
static const char *
words_text(struct reader *r, const char *words)
{
	const char *text = "";

	while (*words != '\0') {
		size_t word = strcspn(words, " ");
		const char *rest = words + word + strspn(words + word, " ");

		text = arena_printf(r->arena, "%s%s\"%.*s\"", text, text[0] == '\0' ? "" : *rest == '\0' ? " or " : ", ", (int)word, words);
		words = rest;
	}
	return text;
}

static bool
read_word(struct reader *r, const struct place *p, const char *text, unsigned *out)
{
	int index = word_index(p->key->words, text);

	if (index >= 0) {
		*out = (unsigned)index;
		return true;
	}
	if (word_index(p->key->later, text) >= 0)
		complain(r, p->setting, p->path, "%s is not supported by this version; only %s is", config_quote(r->arena, text),
		    words_text(r, p->key->words));
	else
		complain(r, p->setting, p->path, "must be %s, not %s", words_text(r, p->key->words), config_quote(r->arena, text));
	return false;
}

/* Handlers shall not see how to log in to the broker. */
static void
note_variables(struct reader *r, const char *text)
{
	struct config *c = &r->top->config;
	const char *name, **names;
	size_t count = 0;

	for (size_t at = 0; (name = config_variable(r->arena, text, &at)) != NULL;) {
		for (count = 0; c->broker_variables != NULL && c->broker_variables[count] != NULL;)
			count++;
		names = arena_array(r->arena, count + 2, sizeof(*names));
		if (count > 0)
			memcpy(names, c->broker_variables, count * sizeof(*names));
		names[count] = name;
		c->broker_variables = names;
	}
}

static bool
read_text(struct reader *r, const struct place *p, const char *text, const char **out)
{
	const struct config_key *key = p->key;
	const char *written = text;
	char error[512];

	if ((key->flags & KEY_EXPAND) != 0) {
		text = config_expand(r->arena, text, error, sizeof(error));
		if (text == NULL) {
			complain(r, p->setting, p->path, "%s", error);
			return false;
		}
		if (strncmp(p->path, "broker.uri", strlen("broker.uri")) == 0)
			note_variables(r, written);
	} else if (strstr(text, "${") != NULL) {
		complain(r, p->setting, p->path, "${NAME} is not expanded here; it is in uri, uris, conninfo and the names of files");
		return false;
	}
	if (text[0] == '\0' && (key->flags & KEY_EMPTY) == 0) {
		complain(r, p->setting, p->path, "must not be empty");
		return false;
	}
	if (key->type == KEY_TEXT && strlen(text) > (size_t)key->max) {
		complain(r, p->setting, p->path, "is longer than %lld bytes", (long long)key->max);
		return false;
	}
	if (key->words != NULL && word_index(key->words, text) < 0) {
		complain(r, p->setting, p->path, "must be %s, not %s", words_text(r, key->words), config_quote(r->arena, text));
		return false;
	}
	if (key->check != NULL && !key->check(text, error, sizeof(error))) {
		complain(r, p->setting, p->path, "%s: %s", shown(r, p, text), error);
		return false;
	}
	*out = arena_strdup(r->arena, text);
	return true;
}

static bool
read_quantity(struct reader *r, const struct place *p, const char *text, int64_t *out)
{
	char error[256];
	int64_t number;
	bool size = p->key->type == KEY_SIZE;

	if ((p->key->flags & KEY_NONE) != 0 && strcmp(text, "none") == 0) {
		*out = 0;
		return true;
	}
	if ((size ? config_size(text, &number, error, sizeof(error)) : config_duration(text, &number, error, sizeof(error))) < 0) {
		complain(r, p->setting, p->path, "%s %s", config_quote(r->arena, text), error);
		return false;
	}
	if (number < p->key->min || number > p->key->max) {
		complain(r, p->setting, p->path, "must be %s, not %s", config_keys_allowed(p->key, r->arena), config_quote(r->arena, text));
		return false;
	}
	*out = number;
	return true;
}

static bool
is_number(const config_setting_t *setting)
{
	return config_setting_type(setting) == CONFIG_TYPE_INT || config_setting_type(setting) == CONFIG_TYPE_INT64;
}

static bool
is_list(const config_setting_t *setting)
{
	return config_setting_type(setting) == CONFIG_TYPE_ARRAY || config_setting_type(setting) == CONFIG_TYPE_LIST;
}

static const char *
kind_text(struct reader *r, const config_setting_t *setting)
{
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_GROUP:
		return "a group";
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		return config_setting_length(setting) == 0 ? "an empty list" : "a list";
	case CONFIG_TYPE_STRING:
		return "a text";
	case CONFIG_TYPE_BOOL:
		return config_setting_get_bool(setting) ? "true" : "false";
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return arena_printf(r->arena, "the number %lld", config_setting_get_int64(setting));
	case CONFIG_TYPE_FLOAT:
		return arena_printf(r->arena, "the number %g", config_setting_get_float(setting));
	default:
		return "nothing";
	}
}

static void
complain_type(struct reader *r, const struct place *p)
{
	bool quantity = (p->key->type == KEY_DURATION || p->key->type == KEY_SIZE) && is_number(p->setting);
	const char *hint = "";

	if (quantity && config_setting_get_int64(p->setting) >= 0)
		hint = arena_printf(r->arena, "; write \"%lld%s\"", config_setting_get_int64(p->setting), p->key->type == KEY_SIZE ? "MiB" : "s");
	if (p->key->type == KEY_INT && config_setting_type(p->setting) == CONFIG_TYPE_STRING)
		hint = "; take the quotes away";
	complain(r, p->setting, p->path, "must be %s, is %s%s", key_type_text(p->key->type), kind_text(r, p->setting), hint);
}

/* One element after the other of a list; a single text is a list of one. NULL: of the wrong type, and said so. */
static const char *
element(struct reader *r, const struct place *p, int index, struct place *at)
{
	*at = *p;
	if (is_list(p->setting)) {
		at->setting = config_setting_get_elem(p->setting, (unsigned)index);
		at->path = join_index(r, p->path, index);
	}
	if (config_setting_type(at->setting) == CONFIG_TYPE_STRING)
		return config_setting_get_string(at->setting);
	complain(r, at->setting, at->path, "must be %s in quotes, is %s", p->key->type == KEY_DURATIONS ? "a duration" : "a text",
	    kind_text(r, at->setting));
	return NULL;
}

static void
read_list(struct reader *r, const struct place *p)
{
	int count = is_list(p->setting) ? config_setting_length(p->setting) : 1;
	bool durations = p->key->type == KEY_DURATIONS;
	size_t good = 0;

	if (!is_list(p->setting) && config_setting_type(p->setting) != CONFIG_TYPE_STRING) {
		complain_type(r, p);
		return;
	}
	if (count == 0) {
		complain(r, p->setting, p->path, "the list is empty");
		return;
	}
	if (!durations && count > p->key->max) {
		complain(r, p->setting, p->path, "has %d elements, more than %lld", count, (long long)p->key->max);
		return;
	}
	int64_t *numbers = arena_array(r->arena, (size_t)count, sizeof(*numbers));
	const char **texts = arena_array(r->arena, (size_t)count, sizeof(*texts));

	for (int i = 0; i < count; i++) {
		struct place at;
		const char *text = element(r, p, i, &at);

		if (text != NULL)
			good += durations ? read_quantity(r, &at, text, &numbers[good]) : read_text(r, &at, text, &texts[good]);
	}
	if (p->base == NULL)
		return;
	if (durations)
		*(const int64_t **)(void *)(p->base + p->key->offset) = numbers;
	else
		*(const char *const **)(void *)(p->base + p->key->offset) = texts;
	*(size_t *)(void *)(p->base + p->key->count_offset) = good;
}

/* A value of one text, from the file or the table. */
static void
read_scalar_text(struct reader *r, const struct place *p, const char *text)
{
	const char *value;
	unsigned word;
	int64_t number;
	void *out = p->base == NULL ? NULL : p->base + p->key->offset;

	switch (p->key->type) {
	case KEY_TEXT:
		if (read_text(r, p, text, &value) && out != NULL)
			*(const char **)out = value;
		break;
	case KEY_WORD:
		if (read_word(r, p, text, &word) && out != NULL)
			*(unsigned *)out = word;
		break;
	default:
		if (read_quantity(r, p, text, &number) && out != NULL)
			*(int64_t *)out = number;
	}
}

static void
read_int(struct reader *r, const struct place *p, int64_t number)
{
	if (number < p->key->min || number > p->key->max)
		complain(r, p->setting, p->path, "must be %s, not %lld", config_keys_allowed(p->key, r->arena), (long long)number);
	else if (p->base != NULL)
		*(unsigned *)(void *)(p->base + p->key->offset) = (unsigned)number;
}

static void
read_fallback(struct reader *r, const struct place *p)
{
	const char *fallback = p->key->fallback;

	if (fallback == NULL || p->base == NULL)
		return;
	switch (p->key->type) {
	case KEY_BOOL:
		*(bool *)(void *)(p->base + p->key->offset) = strcmp(fallback, "true") == 0;
		break;
	case KEY_INT:
		read_int(r, p, strtoll(fallback, NULL, 10));
		break;
	case KEY_DURATIONS: {
		size_t count = 0;
		int64_t *numbers = arena_array(r->arena, strlen(fallback), sizeof(*numbers));

		for (const char *at = fallback; *at != '\0'; at += strspn(at, " ")) {
			size_t len = strcspn(at, " ");

			if (read_quantity(r, p, arena_memdup(r->arena, at, len), &numbers[count]))
				count++;
			at += len;
		}
		*(const int64_t **)(void *)(p->base + p->key->offset) = numbers;
		*(size_t *)(void *)(p->base + p->key->count_offset) = count;
		break;
	}
	default:
		read_scalar_text(r, p, fallback);
	}
}

struct pairs { struct config_pair *list; size_t count, cap; };

/* A double as it was most likely written: the shortest text that gives it again. */
static const char *
real_text(struct reader *r, double real)
{
	char text[40];

	for (int digits = 6; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, real);
		if (strtod(text, NULL) == real)
			break;
	}
	return arena_strdup(r->arena, text);
}

static void
flatten(struct reader *r, const config_setting_t *setting, const char *shown_path, const char *path, struct pairs *pairs)
{
	const char *value = "";

	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_GROUP:
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		for (int i = 0; i < config_setting_length(setting); i++) {
			const config_setting_t *part = config_setting_get_elem(setting, (unsigned)i);
			const char *name = config_setting_name(part);

			flatten(r, part, name != NULL ? join(r, shown_path, name) : join_index(r, shown_path, i),
			    name != NULL ? join(r, path, name) : join_index(r, path, i), pairs);
		}
		return;
	case CONFIG_TYPE_STRING:
		value = arena_strdup(r->arena, config_setting_get_string(setting));
		break;
	case CONFIG_TYPE_BOOL:
		value = config_setting_get_bool(setting) ? "true" : "false";
		break;
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		value = arena_printf(r->arena, "%lld", config_setting_get_int64(setting));
		break;
	case CONFIG_TYPE_FLOAT:
		if (!isfinite(config_setting_get_float(setting))) {
			complain(r, setting, shown_path, "the number is too large");
			return;
		}
		value = real_text(r, config_setting_get_float(setting));
		break;
	}
	if (pairs->count == pairs->cap) {
		pairs->cap = pairs->cap == 0 ? 16 : pairs->cap * 2;
		pairs->list = xrealloc(pairs->list, pairs->cap * sizeof(*pairs->list));
	}
	struct config_line line = line_of(r, setting);

	pairs->list[pairs->count++] = (struct config_pair){ path, value, line.line, line.file };
}

static void
read_free(struct reader *r, const struct place *p)
{
	struct pairs pairs = { NULL, 0, 0 };
	struct config_pair *list;

	if (config_setting_type(p->setting) != CONFIG_TYPE_GROUP) {
		complain_type(r, p);
		return;
	}
	flatten(r, p->setting, p->path, "", &pairs);
	list = arena_array(r->arena, pairs.count, sizeof(*list));
	if (pairs.count > 0)
		memcpy(list, pairs.list, pairs.count * sizeof(*list));
	free(pairs.list);
	*(const struct config_pair **)(void *)(p->base + p->key->offset) = list;
	*(size_t *)(void *)(p->base + p->key->count_offset) = pairs.count;
}

static void
remember_place(struct reader *r, const config_setting_t *setting, const char *path)
{
	struct config_top *t = r->top;

	if (t->place_count == t->place_cap) {
		t->place_cap = t->place_cap == 0 ? 64 : t->place_cap * 2;
		t->places = xrealloc(t->places, t->place_cap * sizeof(*t->places));
	}
	t->places[t->place_count++] = (struct config_place){ path, line_of(r, setting) };
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
		complain_type(r, p);
		return;
	}
	if (count > p->key->max) {
		complain(r, p->setting, p->path, "has %d groups, more than %lld", count, (long long)p->key->max);
		return;
	}
	if (count == 0 && (p->key->flags & KEY_REQUIRED) != 0)
		complain(r, p->setting, p->path, "is empty; it needs at least one group");
	structs = arena_array(r->arena, (size_t)count, p->key->size);
	for (int i = 0; i < count; i++) {
		const config_setting_t *group = config_setting_get_elem(p->setting, (unsigned)i);
		const char *name = config_setting_name(group), *path = join(r, p->path, name);
		struct config_line line = line_of(r, group);
		char error[128];

		if (config_setting_type(group) != CONFIG_TYPE_GROUP) {
			complain(r, group, path, "must be a group: %s: { ... };", name);
			continue;
		}
		if (!config_name_check(name, error, sizeof(error)))
			complain(r, group, path, "%s", error);
		char *base = structs + good++ * p->key->size;

		remember_place(r, group, path);
		*(struct named *)(void *)base = (struct named){ arena_strdup(r->arena, name), line.line, line.file };
		read_section(r, &(struct section){ .pattern = arena_printf(r->arena, "%s.*", p->key->path), .path = path, .group = group,
		    .defaults = defaults, .base = base });
	}
	*(void **)(void *)(p->base + p->key->offset) = structs;
	*(size_t *)(void *)(p->base + p->key->count_offset) = good;
}

static void
read_group_list(struct reader *r, const struct place *p)
{
	int count = is_list(p->setting) ? config_setting_length(p->setting) : 0;
	char *structs;
	size_t good = 0;

	if (!is_list(p->setting)) {
		complain_type(r, p);
		return;
	}
	if (count > p->key->max) {
		complain(r, p->setting, p->path, "has %d groups, more than %lld", count, (long long)p->key->max);
		return;
	}
	structs = arena_array(r->arena, (size_t)count, p->key->size);
	for (int i = 0; i < count; i++) {
		const config_setting_t *group = config_setting_get_elem(p->setting, (unsigned)i);
		const char *path = join_index(r, p->path, i);

		if (config_setting_type(group) != CONFIG_TYPE_GROUP) {
			complain(r, group, path, "must be a group: { ... }, is %s", kind_text(r, group));
			continue;
		}
		remember_place(r, group, path);
		read_section(r, &(struct section){ .pattern = arena_printf(r->arena, "%s.[]", p->key->path), .path = path, .group = group,
		    .base = structs + good++ * p->key->size });
	}
	*(void **)(void *)(p->base + p->key->offset) = structs;
	*(size_t *)(void *)(p->base + p->key->count_offset) = good;
}

static void
read_value(struct reader *r, const struct place *p)
{
	int type = config_setting_type(p->setting);
	bool text = type == CONFIG_TYPE_STRING;

	switch (p->key->type) {
	case KEY_TEXT:
	case KEY_WORD:
	case KEY_DURATION:
	case KEY_SIZE:
		if (text)
			read_scalar_text(r, p, config_setting_get_string(p->setting));
		else
			complain_type(r, p);
		break;
	case KEY_BOOL:
		if (type != CONFIG_TYPE_BOOL)
			complain_type(r, p);
		else if (p->base != NULL)
			*(bool *)(void *)(p->base + p->key->offset) = config_setting_get_bool(p->setting);
		break;
	case KEY_INT:
		if (is_number(p->setting))
			read_int(r, p, config_setting_get_int64(p->setting));
		else
			complain_type(r, p);
		break;
	case KEY_TEXTS:
	case KEY_DURATIONS:
		read_list(r, p);
		break;
	case KEY_GROUPS:
		read_groups(r, p);
		break;
	case KEY_GROUP_LIST:
		read_group_list(r, p);
		break;
	case KEY_FREE:
		read_free(r, p);
		break;
	case KEY_GROUP:
		break;		/* read_section */
	}
}

static const config_setting_t *
group_or_null(const config_setting_t *setting)
{
	return setting != NULL && config_setting_type(setting) == CONFIG_TYPE_GROUP ? setting : NULL;
}

static void
complain_unknown(struct reader *r, const struct section *s, const config_setting_t *setting, const char *path)
{
	const char *name = config_setting_name(setting), *nearest;

	if (r->errors->dropped > 0) {		/* nobody will read it */
		complain(r, setting, path, "unknown key");
		return;
	}
	nearest = config_keys_nearest(s->pattern, name);
	if (nearest != NULL) {
		complain(r, setting, path, "unknown key; did you mean \"%s\"?", nearest);
		return;
	}
	for (size_t i = 0; i < config_keys_count; i++) {	/* right name, wrong place? */
		const char *dot = strrchr(config_keys[i].path, '.');

		if (dot != NULL && strcmp(dot + 1, name) == 0 && config_keys[i].type != KEY_GROUP) {
			complain(r, setting, path, "unknown key here; there is %s", config_keys[i].path);
			return;
		}
	}
	complain(r, setting, path, "unknown key");
}

/* The keys of the group itself: known, and allowed here? */
static void
check_names(struct reader *r, const struct section *s)
{
	for (int i = 0; i < config_setting_length(s->group); i++) {
		const config_setting_t *setting = config_setting_get_elem(s->group, (unsigned)i);
		const struct config_key *key = config_keys_find(s->pattern, config_setting_name(setting));
		const char *path = join(r, s->path, config_setting_name(setting));

		remember_place(r, setting, path);
		if (key == NULL)
			complain_unknown(r, s, setting, path);
		else if (s->is_defaults && (key->flags & KEY_QUEUE_ONLY) != 0)
			complain(r, setting, path, "each queue must say this itself; it cannot be in defaults");
	}
}

static void
read_key(struct reader *r, const struct section *s, const struct config_key *key, const char *name)
{
	const config_setting_t *own = member(s->group, name), *inherited = (key->flags & KEY_QUEUE_ONLY) != 0 ? NULL : member(s->defaults, name);
	struct place p = { key, own, join(r, s->path, name), s->base };

	if (s->is_defaults && (key->flags & KEY_QUEUE_ONLY) != 0)
		return;
	if (key->type == KEY_GROUP) {
		bool is_group = own != NULL && config_setting_type(own) == CONFIG_TYPE_GROUP;

		if (own != NULL && !is_group)
			complain_type(r, &p);
		else if (own == NULL && (key->flags & KEY_REQUIRED) != 0)
			complain(r, s->group, p.path, "is missing: %s", key->manual);
		else if (strcmp(key->path, "defaults") == 0 && own != NULL)
			read_section(r, &(struct section){ .pattern = "queues.*", .path = "defaults", .group = own, .is_defaults = true });
		else
			read_section(r, &(struct section){ .pattern = key->path, .path = p.path, .group = own,
			    .defaults = group_or_null(inherited), .base = s->base, .is_defaults = s->is_defaults });
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
		complain(r, s->group, p.path, "is missing: %s", key->manual);
	} else {
		read_fallback(r, &p);
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
			if (strlen(top->places[i].path) == len && memcmp(top->places[i].path, path, len) == 0)
				return top->places[i].line;
		while (len > 0 && path[len - 1] != '.')
			len--;
		if (len == 0)
			return (struct config_line){ NULL, 0 };
		len--;
	}
}

int
config_read_text(const struct config_text *text, struct config_top *top, struct arena *arena, struct config_errors *errors)
{
	struct reader r = { text, top, arena, errors, NULL };
	config_t tree;
	int result = -1;

	if (config_syntax_check(text) < 0)
		return -1;
	config_init(&tree);
	if (config_read_string(&tree, text->text.data) != CONFIG_TRUE) {
		const char *what = config_error_text(&tree);

		config_syntax_explain(text, config_error_line(&tree) > 0 ? (unsigned)config_error_line(&tree) : 0, what != NULL ? what : "syntax error");
		goto out;
	}
	const config_setting_t *root = config_root_setting(&tree);

	r.defaults = group_or_null(member(root, "defaults"));
	read_section(&r, &(struct section){ .pattern = "", .path = "", .group = root, .base = (char *)top });
	result = 0;
out:
	config_destroy(&tree);
	return result;
}
