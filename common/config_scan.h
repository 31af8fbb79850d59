/*
 * config_scan.h - the words of a libconfig file, one after the other, as libconfig's own scanner (1.5 to 1.8) sees them.
 *
 * It serves what libconfig does not do: includes relative to their file, limits, long numbers, and saying what a syntax error is likely to be.
 */
#ifndef PAWL_COMMON_CONFIG_SCAN_H
#define PAWL_COMMON_CONFIG_SCAN_H
#include <stdbool.h>
#include <stddef.h>
#include "util/attr.h"
#include "util/slice.h"

enum config_token {
	TOKEN_END, TOKEN_NAME, TOKEN_TEXT, TOKEN_BOOL, TOKEN_INTEGER, TOKEN_REAL, TOKEN_EQUALS, TOKEN_COMMA, TOKEN_SEMICOLON,
	TOKEN_OPEN,		/* { ( [ */
	TOKEN_CLOSE,		/* } ) ] */
	TOKEN_INCLUDE,		/* @include "x" at the start of a line; value is what is between the quotes, escapes kept */
	TOKEN_OPEN_TEXT,	/* a text that does not end */
	TOKEN_OPEN_COMMENT,	/* a comment that does not end */
	TOKEN_OTHER		/* a character that has no place in a file */
};
struct config_scan {
	struct slice text;
	size_t at;		/* behind the token */
	unsigned line_at;	/* of 'at'; from 1 */
	enum config_token token;
	struct slice raw;	/* the token as it stands */
	struct slice value;	/* TEXT, INCLUDE: between the quotes */
	unsigned line;		/* where the token begins */
	bool has_nul;		/* TEXT with \x00 */
};

void	config_scan_init(struct config_scan *, struct slice text) ATTR_NONNULL;
enum config_token config_scan_next(struct config_scan *) ATTR_NONNULL;
#endif
