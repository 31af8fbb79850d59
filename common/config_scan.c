/*
 * config_scan.c - finds the tokens of a libconfig file. Rules are those of libconfig's scanner.l.
 */
#include "common/config_scan.h"

#include <ctype.h>
#include <strings.h>

void
config_scan_init(struct config_scan *s, struct slice text)
{
	*s = (struct config_scan){ .text = text, .line_at = 1, .line = 1 };
}

static int
peek(const struct config_scan *s, size_t ahead)
{
	return ahead < s->text.len - s->at ? (unsigned char)s->text.data[s->at + ahead] : -1;
}

static void
advance(struct config_scan *s)
{
	if (s->text.data[s->at++] == '\n')
		s->line_at++;
}

static bool
at_line_start(const struct config_scan *s)
{
	size_t at = s->at;

	while (at > 0 && (s->text.data[at - 1] == ' ' || s->text.data[at - 1] == '\t'))
		at--;
	return at == 0 || s->text.data[at - 1] == '\n';
}

/* Blanks and comments. false: a comment does not end; the token then is where it began. */
static bool
skip(struct config_scan *s)
{
	for (;;) {
		int c = peek(s, 0);

		if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
			advance(s);
		} else if (c == '#' || (c == '/' && peek(s, 1) == '/')) {
			while (peek(s, 0) >= 0 && peek(s, 0) != '\n')
				advance(s);
		} else if (c == '/' && peek(s, 1) == '*') {
			size_t start = s->at;
			unsigned line = s->line_at;

			advance(s);
			advance(s);
			while (peek(s, 0) >= 0 && !(peek(s, 0) == '*' && peek(s, 1) == '/'))
				advance(s);
			if (peek(s, 0) < 0) {
				s->raw = (struct slice){ s->text.data + start, s->at - start };
				s->line = line;
				return false;
			}
			advance(s);
			advance(s);
		} else {
			return true;
		}
	}
}

/* From the opening quote. false: the text does not end. */
static bool
quoted(struct config_scan *s)
{
	advance(s);
	size_t start = s->at;

	for (;;) {
		int c = peek(s, 0);

		if (c < 0)
			return false;
		if (c == '\\' && (peek(s, 1) == '"' || peek(s, 1) == '\\'))
			advance(s);
		else if (c == '\\' && tolower(peek(s, 1)) == 'x' && peek(s, 2) == '0' &&
		    peek(s, 3) == '0')
			s->has_nul = true;
		else if (c == '"')
			break;
		advance(s);
	}
	s->value = (struct slice){ s->text.data + start, s->at - start };
	advance(s);
	return true;
}

static size_t
digits(const struct config_scan *s, size_t ahead)
{
	size_t n = 0;

	while (isdigit(peek(s, ahead + n)))
		n++;
	return n;
}

/* How many bytes of a number stand here: 0 for none. */
static size_t
number(const struct config_scan *s, enum config_token *token)
{
	size_t n = peek(s, 0) == '+' || peek(s, 0) == '-';
	size_t whole, exponent;

	*token = TOKEN_INTEGER;
	if (n == 0 && peek(s, 0) == '0' && tolower(peek(s, 1)) == 'x' && isxdigit(peek(s, 2))) {
		for (n = 2; isxdigit(peek(s, n)); n++)
			;
		goto suffix;
	}
	whole = digits(s, n);
	n += whole;
	if (peek(s, n) == '.') {
		*token = TOKEN_REAL;
		n++;
		n += digits(s, n);
	} else if (whole == 0) {
		return 0;
	}
	if (tolower(peek(s, n)) == 'e') {
		size_t sign = peek(s, n + 1) == '+' || peek(s, n + 1) == '-';

		exponent = digits(s, n + 1 + sign);
		if (exponent > 0) {
			*token = TOKEN_REAL;
			return n + 1 + sign + exponent;
		}
	}
	if (*token == TOKEN_REAL)
		return n;
suffix:
	if (peek(s, n) == 'L')
		n += peek(s, n + 1) == 'L' ? 2 : 1;
	return n;
}

static bool
include(struct config_scan *s)
{
	static const char word[] = "@include";
	size_t len = sizeof(word) - 1, n = len;

	if (s->text.len - s->at < len || memcmp(s->text.data + s->at, word, len) != 0 ||
	    !at_line_start(s))
		return false;
	while (peek(s, n) == ' ' || peek(s, n) == '\t')
		n++;
	if (n == len || peek(s, n) != '"')
		return false;
	s->at += n;
	return true;
}

static enum config_token
scan(struct config_scan *s)
{
	enum config_token token;
	int c = peek(s, 0);
	size_t n;

	if (c < 0)
		return TOKEN_END;
	if (c == '"')
		return quoted(s) ? TOKEN_TEXT : TOKEN_OPEN_TEXT;
	if (c == '@' && include(s))
		return quoted(s) ? TOKEN_INCLUDE : TOKEN_OPEN_TEXT;
	if (isalpha(c) || c == '*') {
		size_t start = s->at;

		do
			s->at++;
		while (isalnum(peek(s, 0)) || peek(s, 0) == '-' || peek(s, 0) == '_' ||
		    peek(s, 0) == '*');
		n = s->at - start;
		if ((n == 4 && strncasecmp(s->text.data + start, "true", 4) == 0) ||
		    (n == 5 && strncasecmp(s->text.data + start, "false", 5) == 0))
			return TOKEN_BOOL;
		return TOKEN_NAME;
	}
	n = number(s, &token);
	if (n > 0) {
		s->at += n;
		return token;
	}
	s->at++;
	switch (c) {
	case '=':
	case ':':
		return TOKEN_EQUALS;
	case ',':
		return TOKEN_COMMA;
	case ';':
		return TOKEN_SEMICOLON;
	case '{':
	case '(':
	case '[':
		return TOKEN_OPEN;
	case '}':
	case ')':
	case ']':
		return TOKEN_CLOSE;
	default:
		return TOKEN_OTHER;
	}
}

enum config_token
config_scan_next(struct config_scan *s)
{
	s->value = (struct slice){ NULL, 0 };
	s->has_nul = false;
	if (!skip(s))
		return s->token = TOKEN_OPEN_COMMENT;
	size_t start = s->at;

	s->line = s->line_at;
	s->token = scan(s);
	s->raw = (struct slice){ s->text.data + start, s->at - start };
	return s->token;
}
