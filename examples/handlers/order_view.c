/*
 * order_view.c - a projection: events of orders become rows of a view. Kind EFFECTS: the message says all.
 *
 * Events can be late or come again after a failure, so a row keeps the version that it was made of, and an older event changes
 * nothing. See doc/handlers.md.
 */
#include <pawl/handler.h>

#include <string.h>

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	(void)self;
	if (strcmp(msg->type, "OrderCancelled") == 0) {
		PAWL_SQL(call, "update order_view set status = 'cancelled', version = $2::bigint"
		    " where id = $1 and version < $2::bigint",
		    pawl_field(call, "/id"), pawl_field(call, "/version"));
		return PAWL_DONE;
	}
	PAWL_SQL(call, "insert into order_view (id, customer, total, status, version)"
	    " values ($1, $2, $3::numeric, 'open', $4::bigint)"
	    " on conflict (id) do update set customer = excluded.customer, total = excluded.total, version = excluded.version"
	    " where order_view.version < excluded.version",
	    pawl_field(call, "/id"), pawl_field_if(call, "/customer/name"), pawl_field(call, "/total"),
	    pawl_field(call, "/version"));
	return PAWL_DONE;
}

PAWL_HANDLER(.name = "order_view", .version = "1.0", .handle = handle);
