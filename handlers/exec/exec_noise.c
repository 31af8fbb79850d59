/*
 * exec_noise.c - see exec_noise.h.
 */
#include "handlers/exec/exec_noise.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/utf8.h"

enum { WINDOW_MS = 10000, WINDOW_LINES = 100 };

/* Copies up to size - 1 bytes of whole characters, with a NUL. */
static void
clean(char *to, size_t size, const char *data, size_t len)
{
	size_t out = 0;

	for (size_t at = 0, n; at < len; at += n) {
		n = utf8_length(data + at, len - at);
		if (n == 0 || (n == 1 && ((unsigned char)data[at] < 0x20 || data[at] == 0x7f))) {
			n = 1;
			if (out + 1 >= size)
				break;
			to[out++] = data[at] == '\t' ? ' ' : '?';
		} else {
			if (out + n >= size)
				break;
			memcpy(to + out, data + at, n);
			out += n;
		}
	}
	to[out] = '\0';
}

const char *
exec_noise_shown(struct pawl_call *call, const char *data, size_t len, size_t most)
{
	char text[EXEC_NOISE_LINE + 1];

	clean(text, most < sizeof(text) ? most + 1 : sizeof(text), data, len);
	return pawl_format(call, "%s", text);
}

void
exec_noise_init(struct exec_noise *n, const char *name)
{
	memset(n, 0, sizeof(*n));
	n->name = name;
}

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
show(struct exec_noise *n, struct pawl_call *call, const char *line)
{
	int64_t now = now_ms();

	if (n->window_ms == 0 || now - n->window_ms > WINDOW_MS) {
		if (n->dropped > 0 && call != NULL)
			pawl_log(call, PAWL_WARNING, "%u lines of the program's %s were left out",
			    n->dropped, n->name);
		n->window_ms = now;
		n->shown = n->dropped = 0;
	}
	if (n->shown++ >= WINDOW_LINES)
		n->dropped++;
	else if (call != NULL)
		pawl_log(call, PAWL_INFO, "%s: %s", n->name, line);
	else
		(void)fprintf(stderr, "%s\n", line);
}

static void
end_line(struct exec_noise *n, struct pawl_call *call)
{
	if (n->len > 0 && n->line[n->len - 1] == '\r')
		n->len--;
	if (n->len > 0) {
		clean(n->last, sizeof(n->last), n->line, n->len);
		show(n, call, n->last);
	}
	n->len = 0;
	n->overlong = false;
}

void
exec_noise_add(struct exec_noise *n, struct pawl_call *call, const char *data, size_t len)
{
	while (len > 0) {
		const char *newline = memchr(data, '\n', len);
		size_t here = newline == NULL ? len : (size_t)(newline - data);
		size_t most = EXEC_NOISE_LINE - n->len;

		if (!n->overlong) {
			memcpy(n->line + n->len, data, here < most ? here : most);
			n->len += here < most ? here : most;
			n->overlong = here > most;
		}
		if (newline == NULL)
			return;
		end_line(n, call);
		data += here + 1;
		len -= here + 1;
	}
}

void
exec_noise_end(struct exec_noise *n, struct pawl_call *call)
{
	end_line(n, call);
}
