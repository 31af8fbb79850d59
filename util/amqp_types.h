/*
 * amqp_types.h - what amqp_* modules and their users talk about. No rabbitmq-c type is in here
 * (style: it stays in amqp_*.c).
 */
#ifndef PAWL_UTIL_AMQP_TYPES_H
#define PAWL_UTIL_AMQP_TYPES_H
#include <stdbool.h>
#include <stdint.h>
#include "util/attr.h"
#include "util/slice.h"

enum { AMQP_FRAME_MAX = 131072, AMQP_SHORTSTR_MAX = 255 };

enum { AMQP_NESTED_MOST = 16 };		/* tables and arrays in one another, in what we write */
enum amqp_value_kind {
	AMQP_STRING, AMQP_INT, AMQP_BOOL, AMQP_DOUBLE, AMQP_VOID, AMQP_TABLE, AMQP_ARRAY
};
struct amqp_header {			/* a header or argument that we write */
	const char *name;		/* "" in an array */
	enum amqp_value_kind kind;
	struct slice text;		/* AMQP_STRING */
	int64_t number;			/* AMQP_INT, AMQP_BOOL */
	double real;			/* AMQP_DOUBLE */
	const struct amqp_header *items; /* AMQP_TABLE, AMQP_ARRAY */
	size_t item_count;
};

/* a message that we make. Empty slices are properties that are not there */
struct amqp_message {
	struct slice exchange, routing_key;
	struct slice message_id, type, content_type, correlation_id, reply_to, app_id, expiration, content_encoding;
	int64_t timestamp_s;		/* 0: none */
	int priority;			/* -1: none */
	const struct amqp_header *headers;
	size_t header_count;
	const void *body;
	size_t body_size;
};

struct amqp_error {
	/* AMQP reply code (404, 320, 530 ...); 0: library, network or timeout */
	int code;
	bool connection;		/* the connection went, not only a channel */
	/* trying again soon will not help: access refused, unknown vhost, redeclared differently */
	bool configuration;
	/* a delivery that cannot be decoded was rejected for good; see amqp_consumer_options */
	bool rejected;
	/* host, what was tried, reason; control characters escaped */
	char text[1024];
};

/* Declarations, as data: what to declare is decided by common/topology, executed by
 * amqp_consumer (and pawlctl). */
enum amqp_declare_kind { AMQP_DECLARE_EXCHANGE, AMQP_DECLARE_QUEUE, AMQP_DECLARE_BINDING };
struct amqp_declaration {
	enum amqp_declare_kind kind;
	const char *name;		/* exchange, queue; of a binding: the queue */
	const char *type;		/* exchange: "topic", "fanout", "direct", "headers" */
	const char *exchange, *key;	/* binding */
	const struct amqp_header *args;
	size_t arg_count;
};
#endif
