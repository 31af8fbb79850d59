/*
 * stock.cc - a handler in C++11: reserves the items of an order, each by one statement, or none of them. Kind EFFECTS.
 *
 * No exception may leave handle(). See doc/handlers.md.
 */
#include <pawl/handler.h>

#include <exception>
#include <string>

static enum pawl_verdict
reserve(struct pawl_call *call)
{
	for (int i = 0;; i++) {
		const std::string item = "/items/" + std::to_string(i);
		const char *product = pawl_field_if(call, (item + "/product").c_str());

		if (product == nullptr)
			return i > 0 ? PAWL_DONE : pawl_reject(call, "no_items", "the order has no items");
		PAWL_SQL(call, "update stock set free = free - $2::int where product = $1 and free >= $2::int", product,
		    pawl_field(call, (item + "/quantity").c_str()));
		pawl_expect(call, 1, PAWL_REJECT, "out_of_stock");
	}
}

static enum pawl_verdict
handle(void *, struct pawl_call *call, const struct pawl_message *)
{
	try {
		return reserve(call);
	} catch (const std::exception &e) {
		return pawl_retry(call, "exception", "%s", e.what());
	}
}

PAWL_HANDLER(.name = "stock", .version = "1.0", .kind = PAWL_EFFECTS, .start = nullptr, .handle = handle, .stop = nullptr);
