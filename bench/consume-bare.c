/*
 * consume-bare.c - the yardstick for pawl-worker: the shortest good way from a queue into a table,
 * with two processes and nothing else.
 *
 * The broker's process assembles bodies from frames straight into batches and acks what was
 * committed; the database's process turns each batch into one transaction in one libpq pipeline. A
 * batch goes out when the other side is idle, a second one when it is at least half full. No
 * idempotency key, no dispatch, no dead letters, no reconnect: a message that comes twice is
 * applied twice.
 */
#include "bench/kit.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHANNEL = 1, PREFETCH = 1000, BATCH = 250, BATCHES = 8, IN_FLIGHT = 2 };

/* A batch on the wire: this, then count times a size and a body with a NUL behind it. */
struct batch_header { uint32_t count, size; };
struct batch {
	struct batch_header header;
	uint64_t last_tag;
	size_t capacity;
	char *data;
};

static char *
grown(char *data, size_t capacity)
{
	char *bigger = realloc(data, capacity);

	if (bigger == NULL)
		die("out of memory");
	return bigger;
}

/*
 * The database's process.
 */
static void
read_all(int fd, void *to, size_t size)
{
	char *at = to;

	while (size > 0) {
		ssize_t n = read(fd, at, size);

		if (n == 0)
			exit(0);
		if (n < 0 && errno != EINTR)
			die("could not read a batch: %s", strerror(errno));
		if (n > 0) {
			at += n;
			size -= (size_t)n;
		}
	}
}

static void
pipeline_send(PGconn *database, const char *prepared, int n, const char *const *values)
{
	if (PQsendQueryPrepared(database, prepared, n, values, NULL, NULL, 0) != 1)
		die("could not send: %s", PQerrorMessage(database));
}

static void
pipeline_result(PGconn *database, ExecStatusType expected)
{
	PGresult *result = PQgetResult(database);

	if (result == NULL || PQresultStatus(result) != expected)
		die("a batch failed: %s", PQerrorMessage(database));
	PQclear(result);
	if (expected != PGRES_PIPELINE_SYNC && (result = PQgetResult(database)) != NULL)
		die("a statement with two results");
}

static void
apply(PGconn *database, struct batch_header header, char *data)
{
	const char *values[KIT_UPSERT_PARAMS];
	uint32_t i, size;
	char *at = data;

	pipeline_send(database, "begin", 0, NULL);
	for (i = 0; i < header.count; i++) {
		memcpy(&size, at, sizeof(size));
		kit_upsert_values(at + sizeof(size), size, values);
		pipeline_send(database, "upsert", KIT_UPSERT_PARAMS, values);
		at += sizeof(size) + size + 1;
	}
	pipeline_send(database, "commit", 0, NULL);
	if (PQpipelineSync(database) != 1)
		die("could not send: %s", PQerrorMessage(database));
	for (i = 0; i < header.count + 2; i++)
		pipeline_result(database, PGRES_COMMAND_OK);
	pipeline_result(database, PGRES_PIPELINE_SYNC);
}

static void
database_process(int fd, const char *conninfo)
{
	PGconn *database = kit_database(conninfo);
	struct batch_header header;
	size_t capacity = 1;
	char *data = grown(NULL, capacity);

	kit_prepare(database, "begin", "begin");
	kit_prepare(database, "commit", "commit");
	kit_prepare(database, "upsert", KIT_UPSERT);
	if (PQenterPipelineMode(database) != 1)
		die("could not start a pipeline");
	for (;;) {
		read_all(fd, &header, sizeof(header));
		if (header.size > capacity) {
			capacity = header.size;
			data = grown(data, capacity);
		}
		read_all(fd, data, header.size);
		apply(database, header, data);
		if (write(fd, &header.count, sizeof(header.count)) != (ssize_t)sizeof(header.count))
			die("could not report: %s", strerror(errno));
	}
}

/*
 * The broker's process. Batches are a ring: [done, sent) are with the database, [sent, open) wait,
 * 'open' is being filled. The prefetch bounds what can be in it.
 */
struct consumer {
	amqp_connection_state_t broker;
	int fd;
	struct batch batch[BATCHES];
	unsigned done, sent, open;
	bool writing;			/* batch 'sent' is on its way, */
	size_t written;			/* so far, header included */
	uint64_t tag;			/* of the delivery that is coming in */
	size_t expected;		/* bytes of its body that are still to come */
	char *body;			/* where they go */
	unsigned acked;
};

static struct batch *
batch_at(struct consumer *c, unsigned number)
{
	return &c->batch[number % BATCHES];
}

/* Room for a body of this size in the open batch. */
static void
body_begin(struct consumer *c, size_t size)
{
	struct batch *b = batch_at(c, c->open);
	size_t need = b->header.size + sizeof(uint32_t) + size + 1;
	uint32_t size32 = (uint32_t)size;

	if (size > UINT32_MAX / 2 || need > UINT32_MAX / 2)
		die("a message that is too large");
	if (need > b->capacity) {
		b->capacity = 2 * need;
		b->data = grown(b->data, b->capacity);
	}
	memcpy(b->data + b->header.size, &size32, sizeof(size32));
	c->body = b->data + b->header.size + sizeof(size32);
	c->body[size] = '\0';
	c->expected = size;
	b->header.size = (uint32_t)need;
}

static void
body_end(struct consumer *c)
{
	struct batch *b = batch_at(c, c->open);

	b->last_tag = c->tag;
	if (++b->header.count < BATCH)
		return;
	c->open++;
	if (c->open - c->done >= BATCHES)
		die("more deliveries than the prefetch allows");
	batch_at(c, c->open)->header = (struct batch_header){ 0, 0 };
}

static void
frame(struct consumer *c, const amqp_frame_t *f)
{
	const amqp_basic_deliver_t *deliver;

	switch (f->frame_type) {
	case AMQP_FRAME_METHOD:
		if (f->payload.method.id != AMQP_BASIC_DELIVER_METHOD)
			die("unexpected %s", amqp_method_name(f->payload.method.id));
		deliver = f->payload.method.decoded;
		c->tag = deliver->delivery_tag;
		break;
	case AMQP_FRAME_HEADER:
		body_begin(c, f->payload.properties.body_size);
		if (c->expected == 0)
			body_end(c);
		break;
	case AMQP_FRAME_BODY:
		if (f->payload.body_fragment.len > c->expected)
			die("a body that is longer than its header says");
		memcpy(c->body, f->payload.body_fragment.bytes, f->payload.body_fragment.len);
		c->body += f->payload.body_fragment.len;
		c->expected -= f->payload.body_fragment.len;
		if (c->expected == 0)
			body_end(c);
		break;
	default:
		break;
	}
}

/* Starts the next batch if the database's side should have it now. */
static bool
batch_start(struct consumer *c)
{
	struct batch *b = batch_at(c, c->sent);
	unsigned in_flight = c->sent - c->done;

	if (b->header.count == 0 || in_flight >= IN_FLIGHT ||
	    (in_flight > 0 && b->header.count < BATCH / 2) || c->expected > 0)
		return false;
	if (c->sent == c->open) {
		c->open++;
		batch_at(c, c->open)->header = (struct batch_header){ 0, 0 };
	}
	c->writing = true;
	c->written = 0;
	return true;
}

static void
batches_send(struct consumer *c)
{
	while (c->writing || batch_start(c)) {
		struct batch *b = batch_at(c, c->sent);
		size_t in_header = c->written < sizeof(b->header) ? c->written : sizeof(b->header);
		size_t in_body = c->written - in_header;
		struct iovec parts[2] = {
			{ (char *)&b->header + in_header, sizeof(b->header) - in_header },
			{ b->data + in_body, b->header.size - in_body },
		};
		struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
		ssize_t n = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0)
			die("could not send a batch: %s", strerror(errno));
		c->written += (size_t)n;
		if (c->written == sizeof(b->header) + b->header.size) {
			c->sent++;
			c->writing = false;
		}
	}
}

static void
results_receive(struct consumer *c)
{
	uint32_t count;
	ssize_t n;
	struct batch *last = NULL;

	while ((n = recv(c->fd, &count, sizeof(count), MSG_DONTWAIT)) == (ssize_t)sizeof(count)) {
		last = batch_at(c, c->done);
		if (count != last->header.count)
			die("a batch of %u came back as %u", last->header.count, count);
		c->acked += count;
		c->done++;
	}
	if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		die("the database's process is gone");
	if (last != NULL &&
	    amqp_basic_ack(c->broker, CHANNEL, last->last_tag, true) != AMQP_STATUS_OK)
		die("could not ack");
}

static void
consume(struct consumer *c, unsigned count)
{
	bool readable = true; /* the set-up may have read deliveries, too */
	amqp_frame_t f;

	for (;;) {
		struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };

		while (readable && kit_frame(c->broker, &f, false)) {
			frame(c, &f);
			readable = amqp_frames_enqueued(c->broker) ||
			    amqp_data_in_buffer(c->broker);
		}
		results_receive(c);
		if (c->acked >= count)
			return;
		batches_send(c);
		fds[0].fd = amqp_get_sockfd(c->broker);
		fds[1].fd = c->fd;
		if (c->writing)
			fds[1].events |= POLLOUT;
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			die("could not poll: %s", strerror(errno));
		readable = fds[0].revents != 0;
	}
}

int
main(int argc, char **argv)
{
	static struct consumer c;
	int pair[2], status;
	pid_t child;

	if (argc != 5)
		die("usage: consume-bare BROKER-URI QUEUE CONNINFO COUNT");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		die("could not make a socket pair: %s", strerror(errno));
	child = fork();
	if (child < 0)
		die("could not fork: %s", strerror(errno));
	if (child == 0) {
		close(pair[0]);
		database_process(pair[1], argv[3]);
	}
	close(pair[1]);
	c.fd = pair[0];
	c.broker = kit_broker(argv[1]);
	kit_consume(c.broker, argv[2], PREFETCH);
	consume(&c, kit_number(argv[4], "COUNT"));
	kit_broker_close(c.broker);
	close(c.fd);
	if (waitpid(child, &status, 0) != child || status != 0)
		die("the database's process failed");
	return 0;
}
