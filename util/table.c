/*
 * table.c - see table.h. Open addressing, linear probing, a power of two of entries, at most 3/4 of
 * them used or dead.
 */
#include "util/table.h"

#include <assert.h>
#include <stdbool.h>

#include "util/arena.h"
#include "util/random.h"

enum { CAP_MIN = 16 };

/* An entry without a key is free, or dead if its hash says so: a search goes on behind that. */
enum { HASH_FREE = 0, HASH_DEAD = 1 };

static uint64_t hash_key[2];

/* Before main, hence before any fork: all processes of a tree hash alike. */
__attribute__((constructor)) static void
choose_hash_key(void)
{
	random_secret(hash_key, sizeof(hash_key));
}

static inline uint64_t
load_le64(const unsigned char *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap64(x);
#endif
	return x;
}

static inline uint64_t
rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 by Jean-Philippe Aumasson and Daniel J. Bernstein, https://www.aumasson.jp/siphash */
static uint64_t
siphash13(const uint64_t key[2], const void *data, size_t len)
{
	uint64_t v[4] = {
		key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
		key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573,
	};
	const unsigned char *p = data;
	size_t whole = len / 8, rest = len % 8;
	uint64_t m;

	for (size_t i = 0; i < whole; i++, p += 8) {
		m = load_le64(p);
		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	m = (uint64_t)len << 56;
	for (size_t i = 0; i < rest; i++)
		m |= (uint64_t)p[i] << (8 * i);
	v[3] ^= m;
	sip_round(v);
	v[0] ^= m;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t
table_hash(const void *data, size_t len)
{
	return siphash13(hash_key, data, len);
}

static bool
is_free(const struct table_entry *entry)
{
	return entry->key == NULL && entry->hash == HASH_FREE;
}

static struct table_entry *
find(const struct table *table, const void *key, size_t len, uint64_t hash)
{
	size_t mask = table->cap - 1;

	if (table->cap == 0)
		return NULL;
	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct table_entry *entry = &table->entries[i];

		if (is_free(entry))
			return NULL;
		if (entry->key != NULL && entry->hash == hash && entry->key_len == len &&
		    (len == 0 || memcmp(entry->key, key, len) == 0))
			return entry;
	}
}

/* The first entry on the way of a key that holds nothing. The key is not in the table. */
static struct table_entry *
vacancy(const struct table *table, uint64_t hash)
{
	size_t mask = table->cap - 1;

	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		if (table->entries[i].key == NULL)
			return &table->entries[i];
	}
}

/* Room for one more. Drops the dead, and grows only if the living ask for it. */
static void
make_room(struct table *table)
{
	struct table old = *table;

	if (old.cap > 0 && old.count + old.dead + 1 <= old.cap / 4 * 3)
		return;
	*table = (struct table){ .cap = CAP_MIN, .count = old.count };
	while (table->cap / 2 < old.count + 1)
		table->cap *= 2;
	table->entries = xcalloc(table->cap, sizeof(*table->entries));
	for (size_t i = 0; i < old.cap; i++) {
		if (old.entries[i].key != NULL)
			*vacancy(table, old.entries[i].hash) = old.entries[i];
	}
	free(old.entries);
}

void
table_release(struct table *table)
{
	free(table->entries);
	*table = (struct table)TABLE_INIT;
}

void
table_clear(struct table *table)
{
	if (table->cap > 0)
		memset(table->entries, 0, table->cap * sizeof(*table->entries));
	table->count = table->dead = 0;
}

void *
table_get(const struct table *table, const void *key, size_t len)
{
	const struct table_entry *entry = find(table, key, len, table_hash(key, len));

	return entry == NULL ? NULL : entry->value;
}

void *
table_put(struct table *table, const void *key, size_t len, void *value)
{
	uint64_t hash = table_hash(key, len);
	struct table_entry *entry = find(table, key, len, hash);

	assert(value != NULL);
	if (entry != NULL) {
		void *former = entry->value;

		entry->key = key;
		entry->value = value;
		return former;
	}
	make_room(table);
	entry = vacancy(table, hash);
	if (entry->hash == HASH_DEAD)
		table->dead--;
	*entry = (struct table_entry){ .key = key, .key_len = len, .hash = hash, .value = value };
	table->count++;
	return NULL;
}

void *
table_remove(struct table *table, const void *key, size_t len)
{
	struct table_entry *entry = find(table, key, len, table_hash(key, len));
	size_t mask = table->cap - 1;

	if (entry == NULL)
		return NULL;

	void *value = entry->value;
	size_t i = (size_t)(entry - table->entries);

	*entry = (struct table_entry){ .hash = HASH_DEAD };
	table->count--;
	table->dead++;
	/* What is dead and has only free entries behind it is needed by no search. */
	if (is_free(&table->entries[(i + 1) & mask])) {
		for (; table->entries[i].key == NULL && table->entries[i].hash == HASH_DEAD;
		     i = (i - 1) & mask) {
			table->entries[i].hash = HASH_FREE;
			table->dead--;
		}
	}
	return value;
}

void *
table_next(const struct table *table, size_t *at)
{
	while (*at < table->cap) {
		const struct table_entry *entry = &table->entries[(*at)++];

		if (entry->key != NULL)
			return entry->value;
	}
	return NULL;
}
