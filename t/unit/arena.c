/* Unit tests of util/arena. */
#include "util/arena.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <sysexits.h>

#include "t/unit/child.h"
#include "t/unit/tap.h"

static void
too_many(void *arg)
{
	struct arena arena = ARENA_INIT;

	(void)arg;
	arena_array(&arena, SIZE_MAX / 2, 4);
}

/* A sanitizer's malloc ends the process itself. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
static void
too_much(void *arg)
{
	(void)arg;
	free(xmalloc(PTRDIFF_MAX - 4096));
}
#endif

/* Fills an arena with count pieces, each with its own byte, and looks whether they kept it. */
static bool
pieces_stay(struct arena *arena, size_t count, size_t size)
{
	unsigned char **pieces = xcalloc(count, sizeof(*pieces));
	bool good = true;

	for (size_t i = 0; i < count; i++) {
		pieces[i] = arena_alloc(arena, size + i % 7);
		good = good && (uintptr_t)pieces[i] % alignof(max_align_t) == 0;
		memset(pieces[i], (int)(i & 0xff), size + i % 7);
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < size + i % 7; k++)
			good = good && pieces[i][k] == (i & 0xff);
	}
	free(pieces);
	return good;
}

int
main(void)
{
	struct arena arena = ARENA_INIT;
	char large[1000], *text;
	struct child child;

	arena_reset(&arena);
	ok(arena.first == NULL, "a reset of an unused arena allocates nothing");

	text = arena_memdup(&arena, "a\0b", 3);
	ok(memcmp(text, "a\0b", 4) == 0, "memdup puts a NUL behind");
	is_str(arena_memdup(&arena, NULL, 0), "", "memdup of nothing");
	is_str(arena_strdup(&arena, "text"), "text", "strdup");
	is_str(arena_printf(&arena, "%d-%s", 17, "x"), "17-x", "printf");
	memset(large, 'y', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	text = arena_printf(&arena, "<%s>", large);
	ok(strlen(text) == sizeof(large) + 1 && text[0] == '<' && text[1] == 'y' && text[sizeof(large)] == '>', "printf of a long text");
	for (size_t len = 250; len <= 260; len++)
		ok(strlen(arena_printf(&arena, "%.*s", (int)len, large)) == len, "printf of %zu characters", len);

	unsigned char *zeroes = arena_array(&arena, 100, 3);
	bool zero = true;

	for (size_t i = 0; i < 300; i++)
		zero = zero && zeroes[i] == 0;
	ok(zero, "an array is zeroed");
	ok(pieces_stay(&arena, 10000, 40), "pieces do not overlap and are aligned");
	ok(pieces_stay(&arena, 3, 3 * 1024 * 1024), "pieces larger than any chunk");
	ok(arena.used_bytes > 9 * 1024 * 1024, "what was handed out is counted");

	/* A steady load ends up in one chunk. */
	for (int i = 0; i < 4; i++) {
		arena_reset(&arena);
		is_int(arena.used_bytes, 0, "reset number %d", i);
		ok(pieces_stay(&arena, 2000, 100), "used again");
	}
	ok(arena.first == arena.current, "a steady load fits into the chunk that is kept");
	arena_release(&arena);
	ok(arena.first == NULL && arena.used_bytes == 0, "release");
	is_str(arena_strdup(&arena, "again"), "again", "usable after release");
	arena_release(&arena);

	child_run(&child, too_many, NULL);
	is_int(child_exit(&child), EX_OSERR, "an array that overflows ends the process");
	ok(strstr(child.text, "out of memory") != NULL, "and says why");
#ifndef SANITIZED
	child_run(&child, too_much, NULL);
	is_int(child_exit(&child), EX_OSERR, "so does malloc");
#endif

	text = xasprintf("%s", "abc");
	text = xrealloc(text, 100);
	is_str(text, "abc", "xasprintf, xrealloc");
	free(text);
	text = xstrdup("");
	is_str(text, "", "xstrdup");
	free(text);
	text = xcalloc(0, 0);
	ok(text != NULL, "xcalloc of nothing is not NULL");
	free(text);
	return done_testing();
}
