/*
 * http_record.h - statements that record the answer, in the transaction that also remembers the message. As in the handler "sql"
 * (pawl-sql(7)), with :status and :answer besides.
 */
#ifndef PAWL_HANDLERS_HTTP_RECORD_H
#define PAWL_HANDLERS_HTTP_RECORD_H
#include <pawl/handler.h>
#include <stdbool.h>
#include "../sql/sql_text.h"

struct http_statement {
	struct sql_text text;
	const char **texts;		/* for the host: the text, then the parameters of this message */
};
struct http_record {
	struct http_statement *statements;
	size_t count;
	struct sql_sources sources;
	const char **values;		/* of this message, one for each source */
	bool takes_answer;
};

/* record = "..." or ( "...", "..." ). -1: errors were reported. */
int	http_record_read(const struct pawl_config *, struct http_record *);
void	http_record_release(struct http_record *);
/* Before anything is sent: what the message lacks ends it now. */
void	http_record_prepare(struct http_record *, struct pawl_call *, const struct pawl_message *);
void	http_record_run(struct http_record *, struct pawl_call *, long status, const char *answer);
#endif
