/*
 * json_internal.h - what the parts of the scanner share: eight bytes at a time, and escapes. For
 * json_*.c only.
 */
#ifndef PAWL_UTIL_JSON_INTERNAL_H
#define PAWL_UTIL_JSON_INTERNAL_H
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define JSON_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t
json_load(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return le64toh(word);
}

/* Sets the top bit of each byte that is below 'bound' (at most 0x80). Right up to the first such
   byte; those behind it may be wrong. */
static inline uint64_t
json_below(uint64_t word, unsigned char bound)
{
	return (word - JSON_EACH(bound)) & ~word & JSON_EACH(0x80);
}

static inline uint64_t
json_equal(uint64_t word, unsigned char byte)
{
	return json_below(word ^ JSON_EACH(byte), 1);
}

static inline size_t
json_first_byte(uint64_t marks)
{
	return (size_t)__builtin_ctzll(marks) / 8;
}

static inline const char *
json_skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

/* The first byte that does not stand for itself in a string: a quote, a backslash, a control
   character, or not ASCII. */
static inline const char *
json_skip_plain(const char *p, const char *end)
{
	for (; end - p >= 8; p += 8) {
		uint64_t word = json_load(p);
		uint64_t marks = json_below(word, 0x20) | json_equal(word, '"') |
		    json_equal(word, '\\') | (word & JSON_EACH(0x80));

		if (marks != 0)
			return p + json_first_byte(marks);
	}
	while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' &&
	    *p != '\\')
		p++;
	return p;
}

/* Four hexadecimal digits at p, or -1. */
int	json_hex4(const char *p, const char *end);

static inline bool
json_high_surrogate(int unit)
{
	return unit >= 0xd800 && unit <= 0xdbff;
}

static inline bool
json_low_surrogate(int unit)
{
	return unit >= 0xdc00 && unit <= 0xdfff;
}

/* What a letter behind a backslash stands for; 0: nothing (a 'u' is not here). */
extern const char json_escape_value[256];
/* The character that the escape at p stands for, as UTF-8. Returns what is behind the escape; NULL
   if that is beyond the end. */
const char *json_unescape_one(const char *p, const char *end, char out[4], size_t *len);
#endif
