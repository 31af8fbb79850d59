/*
 * log_complain.c - complaints that repeat, see log.h: less and less often while the trouble lasts.
 */
#include "util/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>

enum { FIRST_MS = 1000, MOST_MS = 3600 * 1000 };

void
log_complain(struct log_complaint *complaint, enum log_level level, const char *fmt, ...)
{
	int saved = errno;
	bool first = complaint->interval_ms == 0;
	struct clock_mono now = clock_mono_now();
	char text[PIPE_BUF];
	va_list args;

	complaint->suppressed += !first;
	if (!first && now.ns < complaint->next.ns)
		return;

	errno = saved;		/* for %m */
	va_start(args, fmt);
	if (vsnprintf(text, sizeof(text), fmt, args) < 0)
		text[0] = '\0';
	va_end(args);
	if (first)
		log_at(level, "%s", text);
	else
		log_at(level, "%s (again, %llu times since)", text,
		    (unsigned long long)complaint->suppressed);
	complaint->interval_ms = first ? FIRST_MS : complaint->interval_ms * 2;
	if (complaint->interval_ms > MOST_MS)
		complaint->interval_ms = MOST_MS;
	complaint->next = clock_mono_after_ms(now, complaint->interval_ms);
	complaint->suppressed = 0;
	errno = saved;
}

void
log_recovered(struct log_complaint *complaint, const char *fmt, ...)
{
	int saved = errno;
	char text[PIPE_BUF];
	va_list args;

	if (complaint->interval_ms == 0)
		return;
	*complaint = (struct log_complaint){ .interval_ms = 0 };
	va_start(args, fmt);
	if (vsnprintf(text, sizeof(text), fmt, args) < 0)
		text[0] = '\0';
	va_end(args);
	log_info("%s", text);
	errno = saved;
}
