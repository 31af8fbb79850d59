/*
 * config_syntax.h - finds the syntax errors of a configuration and says what each is likely to be.
 *
 * libconfig says "syntax error" and a line, often a later one, and loses memory on the way. So it gets only what passed here.
 */
#ifndef PAWL_COMMON_CONFIG_SYNTAX_H
#define PAWL_COMMON_CONFIG_SYNTAX_H
#include "common/config_text.h"

/* -1: the first syntax error is in the text's errors. */
int	config_syntax_check(const struct config_text *) ATTR_MUST_CHECK ATTR_NONNULL;
/* What libconfig still found: adds one error. line and what are its own. */
void	config_syntax_explain(const struct config_text *, unsigned line, const char *what) ATTR_NONNULL;
#endif
