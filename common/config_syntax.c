/*
 * config_syntax.c - walks a configuration by libconfig's grammar, up to the first token that has no place.
 *
 *   file, group  NAME (= | :) VALUE [; | ,] ...
 *   list ( )     VALUE, VALUE ...
 *   array [ ]    plain VALUE, plain VALUE ...
 */
#include "common/config_syntax.h"

#include "common/config_scan.h"
#include "common/config_value.h"

enum expected { A_NAME, EQUALS, A_VALUE, AN_ELEMENT, AFTER_VALUE, AFTER_ELEMENT };

struct opened { char bracket; unsigned line; };
struct walk {
	const struct config_text *text;
	struct config_scan s;
	enum expected expected;
	struct opened stack[CONFIG_TEXT_DEPTH_MAX + 1];
	size_t depth;
	struct config_scan last;	/* the token before this one */
	enum config_token last_but_one;
	unsigned long_text;		/* line of a text that seems to lack its end; 0: none so far */
	char name[64], former[64];	/* of the last setting, and of the one before */
};

static void	say(struct walk *, unsigned line, const char *fmt, ...) ATTR_PRINTF(3, 4);

static void
say(struct walk *w, unsigned line, const char *fmt, ...)
{
	struct config_line place = config_text_line(w->text, line);
	va_list ap;

	va_start(ap, fmt);
	config_error(w->text->errors, place.file, place.line, NULL, "syntax error: %s",
	    arena_vprintf(w->text->arena, fmt, ap));
	va_end(ap);
}

/* A token in a message. Not the content of texts: it may be a password. */
static const char *
shown(struct walk *w, const struct config_scan *s)
{
	if (s->token == TOKEN_TEXT || s->token == TOKEN_OPEN_TEXT)
		return "a text";
	return config_quote(w->text->arena, arena_memdup(w->text->arena, s->raw.data, s->raw.len));
}

/* The number of the line as its own file counts it, and the file if it is another one. */
static const char *
place_of(struct walk *w, unsigned line)
{
	struct config_line at = config_text_line(w->text, line),
			   here = config_text_line(w->text, w->s.line);

	if (strcmp(at.file, here.file) == 0)
		return arena_printf(w->text->arena, "line %d", at.line);
	return arena_printf(w->text->arena, "%s:%d", at.file, at.line);
}

static char
closing(char bracket)
{
	return bracket == '{' ? '}' : bracket == '(' ? ')' : ']';
}

static bool
touches_last(const struct walk *w)
{
	return w->last.raw.data != NULL && w->last.raw.data + w->last.raw.len == w->s.raw.data;
}

static bool
is_number(enum config_token token)
{
	return token == TOKEN_INTEGER || token == TOKEN_REAL;
}

static bool
is_dot(const struct config_scan *s)
{
	return s->token == TOKEN_REAL && s->raw.data[0] == '.';
}

static void
explain_no_name(struct walk *w)
{
	const struct opened *in = w->depth > 0 ? &w->stack[w->depth - 1] : NULL;

	switch (w->s.token) {
	case TOKEN_END:
		say(w, in->line,
		    "this '%c' is not closed: a '%c' is missing before the end of the file",
		    in->bracket, closing(in->bracket));
		break;
	case TOKEN_CLOSE:
		if (in == NULL)
			say(w, w->s.line,
			    "this '%c' closes nothing; there is one too many, or an opening one is missing before it",
			    w->s.raw.data[0]);
		else
			say(w, w->s.line, "'%c' where '%c' must come, which closes the '%c' of %s",
			    w->s.raw.data[0], closing(in->bracket), in->bracket,
			    place_of(w, in->line));
		break;
	case TOKEN_TEXT:
		say(w, w->s.line,
		    "%s where the name of a setting must come; names are written without quotes",
		    shown(w, &w->s));
		break;
	case TOKEN_SEMICOLON:
	case TOKEN_COMMA:
		say(w, w->s.line, "a '%c' too many", w->s.raw.data[0]);
		break;
	case TOKEN_EQUALS:
		say(w, w->s.line, "a name is missing before '%c'", w->s.raw.data[0]);
		break;
	case TOKEN_OPEN:
		say(w, w->s.line, "a name and ':' are missing before '%c'", w->s.raw.data[0]);
		break;
	default:
		if (is_number(w->last.token))
			say(w, w->last.line, "the value of \"%s\" needs quotes", w->name);
		else
			say(w, w->s.line,
			    "%s where the name of a setting must come; a setting is NAME = VALUE;",
			    shown(w, &w->s));
	}
}

static void
explain_no_equals(struct walk *w)
{
	if (is_dot(&w->s) && touches_last(w))
		say(w, w->s.line,
		    "a name before '=' or ':' has no '.'; use '-' or '_' in it (of a queue: and say queue = \"...\")");
	else if (is_number(w->last_but_one))		/* 30s is a number and a name */
		say(w, w->last.line, "the value of \"%s\" needs quotes, like \"30s\"", w->former);
	else if (w->s.token == TOKEN_OPEN)
		say(w, w->last.line, "':' is missing between \"%s\" and '%c'", w->name,
		    w->s.raw.data[0]);
	else
		say(w, w->last.line, "'=' is missing behind \"%s\"", w->name);
}

static void
explain_no_value(struct walk *w)
{
	switch (w->s.token) {
	case TOKEN_NAME:
		say(w, w->s.line, "the value of \"%s\" needs quotes", w->name);
		break;
	case TOKEN_END:
	case TOKEN_SEMICOLON:
	case TOKEN_COMMA:
	case TOKEN_CLOSE:
		say(w, w->last.line, "the value of \"%s\" is missing", w->name);
		break;
	case TOKEN_EQUALS:
		say(w, w->s.line, "a '%c' too many behind \"%s\"", w->s.raw.data[0], w->name);
		break;
	default:
		say(w, w->s.line, "%s is no value for \"%s\"; texts need quotes", shown(w, &w->s),
		    w->name);
	}
}

static void
explain_element(struct walk *w)
{
	const struct opened *in = &w->stack[w->depth - 1];
	struct config_scan after;
	char close = closing(in->bracket);

	switch (w->s.token) {
	case TOKEN_END:
		say(w, in->line, "this '%c' is not closed: a '%c' is missing", in->bracket, close);
		break;
	case TOKEN_CLOSE:
	case TOKEN_EQUALS:
	case TOKEN_SEMICOLON:
		say(w, w->s.line, "'%c' in the list that begins on %s; is its '%c' missing before?",
		    w->s.raw.data[0], place_of(w, in->line), close);
		break;
	case TOKEN_COMMA:
		say(w, w->s.line, "a ',' too many in a list");
		break;
	case TOKEN_OPEN:
		if (w->expected == AN_ELEMENT && in->bracket == '[')
			say(w, w->s.line,
			    "'%c' between '[' and ']', which hold plain values only; a list of groups is ( { ... }, { ... } )",
			    w->s.raw.data[0]);
		else
			say(w, w->s.line, "a ',' is missing before '%c'", w->s.raw.data[0]);
		break;
	case TOKEN_NAME:
		after = w->s;
		if (w->expected == AN_ELEMENT && in->bracket == '(' &&
		    config_scan_next(&after) == TOKEN_EQUALS)
			say(w, w->s.line, "a setting in a list needs braces: ( { %.*s = ... } )",
			    (int)(w->s.raw.len < 60 ? w->s.raw.len : 60), w->s.raw.data);
		else if (w->expected == AN_ELEMENT)
			say(w, w->s.line,
			    "an element of a list needs quotes, or braces if it is a group");
		else
			say(w, w->s.line,
			    "%s in the list that begins on %s; is its '%c' missing before?",
			    shown(w, &w->s), place_of(w, in->line), close);
		break;
	default:
		if (w->expected == AFTER_ELEMENT)
			say(w, w->s.line, "a ',' is missing before %s", shown(w, &w->s));
		else
			say(w, w->s.line, "%s is no element of a list", shown(w, &w->s));
	}
}

/* The token fits: true, and w expects the next one. */
static bool
step(struct walk *w)
{
	enum config_token token = w->s.token;
	const struct opened *in = w->depth > 0 ? &w->stack[w->depth - 1] : NULL;

	if (w->expected == AFTER_VALUE) {
		if (token == TOKEN_TEXT && w->last.token == TOKEN_TEXT)
			return true;			/* "a" "b" is one text */
		w->expected = A_NAME;
		if (token == TOKEN_SEMICOLON || token == TOKEN_COMMA)
			return true;
	}
	switch (w->expected) {
	case A_NAME:
		if (token == TOKEN_NAME) {
			memcpy(w->former, w->name, sizeof(w->former));
			snprintf(w->name, sizeof(w->name), "%.*s",
			    (int)(w->s.raw.len < 60 ? w->s.raw.len : 60), w->s.raw.data);
			w->expected = EQUALS;
			return true;
		}
		if (token == TOKEN_END)
			return in == NULL;
		break;
	case EQUALS:
		w->expected = A_VALUE;
		return token == TOKEN_EQUALS || (w->expected = EQUALS, false);
	case A_VALUE:
	case AN_ELEMENT:
		if (token == TOKEN_TEXT || token == TOKEN_BOOL || token == TOKEN_INTEGER ||
		    (token == TOKEN_REAL && w->s.raw.len > 1)) {
			w->expected = w->expected == A_VALUE ? AFTER_VALUE : AFTER_ELEMENT;
			return true;
		}
		if (token == TOKEN_OPEN && (in == NULL || in->bracket != '[') &&
		    w->depth < ARRAY_SIZE(w->stack)) {
			char bracket = w->s.raw.data[0];

			w->stack[w->depth++] = (struct opened){ bracket, w->s.line };
			w->expected = bracket == '{' ? A_NAME : AN_ELEMENT;
			return true;
		}
		/* ( ) and [ ] may be empty; a comma before the bracket is blank by now */
		if (w->expected == A_VALUE || w->last.token != TOKEN_OPEN)
			return false;
		break;
	case AFTER_ELEMENT:
		if (token == TOKEN_TEXT && w->last.token == TOKEN_TEXT)
			return true;
		if (token == TOKEN_COMMA) {
			w->expected = AN_ELEMENT;
			return true;
		}
		break;
	case AFTER_VALUE:
		break;
	}
	if (token == TOKEN_CLOSE && in != NULL && closing(in->bracket) == w->s.raw.data[0]) {
		w->depth--;
		w->expected = AFTER_VALUE;
		if (w->depth > 0 && w->stack[w->depth - 1].bracket != '{')
			w->expected = AFTER_ELEMENT;
		return true;
	}
	return false;
}

/* A text over several lines is good in itself. But one that is closed where a text is more likely to begin was not meant to be so long. */
static bool
looks_unclosed(const struct config_scan *s)
{
	if (s->token != TOKEN_TEXT || memchr(s->raw.data, '\n', s->raw.len) == NULL)
		return false;
	return s->at < s->text.len && strchr(" \t\r\n\f;,)]}#", s->text.data[s->at]) == NULL;
}

static void
remember(struct walk *w)
{
	if (w->long_text == 0 && looks_unclosed(&w->s))
		w->long_text = w->s.line;
	w->last_but_one = w->last.token;
	w->last = w->s;
}

static void
explain(struct walk *w)
{
	if (w->s.token == TOKEN_OPEN_COMMENT)
		say(w, w->s.line, "the comment that begins here does not end; a \"*/\" is missing");
	else if (w->long_text != 0)		/* from there on all is read inside out */
		say(w, w->long_text,
		    "the text that begins on this line goes on over its end; is a closing '\"' missing?");
	else if (w->s.token == TOKEN_OPEN_TEXT)
		say(w, w->s.line,
		    "the text that begins on this line does not end; a closing '\"' is missing");
	else if (w->expected == A_NAME)
		explain_no_name(w);
	else if (w->expected == EQUALS)
		explain_no_equals(w);
	else if (w->expected == A_VALUE)
		explain_no_value(w);
	else
		explain_element(w);
}

int
config_syntax_check(const struct config_text *text)
{
	struct walk w = { .text = text, .expected = A_NAME };

	config_scan_init(&w.s, (struct slice){ text->text.data, text->text.len });
	do {
		config_scan_next(&w.s);
		if (!step(&w)) {
			explain(&w);
			return -1;
		}
		remember(&w);
	} while (w.s.token != TOKEN_END);
	return 0;
}

void
config_syntax_explain(const struct config_text *text, unsigned line, const char *what)
{
	struct walk w = { .text = text };
	const char *name = NULL;

	config_scan_init(&w.s, (struct slice){ text->text.data, text->text.len });
	if (strncmp(what, "duplicate setting", 17) == 0) {
		for (; config_scan_next(&w.s) != TOKEN_END && w.s.line <= line; w.last = w.s)
			if (w.s.token == TOKEN_EQUALS && w.last.token == TOKEN_NAME)
				name = shown(&w, &w.last);
		say(&w, line, "%s is set twice in the same group",
		    name != NULL ? name : "a setting");
	} else if (strncmp(what, "mismatched element", 18) == 0) {
		say(&w, line,
		    "the elements between '[' and ']' must all be of one kind: all texts, or all numbers");
	} else {
		say(&w, line, "%s", what);
	}
}
