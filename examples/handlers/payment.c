/*
 * payment.c - a decision: is there enough money for this order? Kind READS: it asks before it writes, in one transaction.
 *
 * The account's row is locked by the question, so two payments of one customer come one after the other. Whatever the answer is, an
 * event tells it, in the same transaction. See doc/handlers.md.
 */
#include <pawl/handler.h>

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	const char *order = pawl_field(call, "/order"), *customer = pawl_field(call, "/customer");
	const char *amount = pawl_field(call, "/amount");
	const struct pawl_rows *account = PAWL_QUERY(call,
	    "select balance >= $2::numeric from account where customer = $1 for update", customer, amount);

	(void)self;
	(void)msg;
	if (account == NULL)
		return PAWL_DONE;	/* an error sticks to the call, and decides */
	if (account->rows == 0)
		return pawl_reject(call, "no_account", "customer %s has no account: open one, then retry this letter",
		    customer);
	if (pawl_value(account, 0, 0)[0] == 't') {
		PAWL_SQL(call, "update account set balance = balance - $2::numeric where customer = $1", customer, amount);
		PAWL_SQL(call, "insert into payment (order_id, customer, amount) values ($1, $2, $3::numeric)", order,
		    customer, amount);
	}
	pawl_emit(call, "order", order, pawl_value(account, 0, 0)[0] == 't' ? "PaymentMade" : "PaymentRefused",
	    pawl_format(call, "{\"order\": %s, \"amount\": %s}", pawl_json(call, "/order"), pawl_json(call, "/amount")));
	return PAWL_DONE;
}

PAWL_HANDLER(.name = "payment", .version = "1.0", .kind = PAWL_READS, .handle = handle);
