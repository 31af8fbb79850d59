/*
 * @NAME@.c - a Pawl handler: keeps a row for each order. See pawl-handler(3).
 */
#include <pawl/handler.h>

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	(void)self;
	(void)msg;
	PAWL_SQL(call, "insert into @NAME@_orders (id, customer, total) values ($1, $2, $3)"
	    " on conflict (id) do update set customer = excluded.customer, total = excluded.total",
	    pawl_field(call, "/id"), pawl_field_if(call, "/customer"), pawl_field(call, "/total"));
	return PAWL_DONE;
}

PAWL_HANDLER(.name = "@NAME@", .version = "0.1", .handle = handle);
