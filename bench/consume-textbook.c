/*
 * consume-textbook.c - the consumer that books and blogs show, done well: per message one
 * transaction with the idempotency key and the effect, then one ack. PROCESSES of them side by
 * side, each with its own connections, prepared statements and a prefetch of 20. --no-inbox leaves
 * the key out: faster, and a message that comes twice is applied twice.
 */
#include "bench/kit.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHANNEL = 1, PREFETCH = 20, LOOK_UP_US = 50000 };

#define INBOX "insert into bench.processed (message_id) values ($1) on conflict do nothing"

static void
apply(PGconn *database, const amqp_message_t *message, bool inbox)
{
	amqp_bytes_t message_id = message->properties.message_id;
	const char *values[KIT_UPSERT_PARAMS], *key;
	char id[256], *body;
	bool fresh = true;
	PGresult *result;

	kit_command(database, "begin");
	if (inbox) {
		if (message_id.len >= sizeof(id))
			die("a message id that is too long");
		memcpy(id, message_id.bytes, message_id.len);
		id[message_id.len] = '\0';
		key = id;
		result = kit_run(database, PGRES_COMMAND_OK, "inbox", 1, &key);
		fresh = strcmp(PQcmdTuples(result), "1") == 0;
		PQclear(result);
	}
	if (fresh) {
		body = malloc(message->body.len + 1);
		if (body == NULL)
			die("out of memory");
		memcpy(body, message->body.bytes, message->body.len);
		body[message->body.len] = '\0';
		kit_upsert_values(body, message->body.len, values);
		PQclear(kit_run(database, PGRES_COMMAND_OK, "upsert", KIT_UPSERT_PARAMS, values));
		free(body);
	}
	kit_command(database, "commit");
}

static void
consumer(char **argv, bool inbox, _Atomic unsigned *left)
{
	amqp_connection_state_t broker = kit_broker(argv[0]);
	PGconn *database = kit_database(argv[2]);

	kit_prepare(database, "inbox", INBOX);
	kit_prepare(database, "upsert", KIT_UPSERT);
	kit_consume(broker, argv[1], PREFETCH);
	while (atomic_load(left) > 0) {
		struct timeval look_up = { .tv_usec = LOOK_UP_US };
		amqp_envelope_t envelope;
		amqp_rpc_reply_t reply;

		amqp_maybe_release_buffers(broker);
		reply = amqp_consume_message(broker, &envelope, &look_up, 0);
		if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
		    reply.library_error == AMQP_STATUS_TIMEOUT)
			continue;
		if (reply.reply_type != AMQP_RESPONSE_NORMAL)
			die("lost the broker");
		apply(database, &envelope.message, inbox);
		if (amqp_basic_ack(broker, CHANNEL, envelope.delivery_tag, false) != AMQP_STATUS_OK)
			die("could not ack");
		amqp_destroy_envelope(&envelope);
		atomic_fetch_sub(left, 1);
	}
	kit_broker_close(broker);
	PQfinish(database);
}

int
main(int argc, char **argv)
{
	bool inbox = true, failed = false;
	_Atomic unsigned *left;
	unsigned processes, i;
	int status;

	if (argc > 1 && strcmp(argv[1], "--no-inbox") == 0) {
		inbox = false;
		argv++;
		argc--;
	}
	if (argc != 6)
		die("usage: consume-textbook [--no-inbox] BROKER QUEUE CONNINFO COUNT PROCESSES");
	left = mmap(NULL, sizeof(*left), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (left == MAP_FAILED)
		die("out of memory");
	atomic_store(left, kit_number(argv[4], "COUNT"));
	processes = kit_number(argv[5], "PROCESSES");
	for (i = 0; i < processes; i++) {
		pid_t child = fork();

		if (child < 0)
			die("could not fork: %s", strerror(errno));
		if (child == 0) {
			consumer(argv + 1, inbox, left);
			return 0;
		}
	}
	for (i = 0; i < processes; i++)
		if (wait(&status) < 0 || status != 0)
			failed = true;
	return failed ? 1 : 0;
}
