/*
 * config_read_value.c - single keys of a configuration: is the value of its type, in its range? Then it goes into its struct.
 */
#include "common/config_read_internal.h"

#include <limits.h>
#include <math.h>

#include "common/config_value.h"

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

		const char *comma = text[0] == '\0' ? "" : *rest == '\0' ? " or " : ", ";

		text = arena_printf(r->arena, "%s%s\"%.*s\"", text, comma, (int)word, words);
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
		reader_complain(r, p->setting, p->path,
		    "%s is not supported by this version; only %s is", config_quote(r->arena, text),
		    words_text(r, p->key->words));
	else
		reader_complain(r, p->setting, p->path, "must be %s, not %s",
		    words_text(r, p->key->words), config_quote(r->arena, text));
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
			reader_complain(r, p->setting, p->path, "%s", error);
			return false;
		}
		if (strncmp(p->path, "broker.uri", strlen("broker.uri")) == 0)
			note_variables(r, written);
	} else if (strstr(text, "${") != NULL) {
		reader_complain(r, p->setting, p->path,
		    "${NAME} is not expanded here; it is in uri, uris, conninfo and the names of files");
		return false;
	}
	if (text[0] == '\0' && (key->flags & KEY_EMPTY) == 0) {
		reader_complain(r, p->setting, p->path, "must not be empty");
		return false;
	}
	if (key->type == KEY_TEXT && strlen(text) > (size_t)key->max) {
		reader_complain(
		    r, p->setting, p->path, "is longer than %lld bytes", (long long)key->max);
		return false;
	}
	if (key->words != NULL && word_index(key->words, text) < 0) {
		reader_complain(r, p->setting, p->path, "must be %s, not %s",
		    words_text(r, key->words), config_quote(r->arena, text));
		return false;
	}
	if (key->check != NULL && !key->check(text, error, sizeof(error))) {
		reader_complain(r, p->setting, p->path, "%s: %s", shown(r, p, text), error);
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
	if ((size ? config_size : config_duration)(text, &number, error, sizeof(error)) < 0) {
		reader_complain(r, p->setting, p->path, "%s %s", config_quote(r->arena, text), error);
		return false;
	}
	if (number < p->key->min || number > p->key->max) {
		reader_complain(r, p->setting, p->path, "must be %s, not %s",
		    config_keys_allowed(p->key, r->arena), config_quote(r->arena, text));
		return false;
	}
	*out = number;
	return true;
}

static bool
is_number(const config_setting_t *setting)
{
	return config_setting_type(setting) == CONFIG_TYPE_INT ||
	    config_setting_type(setting) == CONFIG_TYPE_INT64;
}

bool
reader_is_list(const config_setting_t *setting)
{
	return config_setting_type(setting) == CONFIG_TYPE_ARRAY ||
	    config_setting_type(setting) == CONFIG_TYPE_LIST;
}

const char *
reader_kind(struct reader *r, const config_setting_t *setting)
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

void
reader_complain_type(struct reader *r, const struct place *p)
{
	bool quantity =
	    (p->key->type == KEY_DURATION || p->key->type == KEY_SIZE) && is_number(p->setting);
	const char *hint = "";

	if (quantity && config_setting_get_int64(p->setting) >= 0)
		hint = arena_printf(r->arena, "; write \"%lld%s\"",
		    config_setting_get_int64(p->setting), p->key->type == KEY_SIZE ? "B" : "s");
	if (p->key->type == KEY_INT && config_setting_type(p->setting) == CONFIG_TYPE_STRING)
		hint = "; take the quotes away";
	reader_complain(r, p->setting, p->path, "must be %s, is %s%s", key_type_text(p->key->type),
	    reader_kind(r, p->setting), hint);
}

/* One element after the other of a list; a single text is a list of one. NULL: of the wrong type, and said so. */
static const char *
element(struct reader *r, const struct place *p, int index, struct place *at)
{
	*at = *p;
	if (reader_is_list(p->setting)) {
		at->setting = config_setting_get_elem(p->setting, (unsigned)index);
		at->path = reader_join_index(r, p->path, index);
	}
	if (config_setting_type(at->setting) == CONFIG_TYPE_STRING)
		return config_setting_get_string(at->setting);
	reader_complain(r, at->setting, at->path, "must be %s in quotes, is %s",
	    p->key->type == KEY_DURATIONS ? "a duration" : "a text", reader_kind(r, at->setting));
	return NULL;
}

static void
read_list(struct reader *r, const struct place *p)
{
	int count = reader_is_list(p->setting) ? config_setting_length(p->setting) : 1;
	bool durations = p->key->type == KEY_DURATIONS;
	size_t good = 0;

	if (!reader_is_list(p->setting) && config_setting_type(p->setting) != CONFIG_TYPE_STRING) {
		reader_complain_type(r, p);
		return;
	}
	if (count == 0) {
		reader_complain(r, p->setting, p->path, "the list is empty");
		return;
	}
	if (!durations && count > p->key->max) {
		reader_complain(r, p->setting, p->path, "has %d elements, more than %lld", count,
		    (long long)p->key->max);
		return;
	}
	int64_t *numbers = arena_array(r->arena, (size_t)count, sizeof(*numbers));
	const char **texts = arena_array(r->arena, (size_t)count, sizeof(*texts));

	for (int i = 0; i < count; i++) {
		struct place at;
		const char *text = element(r, p, i, &at);

		if (text == NULL)
			continue;
		if (durations)
			good += read_quantity(r, &at, text, &numbers[good]);
		else
			good += read_text(r, &at, text, &texts[good]);
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
		reader_complain(r, p->setting, p->path, "must be %s, not %lld",
		    config_keys_allowed(p->key, r->arena), (long long)number);
	else if (p->base != NULL)
		*(unsigned *)(void *)(p->base + p->key->offset) = (unsigned)number;
}

void
reader_fallback(struct reader *r, const struct place *p)
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

static const char *
path_of_part(struct reader *r, const char *path, const config_setting_t *part, int index)
{
	const char *name = config_setting_name(part);

	return name != NULL ? reader_join(r, path, name) : reader_join_index(r, path, index);
}

static void
flatten(struct reader *r, const config_setting_t *setting, const char *shown_path, const char *path,
    struct pairs *pairs)
{
	const char *value = "";

	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_GROUP:
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		for (int i = 0; i < config_setting_length(setting); i++) {
			const config_setting_t *part = config_setting_get_elem(setting, (unsigned)i);

			flatten(r, part, path_of_part(r, shown_path, part, i), path_of_part(r, path, part, i),
			    pairs);
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
			reader_complain(r, setting, shown_path, "the number is too large");
			return;
		}
		value = real_text(r, config_setting_get_float(setting));
		break;
	}
	if (pairs->count == pairs->cap) {
		pairs->cap = pairs->cap == 0 ? 16 : pairs->cap * 2;
		pairs->list = xrealloc(pairs->list, pairs->cap * sizeof(*pairs->list));
	}
	struct config_line line = reader_line(r, setting);

	pairs->list[pairs->count++] = (struct config_pair){ path, value, line.line, line.file };
}

static void
read_free(struct reader *r, const struct place *p)
{
	struct pairs pairs = { NULL, 0, 0 };
	struct config_pair *list;

	if (config_setting_type(p->setting) != CONFIG_TYPE_GROUP) {
		reader_complain_type(r, p);
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

void
reader_value(struct reader *r, const struct place *p)
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
			reader_complain_type(r, p);
		break;
	case KEY_BOOL:
		if (type != CONFIG_TYPE_BOOL)
			reader_complain_type(r, p);
		else if (p->base != NULL)
			*(bool *)(void *)(p->base + p->key->offset) = config_setting_get_bool(p->setting);
		break;
	case KEY_INT:
		if (is_number(p->setting))
			read_int(r, p, config_setting_get_int64(p->setting));
		else
			reader_complain_type(r, p);
		break;
	case KEY_TEXTS:
	case KEY_DURATIONS:
		read_list(r, p);
		break;
	case KEY_FREE:
		read_free(r, p);
		break;
	case KEY_GROUP:
	case KEY_GROUPS:
	case KEY_GROUP_LIST:
		break;		/* config_read.c */
	}
}
