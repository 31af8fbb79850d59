/*
 * spawn_title.c - what ps shows, see spawn.h: the title overwrites the memory in which the kernel
 * passed argv and environ (PS_USE_CLOBBER_ARGV in PostgreSQL's ps_status.c). Both are copied first,
 * so all that points into argv stays good.
 */
#include "util/spawn.h"

#include <errno.h>
#include <stdarg.h>

#include "util/arena.h"

extern char **environ;

static char *area;			/* NULL: not initialised */
static size_t area_size;
static char *copy;			/* of the area as it was: argv, environ point into it */
/* Never read: it keeps the array reachable for leak checkers when setenv() has replaced environ. */
__attribute__((used)) static char **kept_environ;

/* Strings that follow each other without a gap from 'end' on belong to the area. */
static char *
extend(char *end, char *const *strings)
{
	for (size_t i = 0; strings[i] != NULL; i++) {
		if (strings[i] == end)
			end += strlen(end) + 1;
	}
	return end;
}

static void
point_to_copy(char **strings)
{
	for (size_t i = 0; strings[i] != NULL; i++) {
		if (strings[i] >= area && strings[i] < area + area_size)
			strings[i] = copy + (strings[i] - area);
	}
}

void
spawn_title_init(int argc, char **argv)
{
	size_t count = 0;

	if (area != NULL || argc < 1)
		return;
	area = argv[0];
	area_size = (size_t)(extend(extend(area, argv), environ) - area);
	copy = memcpy(xmalloc(area_size), area, area_size);
	point_to_copy(argv);

	while (environ[count] != NULL)
		count++;
	environ = kept_environ =
	    memcpy(xcalloc(count + 1, sizeof(*environ)), environ, count * sizeof(*environ));
	point_to_copy(environ);
	program_invocation_name = argv[0];
	program_invocation_short_name =
	    strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
}

void
spawn_title_set(const char *fmt, ...)
{
	va_list args;
	int len;

	if (area_size < 2)
		return;
	va_start(args, fmt);
	len = vsnprintf(area, area_size, fmt, args);
	va_end(args);
	if (len < 0)
		len = 0;
	if ((size_t)len < area_size)
		memset(area + len, 0, area_size - (size_t)len);
}
