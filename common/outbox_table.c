/*
 * outbox_table.c - an outbox's table: its columns, its templates, what it could do with.
 */
#include "common/outbox_table.h"

#include <stdio.h>
#include <string.h>

#include "common/config.h"
#include "common/outbox_map.h"

static const char *
content_type_of(const struct outbox_look_column *payload)
{
	if (payload == NULL)
		return "";
	if (strcmp(payload->base, "json") == 0 || strcmp(payload->base, "jsonb") == 0)
		return "application/json";
	if (strcmp(payload->base, "bytea") == 0)
		return "application/octet-stream";
	if (strcmp(payload->base, "xml") == 0)
		return "application/xml";
	return "text/plain";
}

/* What is slow without an index: unsent rows among many that were sent; reading in an order. */
static const char *
index_advice(struct outbox_table *table, const struct outbox_map *map)
{
	const struct outbox_look_column *first = map->keyed ? map->order : map->role[OUTBOX_SEQ];
	const char *where = "";

	if (map->sent == NULL ? first->indexed : map->sent->in_predicate)
		return NULL;
	if (map->sent != NULL)
		where = arena_printf(&table->arena, strcmp(map->sent->base, "bool") != 0
		    ? " where %s is null" : map->sent->not_null
		    ? " where not %s" : " where %s is not true", map->sent->quoted);
	return arena_printf(&table->arena, "each look at the table goes over rows that are of no"
	    " interest; run: create index concurrently on %s (%s%s%s)%s", map->look.table,
	    first->quoted, map->keyed && first != map->role[OUTBOX_ID] ? ", " : "",
	    map->keyed && first != map->role[OUTBOX_ID] ? map->role[OUTBOX_ID]->quoted : "", where);
}

static const char *
bell_advice(struct outbox_table *table, const struct outbox_map *map, bool wanted)
{
	if (wanted == map->look.rings)
		return NULL;
	if (!wanted)
		return arena_printf(&table->arena, "table %s has a trigger pawl_doorbell, which is"
		    " of use only with doorbell = true; set that, or run: drop trigger"
		    " pawl_doorbell on %s", map->look.table, map->look.table);
	return arena_printf(&table->arena, "doorbell: table %s has no trigger pawl_doorbell that is"
	    " on, so nothing rings; run as its owner: select pawl.doorbell(%s)", map->look.table,
	    map->look.literal);
}

/* One row that cannot be converted makes every read of it fail, and those of the rows beside it. */
static const char *
encoding_advice(struct outbox_table *table, const struct outbox_map *map)
{
	if (!map->look.unencoded)
		return NULL;
	return arena_printf(&table->arena, "the database has the encoding SQL_ASCII: a row of %s"
	    " that is no UTF-8 stops this outbox until it is mended or deleted", map->look.table);
}

static void
add_advice(struct outbox_table *table, const char *text)
{
	size_t i = 0;

	while (table->advice[i] != NULL)
		i++;
	table->advice[i] = text;
}

static int
place_template(struct outbox_table *table, struct outbox_map *map, const char *key,
    const char *text, struct outbox_template *template, struct buf *mistakes)
{
	char error[256];
	int status = 0;

	if (outbox_template_parse(text, &table->arena, template, error, sizeof(error)) != 0) {
		buf_printf(mistakes, "%s: %s\n", key, error);
		return -1;
	}
	for (size_t i = 0; i < template->count; i++) {
		struct outbox_template_part *part = &template->parts[i];

		if (part->kind == OUTBOX_PART_HEADER && map->role[OUTBOX_HEADERS] == NULL) {
			buf_printf(mistakes, "%s: {header:%s}: table %s has no column headers\n",
			    key, part->text.data, map->look.table);
			status = -1;
		} else if (part->kind == OUTBOX_PART_COLUMN) {
			part->column =
			    outbox_map_place(map, key, part->text, &table->arena, mistakes);
			if (part->column < 0)
				status = -1;
		}
	}
	return status;
}

int
outbox_table_init(struct outbox_table *table, const struct config_outbox *config,
    const struct pg_result *result, struct buf *mistakes)
{
	const struct outbox_look_column *payload, *id;
	struct outbox_map map;
	int status;

	outbox_table_release(table);
	status = outbox_map_init(&map, config, result, &table->arena, mistakes);
	if (map.look.column_count > 0) {
		status |= place_template(
		    table, &map, "exchange", config->exchange, &table->exchange, mistakes);
		status |= place_template(table, &map, "routing_key", config->routing_key,
		    &table->routing_key, mistakes);
		status |= place_template(table, &map, "source", config->source, &table->source,
		    mistakes);
	}
	if (status != 0)
		return -1;
	payload = map.role[OUTBOX_PAYLOAD];
	id = map.role[OUTBOX_ID];
	table->name = map.look.table;
	table->key = map.role[map.keyed ? OUTBOX_ID : OUTBOX_SEQ]->name;
	table->lock_key = map.look.lock_key;
	table->id_is_uuid = id != NULL && strcmp(id->base, "uuid") == 0;
	table->keyed = map.keyed;
	table->marks = map.sent != NULL;
	table->drawn = !map.keyed && map.look.ordinary && map.role[OUTBOX_SEQ]->drawn;
	table->append_only = table->drawn && !table->marks;
	table->shape.extras = map.extra_count;
	table->shape.hex = payload != NULL && strcmp(payload->base, "bytea") == 0;
	table->content_type = config->content_type != NULL ? config->content_type
							    : content_type_of(payload);
	add_advice(table, index_advice(table, &map));
	add_advice(table, bell_advice(table, &map, config->doorbell));
	add_advice(table, encoding_advice(table, &map));
	outbox_sql_make(table, &map, config);
	if (config->doorbell && map.look.rings)
		outbox_sql_bell(table, &map);
	return 0;
}

void
outbox_table_release(struct outbox_table *table)
{
	arena_release(&table->arena);
	*table = (struct outbox_table)OUTBOX_TABLE_INIT;
}
