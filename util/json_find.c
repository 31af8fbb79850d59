/*
 * json_find.c - finds values in a checked text, see json_scan.h. A text that was not checked gives
 * a wrong answer, never a wrong access.
 */
#include "util/json_scan.h"

#include <stdint.h>

#include "util/json_internal.h"

/* Behind the string that begins at p. */
static inline const char *
skip_string(const char *p, const char *end, bool *escaped)
{
	p++;
	for (;;) {
		for (; end - p >= 8; p += 8) {
			uint64_t word = json_load(p);
			uint64_t marks = json_equal(word, '"') | json_equal(word, '\\');

			if (marks != 0) {
				p += json_first_byte(marks);
				break;
			}
		}
		while (p < end && *p != '"' && *p != '\\')
			p++;
		if (end - p < 2)
			return end;
		if (*p == '"')
			return p + 1;
		*escaped = true;
		p += 2;
	}
}

/* Behind the object or array that begins at p. */
static const char *
skip_container(const char *p, const char *end)
{
	size_t depth = 0;
	bool escaped;

	while (p < end) {
		if (end - p >= 8) {
			uint64_t word = json_load(p);
			uint64_t folded = word | JSON_EACH(0x20);	/* [ ] become { } */
			uint64_t marks = json_equal(word, '"') | json_equal(folded, '{') |
			    json_equal(folded, '}');

			if (marks == 0) {
				p += 8;
				continue;
			}
			p += json_first_byte(marks);
		}
		switch (*p) {
		case '"':
			p = skip_string(p, end, &escaped);
			break;
		case '{':
		case '[':
			depth++;
			p++;
			break;
		case '}':
		case ']':
			p++;
			if (--depth == 0)
				return p;
			break;
		default:
			p++;
		}
	}
	return end;
}

static inline const char *
skip_value(const char *p, const char *end)
{
	bool escaped;

	if (p == end)
		return end;
	switch (*p) {
	case '"':
		return skip_string(p, end, &escaped);
	case '{':
	case '[':
		return skip_container(p, end);
	default:
		while (p < end && *p != ',' && *p != '}' && *p != ']' && (unsigned char)*p > ' ')
			p++;
		return p;
	}
}

static enum json_kind
kind_of(char first)
{
	switch (first) {
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case '"':
		return JSON_STRING;
	case 't':
		return JSON_TRUE;
	case 'f':
		return JSON_FALSE;
	case 'n':
		return JSON_NULL;
	default:
		return JSON_NUMBER;
	}
}

/* To the next key of an object or value of an array; p is behind its bracket or behind a value.
   NULL behind the last. */
static inline const char *
next_item(const char *p, const char *end)
{
	p = json_skip_space(p, end);
	if (p < end && *p == ',')
		p = json_skip_space(p + 1, end);
	return p == end || *p == '}' || *p == ']' ? NULL : p;
}

/* From behind a key to its value. */
static inline const char *
skip_colon(const char *p, const char *end)
{
	p = json_skip_space(p, end);
	return p < end ? json_skip_space(p + 1, end) : end;
}

/* One step of a pointer: the text up to the next slash. */
struct token { const char *text; size_t len; bool tilde; };

/* Compares a key (without its quotes) character by character, each with its own escapes undone. */
static bool
key_equals_slowly(const char *p, const char *end, const struct token *token)
{
	const char *t = token->text, *const t_end = t + token->len;

	while (p < end) {
		char one[4] = { *p };
		size_t len = 1;

		if (*p != '\\')
			p++;
		else if ((p = json_unescape_one(p, end, one, &len)) == NULL)
			return false;
		for (size_t i = 0; i < len; i++) {
			char wanted;

			if (t == t_end)
				return false;
			wanted = *t++;
			if (wanted == '~')
				wanted = *t++ == '0' ? '~' : '/';
			if (one[i] != wanted)
				return false;
		}
	}
	return t == t_end;
}

/* key is without its quotes. */
static inline bool
key_equals(const char *key, size_t len, bool escaped, const struct token *token)
{
	if (!escaped && !token->tilde)
		return len == token->len && memcmp(key, token->text, len) == 0;
	return key_equals_slowly(key, key + len, token);
}

/* The value of a member. It looks at all keys: one that stands twice must not be taken. */
static enum json_status
find_member(const char *p, const char *end, const struct token *token, const char **value,
    const char **culprit)
{
	const char *found = NULL;

	for (p = next_item(p + 1, end); p != NULL; p = next_item(p, end)) {
		const char *key = p;
		bool escaped = false, same;

		if (*p != '"')
			break;
		p = skip_string(p, end, &escaped);
		same = p - key >= 2 && key_equals(key + 1, (size_t)(p - key) - 2, escaped, token);
		p = skip_colon(p, end);
		if (same && found != NULL) {
			*culprit = key;
			return JSON_DOUBLE_KEY;
		}
		if (same)
			found = p;
		p = skip_value(p, end);
	}
	*value = found;
	return found != NULL ? JSON_OK : JSON_MISSING;
}

/* The same among the items: of number 'at', an object. */
static enum json_status
lookup_member(const struct json_index *index, const struct token *token, uint32_t *at,
    const char **culprit)
{
	uint32_t found = 0;

	for (uint32_t i = *at + 1; i < index->items[*at].next; i = index->items[i].next) {
		const struct json_item *item = &index->items[i];

		const char *key = index->text.data + item->key;

		if (!key_equals(key, item->key_len, item->key_escaped, token))
			continue;
		if (found != 0) {
			*culprit = key - 1;
			return JSON_DOUBLE_KEY;
		}
		found = i;
	}
	*at = found;
	return found != 0 ? JSON_OK : JSON_MISSING;
}

/* Digits without leading zeros. "-", which stands for the element behind the last one, is none. */
static bool
token_number(const struct token *token, size_t *number)
{
	*number = 0;
	if (token->len == 0 || token->len > 18 || (token->text[0] == '0' && token->len > 1))
		return false;
	for (size_t i = 0; i < token->len; i++) {
		if (token->text[i] < '0' || token->text[i] > '9')
			return false;
		*number = *number * 10 + (size_t)(token->text[i] - '0');
	}
	return true;
}

static enum json_status
find_element(const char *p, const char *end, const struct token *token, const char **value)
{
	size_t number;

	if (!token_number(token, &number))
		return JSON_MISSING;
	for (p = next_item(p + 1, end); p != NULL; p = next_item(p, end)) {
		if (number-- == 0) {
			*value = p;
			return JSON_OK;
		}
		p = skip_value(p, end);
	}
	return JSON_MISSING;
}

static enum json_status
lookup_element(const struct json_index *index, const struct token *token, uint32_t *at)
{
	size_t number;

	if (!token_number(token, &number))
		return JSON_MISSING;
	for (uint32_t i = *at + 1; i < index->items[*at].next; i = index->items[i].next) {
		if (number-- == 0) {
			*at = i;
			return JSON_OK;
		}
	}
	return JSON_MISSING;
}

/* The next step of the pointer; false if it is not RFC 6901. */
static bool
next_token(const char **pointer, struct token *token)
{
	const char *p = *pointer;

	if (*p++ != '/')
		return false;
	*token = (struct token){ .text = p };
	for (; *p != '\0' && *p != '/'; p++) {
		if (*p != '~')
			continue;
		token->tilde = true;
		if (p[1] != '0' && p[1] != '1')
			return false;
	}
	token->len = (size_t)(p - token->text);
	*pointer = p;
	return true;
}

bool
json_pointer_valid(const char *pointer)
{
	struct token token;

	while (*pointer != '\0') {
		if (!next_token(&pointer, &token))
			return false;
	}
	return true;
}

/* An escaped NUL in a string, or NULL. */
static const char *
find_nul(const char *p, const char *end)
{
	while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL && end - p >= 6) {
		if (memcmp(p, "\\u0000", 6) == 0)
			return p;
		p += 2;
	}
	return NULL;
}

/* What has been found, or why not: [p, end) is the value, culprit where a double key stands, rest
   what is left of the pointer. */
static enum json_status
conclude(enum json_status status, const char *start, const char *p, const char *end,
    const char *culprit, const char *rest, struct json_value *value, size_t *offset)
{
	if (status == JSON_MISSING && !json_pointer_valid(rest))
		return JSON_BAD_POINTER;
	if (status == JSON_OK) {
		*value = (struct json_value){ kind_of(*p), { p, (size_t)(end - p) } };
		if (value->kind != JSON_STRING || (culprit = find_nul(p, end)) == NULL)
			return JSON_OK;
		status = JSON_ESCAPED_NUL;
	}
	if (status != JSON_MISSING && offset != NULL)
		*offset = (size_t)(culprit - start);
	return status;
}

enum json_status
json_scan_find(struct slice text, const char *pointer, struct json_value *value, size_t *offset)
{
	const char *const start = text.len > 0 ? text.data : "", *const end = start + text.len;
	const char *p = json_skip_space(start, end), *culprit = start;
	enum json_status status = JSON_OK;
	struct token token;

	while (*pointer != '\0' && status == JSON_OK) {
		if (!next_token(&pointer, &token))
			return JSON_BAD_POINTER;
		if (p < end && *p == '{')
			status = find_member(p, end, &token, &p, &culprit);
		else if (p < end && *p == '[')
			status = find_element(p, end, &token, &p);
		else
			status = JSON_MISSING;
	}
	if (status == JSON_OK && p == end)
		status = JSON_MISSING;
	return conclude(status, start, p, status == JSON_OK ? skip_value(p, end) : NULL, culprit,
	    pointer, value, offset);
}

enum json_status
json_scan_lookup(const struct json_index *index, const char *pointer, struct json_value *value,
    size_t *offset)
{
	const char *const start = index->text.data, *culprit = start;
	enum json_status status = JSON_OK;
	struct token token;
	uint32_t at = 0;

	if (!index->whole || index->count == 0)
		return json_scan_find(index->text, pointer, value, offset);
	while (*pointer != '\0' && status == JSON_OK) {
		if (!next_token(&pointer, &token))
			return JSON_BAD_POINTER;
		if (start[index->items[at].value] == '{')
			status = lookup_member(index, &token, &at, &culprit);
		else if (start[index->items[at].value] == '[')
			status = lookup_element(index, &token, &at);
		else
			status = JSON_MISSING;
	}
	return conclude(status, start, start + index->items[at].value, start + index->items[at].end,
	    culprit, pointer, value, offset);
}

bool
json_scan_next(struct slice container, size_t *at, struct slice *key, struct json_value *value)
{
	const char *const start = container.data, *const end = start + container.len;
	const char *p, *behind;
	bool object = container.len > 0 && *start == '{', escaped;

	*key = (struct slice){ "", 0 };
	if (*at >= container.len || (!object && *start != '['))
		return false;
	p = next_item(start + (*at == 0 ? 1 : *at), end);
	if (p == NULL || (object && *p != '"'))
		return false;
	if (object) {
		behind = skip_string(p, end, &escaped);
		*key = (struct slice){ p, (size_t)(behind - p) };
		p = skip_colon(behind, end);
	}
	if (p == end)
		return false;
	behind = skip_value(p, end);
	*value = (struct json_value){ kind_of(*p), { p, (size_t)(behind - p) } };
	*at = (size_t)(behind - start);
	return true;
}
