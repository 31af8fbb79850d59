/*
 * relay-bare.c - the yardstick for pawl-relay: read BATCH rows, publish them all, wait for all
 * confirms, delete them, commit, again.
 *
 * With BATCH 1 it is the relay that one writes first: row by row. No order per aggregate, no
 * leader, no returns, no reconnect. Ends when COUNT rows are gone.
 */
#include "bench/kit.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_MS = 5, BATCH_MAX = 1000 };
enum { SEQ, ID, TYPE, AGGREGATETYPE, AGGREGATEID, PAYLOAD, CREATED };

#define READ \
	"select seq, id, type, aggregatetype, aggregateid, payload::text, " \
	"extract(epoch from created_at)::bigint from pawl.outbox order by seq limit $1"
#define DELETE "delete from pawl.outbox where seq = any ($1::bigint[])"

static void
row_publish(amqp_connection_state_t broker, struct kit_confirms *confirms, const char *exchange,
    const PGresult *rows, int row)
{
	struct kit_event event = {
		.id = PQgetvalue(rows, row, ID),
		.type = PQgetvalue(rows, row, TYPE),
		.aggregatetype = PQgetvalue(rows, row, AGGREGATETYPE),
		.aggregateid = PQgetvalue(rows, row, AGGREGATEID),
		.body = PQgetvalue(rows, row, PAYLOAD),
		.body_size = (size_t)PQgetlength(rows, row, PAYLOAD),
		.timestamp_s = strtoull(PQgetvalue(rows, row, CREATED), NULL, 10),
	};

	kit_publish(broker, confirms, exchange, event.type, &event);
}

static void
rows_delete(PGconn *database, const PGresult *rows, int n)
{
	static char list[BATCH_MAX * 24];
	const char *value = list;
	size_t len = 0;
	int row;

	for (row = 0; row < n; row++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%c%s",
		    row == 0 ? '{' : ',', PQgetvalue(rows, row, SEQ));
	snprintf(list + len, sizeof(list) - len, "}");
	PQclear(kit_run(database, PGRES_COMMAND_OK, "delete", 1, &value));
}

int
main(int argc, char **argv)
{
	struct kit_confirms confirms;
	amqp_connection_state_t broker;
	PGconn *database;
	unsigned count, done = 0;
	const char *batch;

	if (argc != 6)
		die("usage: relay-bare BROKER-URI EXCHANGE CONNINFO COUNT BATCH");
	count = kit_number(argv[4], "COUNT");
	batch = argv[5];
	if (kit_number(batch, "BATCH") > BATCH_MAX)
		die("BATCH: at most %d", BATCH_MAX);
	broker = kit_broker(argv[1]);
	kit_confirms_start(broker, &confirms);
	database = kit_database(argv[3]);
	kit_prepare(database, "read", READ);
	kit_prepare(database, "delete", DELETE);
	while (done < count) {
		PGresult *rows;
		int row, n;

		kit_command(database, "begin");
		rows = kit_run(database, PGRES_TUPLES_OK, "read", 1, &batch);
		n = PQntuples(rows);
		for (row = 0; row < n; row++)
			row_publish(broker, &confirms, argv[2], rows, row);
		kit_confirms_wait(broker, &confirms, 0);
		if (n > 0)
			rows_delete(database, rows, n);
		kit_command(database, "commit");
		PQclear(rows);
		done += (unsigned)n;
		if (n == 0)
			poll(NULL, 0, POLL_MS);
	}
	PQfinish(database);
	kit_broker_close(broker);
	return 0;
}
