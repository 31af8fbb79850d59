/*
 * seq_map.c - open addressing with linear probing. Removing moves later entries up, so that there
 * are no tombstones: rows come and go for ever. The keys are the database's own numbers, so the
 * hash needs no secret.
 */
#include "outbox-relay/seq_map.h"

#include <assert.h>

#include "util/arena.h"

enum { CAP_MIN = 64 };

static size_t
home_of(const struct seq_map *map, int64_t seq)
{
	/*
	 * Fibonacci hashing: the high bits of the product are well mixed, also for numbers in a
	 * row.
	 */
	return (size_t)(((uint64_t)seq * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (map->cap - 1);
}

static struct seq_map_entry *
find(const struct seq_map *map, int64_t seq)
{
	size_t at = home_of(map, seq);

	while (map->entries[at].value != NULL && map->entries[at].seq != seq)
		at = (at + 1) & (map->cap - 1);
	return &map->entries[at];
}

static void
resize(struct seq_map *map, size_t cap)
{
	struct seq_map old = *map;

	map->entries = xcalloc(cap, sizeof(*map->entries));
	map->cap = cap;
	for (size_t i = 0; i < old.cap; i++)
		if (old.entries[i].value != NULL)
			*find(map, old.entries[i].seq) = old.entries[i];
	free(old.entries);
}

void
seq_map_release(struct seq_map *map)
{
	free(map->entries);
	*map = (struct seq_map)SEQ_MAP_INIT;
}

void *
seq_map_get(const struct seq_map *map, int64_t seq)
{
	return map->cap == 0 ? NULL : find(map, seq)->value;
}

void
seq_map_put(struct seq_map *map, int64_t seq, void *value)
{
	struct seq_map_entry *entry;

	assert(value != NULL);
	if (map->count >= map->cap / 2)
		resize(map, map->cap == 0 ? CAP_MIN : map->cap * 2);
	entry = find(map, seq);
	if (entry->value == NULL)
		map->count++;
	*entry = (struct seq_map_entry){ seq, value };
}

void
seq_map_remove(struct seq_map *map, int64_t seq)
{
	size_t mask = map->cap - 1, hole, at;

	if (map->cap == 0 || find(map, seq)->value == NULL)
		return;
	hole = (size_t)(find(map, seq) - map->entries);
	map->count--;
	for (at = (hole + 1) & mask; map->entries[at].value != NULL; at = (at + 1) & mask) {
		/* May stay only if its home is behind the hole. */
		if (((at - home_of(map, map->entries[at].seq)) & mask) >= ((at - hole) & mask)) {
			map->entries[hole] = map->entries[at];
			hole = at;
		}
	}
	map->entries[hole].value = NULL;
	/* What a large backlog needed is given back. */
	if (map->cap > CAP_MIN * 64 && map->count < map->cap / 16)
		resize(map, map->cap / 4);
}

const struct seq_map_entry *
seq_map_next(const struct seq_map *map, size_t *at)
{
	while (*at < map->cap) {
		const struct seq_map_entry *entry = &map->entries[(*at)++];

		if (entry->value != NULL)
			return entry;
	}
	return NULL;
}
