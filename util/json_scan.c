/*
 * json_scan.c - checks a text, see json_scan.h. Ends nothing and allocates nothing; never reads
 * outside of the text.
 *
 * Strings make up most of a message, so the scan through them is the one that is tuned: eight bytes
 * at a time.
 */
#include "util/json_scan.h"

#include <stdint.h>

#include "util/json_internal.h"
#include "util/utf8.h"

/* The nesting is kept in the bits of one word: 1 is an object. */
_Static_assert(JSON_SCAN_DEPTH <= 64, "a bit for each level");

/* Each of these moves *at behind what it has checked, or to where that went wrong. */

static enum json_status
check_escape(const char **at, const char *end)
{
	const char *p = *at;

	if (end - p < 2)
		return JSON_SYNTAX;
	if (json_escape_value[(unsigned char)p[1]] != 0) {
		*at = p + 2;
		return JSON_OK;
	}
	if (p[1] != 'u')
		return JSON_SYNTAX;

	int unit = json_hex4(p + 2, end);

	if (unit < 0)
		return JSON_SYNTAX;
	if (json_low_surrogate(unit))
		return JSON_BAD_UTF8;
	if (json_high_surrogate(unit)) {
		if (end - p < 8 || p[6] != '\\' || p[7] != 'u' ||
		    !json_low_surrogate(json_hex4(p + 8, end)))
			return JSON_BAD_UTF8;
		p += 6;
	}
	*at = p + 6;
	return JSON_OK;
}

static inline enum json_status
check_string(const char **at, const char *end, bool *escaped)
{
	const char *p = *at + 1;
	enum json_status status = JSON_OK;

	while (status == JSON_OK) {
		p = json_skip_plain(p, end);
		if (p == end || (unsigned char)*p < 0x20) {
			status = JSON_SYNTAX;
		} else if (*p == '"') {
			p++;
			break;
		} else if (*p == '\\') {
			*escaped = true;
			status = check_escape(&p, end);
		} else {
			for (size_t n; p < end && (unsigned char)*p >= 0x80 && status == JSON_OK;
			     p += n) {
				n = utf8_length(p, (size_t)(end - p));
				if (n == 0)
					status = JSON_BAD_UTF8;
			}
		}
	}
	*at = p;
	return status;
}

static bool
check_digits(const char **at, const char *end)
{
	const char *p = *at;

	while (p < end && *p >= '0' && *p <= '9')
		p++;

	bool any = p > *at;

	*at = p;
	return any;
}

static enum json_status
check_number(const char **at, const char *end)
{
	if (**at == '-')
		(*at)++;
	if (*at < end && **at == '0')
		(*at)++;
	else if (!check_digits(at, end))
		return JSON_SYNTAX;
	if (*at < end && **at == '.') {
		(*at)++;
		if (!check_digits(at, end))
			return JSON_SYNTAX;
	}
	if (*at < end && (**at == 'e' || **at == 'E')) {
		(*at)++;
		if (*at < end && (**at == '+' || **at == '-'))
			(*at)++;
		if (!check_digits(at, end))
			return JSON_SYNTAX;
	}
	return JSON_OK;
}

static enum json_status
check_literal(const char **at, const char *end, const char *literal)
{
	for (; *literal != '\0'; literal++, (*at)++) {
		if (*at == end || **at != *literal)
			return JSON_SYNTAX;
	}
	return JSON_OK;
}

static inline enum json_status
check_scalar(const char **at, const char *end)
{
	bool escaped;

	if (*at == end)
		return JSON_SYNTAX;
	switch (**at) {
	case '"':
		return check_string(at, end, &escaped);
	case 't':
		return check_literal(at, end, "true");
	case 'f':
		return check_literal(at, end, "false");
	case 'n':
		return check_literal(at, end, "null");
	default:
		return check_number(at, end);
	}
}

/* A key and its colon. item may be NULL. */
static inline enum json_status
check_key(const char **at, const char *end, const char *start, struct json_item *item)
{
	enum json_status status;
	bool escaped = false;
	const char *key;

	*at = key = json_skip_space(*at, end);
	if (*at == end || **at != '"')
		return JSON_SYNTAX;
	status = check_string(at, end, &escaped);
	if (status != JSON_OK)
		return status;
	if (item != NULL) {
		item->key = (uint32_t)(key + 1 - start);
		item->key_len = (uint32_t)(*at - key - 2);
		item->key_escaped = escaped;
	}
	*at = json_skip_space(*at, end);
	if (*at == end || **at != ':')
		return JSON_SYNTAX;
	(*at)++;
	return JSON_OK;
}

/* The place for the next value; NULL when there is none left. */
static inline struct json_item *
new_item(struct json_index *index)
{
	if (index->count == JSON_INDEX_MAX)
		index->whole = false;
	return index->whole ? &index->items[index->count++] : NULL;
}

/* index may be NULL: inlined, so that who wants none does not pay for it. */
__attribute__((always_inline)) static inline enum json_status
check_document(const char **at, const char *end, struct json_index *index)
{
	const char *const start = *at;
	uint64_t objects = 0;			/* lowest bit: innermost container */
	struct json_item *open[JSON_SCAN_DEPTH], *item = NULL;
	unsigned depth = 0;
	enum json_status status;

	do {
		if (index != NULL)
			item = new_item(index);
		if (objects & 1) {
			status = check_key(at, end, start, item);
			if (status != JSON_OK)
				return status;
		}
		*at = json_skip_space(*at, end);
		if (item != NULL)
			item->value = (uint32_t)(*at - start);
		if (*at < end && (**at == '{' || **at == '[')) {
			if (depth == JSON_SCAN_DEPTH)
				return JSON_TOO_DEEP;
			open[depth++] = item;
			objects = objects << 1 | (**at == '{');
			*at = json_skip_space(*at + 1, end);
			if (*at == end || **at != (objects & 1 ? '}' : ']'))
				continue;
		} else {
			status = check_scalar(at, end);
			if (status != JSON_OK)
				return status;
			if (item != NULL) {
				item->end = (uint32_t)(*at - start);
				item->next = index->count;
			}
			*at = json_skip_space(*at, end);
		}
		/* Behind a value, or in an empty container: close what closes here. */
		for (; depth > 0 && *at < end && **at == (objects & 1 ? '}' : ']');
		     *at = json_skip_space(*at + 1, end)) {
			depth--;
			objects >>= 1;
			if (index != NULL && open[depth] != NULL) {
				open[depth]->end = (uint32_t)(*at + 1 - start);
				open[depth]->next = index->count;
			}
		}
		if (depth > 0) {
			if (*at == end || **at != ',')
				return JSON_SYNTAX;
			(*at)++;
		}
	} while (depth > 0);
	return *at == end ? JSON_OK : JSON_SYNTAX;
}

static enum json_status
check(struct slice text, struct json_index *index, size_t *offset)
{
	const char *at = text.len > 0 ? text.data : "";
	const char *const start = at;
	enum json_status status = index != NULL ? check_document(&at, start + text.len, index) :
	    check_document(&at, start + text.len, NULL);

	if (status != JSON_OK && offset != NULL)
		*offset = (size_t)(at - start);
	return status;
}

enum json_status
json_scan_check(struct slice text, size_t *offset)
{
	return check(text, NULL, offset);
}

enum json_status
json_scan_index(struct slice text, struct json_index *index, size_t *offset)
{
	enum json_status status;

	index->text = text;
	index->whole = text.len <= UINT32_MAX;
	index->count = 0;
	status = check(text, index, offset);
	if (status != JSON_OK)
		index->whole = false;
	return status;
}
