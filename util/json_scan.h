/*
 * json_scan.h - strict RFC 8259 scanner: no tree, no allocation, depth 64. Finds values where they stand.
 *
 * The whole text is validated by json_scan_check() once; the finders walk a text that was found valid and return slices of
 * it, as written: 12.50 stays 12.50, forty digits stay forty digits. Texts are UTF-8 (checked: no overlong forms, no
 * surrogates, whole pairs of escaped ones). If a key on the path stands twice in its object, or if the string that is found has an
 * escaped NUL, that is an error; keys are compared without their escapes. No function reads outside of its text, checked or not.
 */
#ifndef PAWL_UTIL_JSON_SCAN_H
#define PAWL_UTIL_JSON_SCAN_H
#include <stdint.h>
#include "util/attr.h"
#include "util/slice.h"

enum { JSON_SCAN_DEPTH = 64, JSON_INDEX_MAX = 256 };
enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };
enum json_status {
	JSON_OK = 0,
	JSON_MISSING = -1,		/* the pointer leads nowhere */
	JSON_SYNTAX = -2,		/* not RFC 8259 */
	JSON_TOO_DEEP = -3,
	JSON_BAD_UTF8 = -4,
	JSON_DOUBLE_KEY = -5,
	JSON_ESCAPED_NUL = -6,
	JSON_BAD_POINTER = -7,		/* not RFC 6901 */
	JSON_NO_ROOM = -8
};
struct json_value { enum json_kind kind; struct slice raw; };	/* raw: exactly the value's text; a string with its quotes */

/* offset (may be NULL) gets where it went wrong, in bytes from the start of text. */
enum json_status json_scan_check(struct slice text, size_t *offset);
/* RFC 6901 pointer ("" = whole text, "/items/0/price", ~0 ~1). text must have passed json_scan_check. */
enum json_status json_scan_find(struct slice text, const char *pointer, struct json_value *, size_t *offset);
bool	json_pointer_valid(const char *pointer) ATTR_NONNULL;

/* Who looks for several values of one text notes where they stand while it is checked: a lookup then does not scan the text again (30 ns
 * instead of 300). Values beyond JSON_INDEX_MAX are not noted; lookup scans then. The text stays borrowed; the struct is 6 KiB. */
struct json_item { uint32_t key, key_len, value, end, next; bool key_escaped; };	/* offsets; next: behind it and all that it contains */
struct json_index {
	struct slice text;
	bool whole;			/* all values are noted */
	uint32_t count;
	struct json_item items[JSON_INDEX_MAX];
};
enum json_status json_scan_index(struct slice text, struct json_index *, size_t *offset);	/* json_scan_check, and notes */
enum json_status json_scan_lookup(const struct json_index *, const char *pointer, struct json_value *, size_t *offset);	/* json_scan_find */

/* A string value's text without quotes and escapes. out must have room for raw.len bytes; it gets a NUL behind it. JSON_ESCAPED_NUL or JSON_OK. */
enum json_status json_scan_unescape(struct slice raw, char *out, size_t *out_len);
/* Members of an object / elements of an array, in order: *at starts at 0. false: no more. key: raw with quotes, empty in arrays. */
bool	json_scan_next(struct slice container, size_t *at, struct slice *key, struct json_value *value);
const char *json_status_text(enum json_status);
/* Writing: text as a JSON string with quotes is appended to a buf. Bytes that are not UTF-8 become U+FFFD. */
struct buf;
void	json_quote(struct buf *, struct slice text);
#endif
