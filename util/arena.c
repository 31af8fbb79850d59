/*
 * arena.c - see arena.h. Chunks double up to 1 MiB; a request that is larger gets a chunk of its
 * own size. Out of memory ends the process.
 */
#include "util/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <sysexits.h>

#include "util/log.h"

/* AddressSanitizer is told what is handed out: it sees use after a reset, writes past the end. */
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
enum { RED_ZONE = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(p, n)		((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n)	((void)(p), (void)(n))
enum { RED_ZONE = 0 };
#endif

enum { CHUNK_MIN = 4096, CHUNK_MAX = 1024 * 1024, ALIGNMENT = alignof(max_align_t) };

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;		/* bytes of data */
	alignas(max_align_t) char data[];
};

static struct arena_chunk *
chunk_new(size_t size)
{
	struct arena_chunk *chunk = xmalloc(sizeof(*chunk) + size);

	chunk->next = NULL;
	chunk->size = size;
	chunk->used = 0;
	ASAN_POISON_MEMORY_REGION(chunk->data, size);
	return chunk;
}

static void
chunk_free(struct arena_chunk *chunk)
{
	ASAN_UNPOISON_MEMORY_REGION(chunk->data, chunk->size);
	free(chunk);
}

/* Keeps the largest chunk of usual size: a steady load ends up with one that holds all of it. */
void
arena_reset(struct arena *arena)
{
	struct arena_chunk *keep = NULL;

	for (struct arena_chunk *chunk = arena->first, *next; chunk != NULL; chunk = next) {
		next = chunk->next;
		if (chunk->size > CHUNK_MAX || (keep != NULL && chunk->size <= keep->size)) {
			chunk_free(chunk);
			continue;
		}
		if (keep != NULL)
			chunk_free(keep);
		keep = chunk;
	}
	if (keep != NULL) {
		keep->next = NULL;
		keep->used = 0;
		ASAN_POISON_MEMORY_REGION(keep->data, keep->size);
	}
	arena->first = arena->current = keep;
	arena->used_bytes = 0;
}

void
arena_release(struct arena *arena)
{
	for (struct arena_chunk *chunk = arena->first, *next; chunk != NULL; chunk = next) {
		next = chunk->next;
		chunk_free(chunk);
	}
	*arena = (struct arena)ARENA_INIT;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
	struct arena_chunk *chunk = arena->current;

	if (size > PTRDIFF_MAX / 2)
		log_fatal(EX_OSERR, "could not allocate %zu bytes: out of memory", size);

	size_t rounded = (size + RED_ZONE + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

	if (chunk == NULL || rounded > chunk->size - chunk->used) {
		size_t wanted = chunk == NULL ? CHUNK_MIN : chunk->size * 2;
		struct arena_chunk *fresh;

		if (wanted > CHUNK_MAX)
			wanted = CHUNK_MAX;
		fresh = chunk_new(rounded > wanted ? rounded : wanted);
		if (chunk == NULL)
			arena->first = fresh;
		else
			chunk->next = fresh;
		arena->current = chunk = fresh;
	}

	void *memory = chunk->data + chunk->used;

	chunk->used += rounded;
	arena->used_bytes += size;
	ASAN_UNPOISON_MEMORY_REGION(memory, size);
	return memory;
}

void *
arena_zalloc(struct arena *arena, size_t size)
{
	return memset(arena_alloc(arena, size), 0, size);
}

void *
arena_array(struct arena *arena, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		log_fatal(EX_OSERR, "could not allocate %zu times %zu bytes: out of memory",
		    count, size);
	return arena_zalloc(arena, total);
}

char *
arena_memdup(struct arena *arena, const void *data, size_t size)
{
	if (size == SIZE_MAX)
		log_fatal(EX_OSERR, "could not allocate %zu bytes: out of memory", size);

	char *copy = arena_alloc(arena, size + 1);

	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

char *
arena_strdup(struct arena *arena, const char *text)
{
	return arena_memdup(arena, text, strlen(text));
}

char *
arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = arena_vprintf(arena, fmt, args);
	va_end(args);
	return text;
}

char *
arena_vprintf(struct arena *arena, const char *fmt, va_list args)
{
	char small[256];
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(small, sizeof(small), fmt, args);
	assert(len >= 0);

	char *text = arena_alloc(arena, (size_t)len + 1);

	if ((size_t)len < sizeof(small))
		memcpy(text, small, (size_t)len + 1);
	else
		vsnprintf(text, (size_t)len + 1, fmt, again);
	va_end(again);
	return text;
}

static void *
checked(void *memory, size_t size)
{
	if (memory == NULL)
		log_fatal(EX_OSERR, "could not allocate %zu bytes: out of memory", size);
	return memory;
}

void *
xmalloc(size_t size)
{
	return checked(malloc(size > 0 ? size : 1), size);
}

void *
xcalloc(size_t count, size_t size)
{
	return checked(calloc(count > 0 ? count : 1, size > 0 ? size : 1), size);
}

void *
xrealloc(void *memory, size_t size)
{
	return checked(realloc(memory, size > 0 ? size : 1), size);
}

char *
xstrdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(xmalloc(size), text, size);
}

char *
xasprintf(const char *fmt, ...)
{
	va_list args;
	char *text = NULL;
	int len;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		log_fatal(EX_OSERR, "could not format a text: out of memory");
	return text;
}
