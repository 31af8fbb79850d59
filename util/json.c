/*
 * json.c - see json.h.
 */
#include "util/json.h"

#include <json-c/json.h>

#include "util/arena.h"

/* struct json is json-c's object under another name. */
static struct json_object *
inner(struct json *j)
{
	return (struct json_object *)(void *)j;
}

static struct json *
outer(struct json_object *o)
{
	if (o == NULL)
		return xmalloc(SIZE_MAX);	/* ends the process as any lack of memory does */
	return (struct json *)(void *)o;
}

static struct json *
put(struct json *parent, const char *name, struct json_object *value)
{
	struct json *j = outer(value);

	if (json_object_object_add(inner(parent), name, value) < 0)
		outer(NULL);
	return j;
}

struct json *
json_new_object(void)
{
	return outer(json_object_new_object());
}

struct json *
json_new_array(void)
{
	return outer(json_object_new_array());
}

void
json_free(struct json **j)
{
	if (*j != NULL)
		json_object_put(inner(*j));
	*j = NULL;
}

void
json_put_text(struct json *j, const char *name, const char *text)
{
	put(j, name, json_object_new_string(text));
}

void
json_put_int(struct json *j, const char *name, int64_t number)
{
	put(j, name, json_object_new_int64(number));
}

void
json_put_real(struct json *j, const char *name, double number)
{
	char text[64];

	snprintf(text, sizeof(text), "%.3f", number);
	put(j, name, json_object_new_double_s(number, text));
}

void
json_put_bool(struct json *j, const char *name, bool value)
{
	put(j, name, json_object_new_boolean(value));
}

struct json *
json_put_object(struct json *j, const char *name)
{
	return put(j, name, json_object_new_object());
}

struct json *
json_put_array(struct json *j, const char *name)
{
	return put(j, name, json_object_new_array());
}

struct json *
json_append_object(struct json *array)
{
	struct json_object *o = json_object_new_object();
	struct json *j = outer(o);

	if (json_object_array_add(inner(array), o) < 0)
		outer(NULL);
	return j;
}

const char *
json_text(struct json *j, bool readable)
{
	return json_object_to_json_string_ext(inner(j), JSON_C_TO_STRING_NOSLASHESCAPE |
	    (readable ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED : JSON_C_TO_STRING_PLAIN));
}
