/*
 * sql_text.h - a configured statement: its placeholders become $1, $2 ..., and each names a part of
 * the message.
 *
 *   :/json/pointer   a field of the body, which must be there      :type :id :key :body    of the message
 *   :?/json/pointer  the same, null if it is not there             :header:NAME            null if it is not there
 *
 * Quotes are for names with other characters: :"/a b/c" :?"/x:y" :header:"my header"; "" in there
 * is one quote. Literals, quoted names, dollar quotes and comments are left alone, and so are ::
 * and := .
 */
#ifndef PAWL_HANDLERS_SQL_TEXT_H
#define PAWL_HANDLERS_SQL_TEXT_H
#include <stddef.h>

#include <pawl/handler.h>

enum sql_source_kind { SOURCE_FIELD, SOURCE_FIELD_IF, SOURCE_HEADER, SOURCE_TYPE, SOURCE_ID, SOURCE_KEY, SOURCE_BODY, SOURCE_OTHER };
struct sql_source { enum sql_source_kind kind; char *name; };	/* name: pointer, header, other; else NULL */
struct sql_sources {
	struct sql_source *list;	/* each once, whatever the number of statements */
	size_t count;
	const char *const *others;	/* names of further placeholders, then NULL; NULL: there are none */
};

struct sql_text {
	char *text;		/* for the server */
	size_t *sources;	/* of $1, $2 ...: index into the sources */
	size_t count;
};

/* 0; -1: error says what is wrong and where. Both structs are to be released whatever it
 * returns. */
int	sql_text_parse(const char *statement, struct sql_text *, struct sql_sources *, char *error, size_t error_size);
/* As pawl_field() gives it; NULL is SQL null, and what SOURCE_OTHER gives. */
const char *sql_source_value(struct pawl_call *, const struct pawl_message *,
    const struct sql_source *);
void	sql_text_release(struct sql_text *);
void	sql_sources_release(struct sql_sources *);
#endif
