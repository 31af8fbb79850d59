/*
 * config_syntax.h - says what a syntax error is likely to be. libconfig says "syntax error" and a line, often a later one.
 */
#ifndef PAWL_COMMON_CONFIG_SYNTAX_H
#define PAWL_COMMON_CONFIG_SYNTAX_H
#include "common/config_text.h"

/* Adds exactly one error. line and what are libconfig's: used when nothing better is found. */
void	config_syntax_explain(const struct config_text *, unsigned line, const char *what) ATTR_NONNULL;
/* Texts and comments that do not end, which libconfig may let pass. -1: an error was added. */
int	config_syntax_check_ends(const struct config_text *) ATTR_MUST_CHECK ATTR_NONNULL;
#endif
