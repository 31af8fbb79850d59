/*
 * tap.h - the Test Anything Protocol for unit tests in C: one program, one file, one line per test.
 *
 *	ok(buf.len == 3, "three bytes");
 *	is_int(buf.len, 3, "length");		prints both values when they differ
 *	is_str(buf.data, "abc", "content");
 *	return done_testing();
 *
 * A test that fails says where it stands. Each macro is true if the test was good. Names are formats.
 */
#ifndef PAWL_T_UNIT_TAP_H
#define PAWL_T_UNIT_TAP_H
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ok(good, ...)			tap_ok((good), __FILE__, __LINE__, __VA_ARGS__)
#define is_int(got, wanted, ...)	tap_is_int((long long)(got), (long long)(wanted), __FILE__, __LINE__, __VA_ARGS__)
#define is_str(got, wanted, ...)	tap_is_str((got), (wanted), __FILE__, __LINE__, __VA_ARGS__)

static int tap_run, tap_failed, tap_planned;

/* A line "# ..." for whoever reads the output. */
__attribute__((format(printf, 1, 2), unused)) static void
diag(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("# ");
	vprintf(fmt, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
}

__attribute__((format(printf, 4, 0))) static bool
tap_say(bool good, const char *file, int line, const char *fmt, va_list args)
{
	char name[512];

	vsnprintf(name, sizeof(name), fmt, args);
	for (char *p = name; *p != '\0'; p++) {
		if ((*p >= 0 && *p < ' ') || *p == '#')		/* a line is a test, and # begins a directive */
			*p = '.';
	}
	printf("%sok %d - %s\n", good ? "" : "not ", ++tap_run, name);
	if (!good) {
		tap_failed++;
		diag("failed at %s:%d", file, line);
	}
	fflush(stdout);		/* a child that is forked must not say it once more */
	return good;
}

__attribute__((format(printf, 4, 5), unused)) static bool
tap_ok(bool good, const char *file, int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tap_say(good, file, line, fmt, args);
	va_end(args);
	return good;
}

__attribute__((format(printf, 5, 6), unused)) static bool
tap_is_int(long long got, long long wanted, const char *file, int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (!tap_say(got == wanted, file, line, fmt, args))
		diag("got %lld, wanted %lld", got, wanted);
	va_end(args);
	return got == wanted;
}

__attribute__((format(printf, 5, 6), unused)) static bool
tap_is_str(const char *got, const char *wanted, const char *file, int line, const char *fmt, ...)
{
	bool same = got == NULL || wanted == NULL ? got == wanted : strcmp(got, wanted) == 0;
	va_list args;

	va_start(args, fmt);
	if (!tap_say(same, file, line, fmt, args))
		diag("got \"%s\", wanted \"%s\"", got == NULL ? "(null)" : got, wanted == NULL ? "(null)" : wanted);
	va_end(args);
	return same;
}

/* How many tests there will be; without it done_testing says how many there were. */
__attribute__((unused)) static void
plan(int tests)
{
	tap_planned = tests;
	printf("1..%d\n", tests);
	fflush(stdout);
}

/* The exit status for main. */
__attribute__((unused)) static int
done_testing(void)
{
	if (tap_planned == 0)
		plan(tap_run);
	if (tap_planned != tap_run)
		diag("planned %d tests, ran %d", tap_planned, tap_run);
	return tap_failed > 0 || tap_planned != tap_run;
}
#endif
