/*
 * program_config.c - the first step of the programs that have a configuration, and how they say what is wrong with it. Apart from
 * program.c, because a slot has none.
 */
#include "common/program.h"

#include "util/utf8.h"

void
program_print(FILE *out, const char *text, size_t len)
{
	for (size_t at = 0, n; at < len; at += n) {
		const char *p = text + at;
		unsigned char c = (unsigned char)p[0];

		n = utf8_length(p, len - at);
		if (n == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else if (c == 0xc2 && (unsigned char)p[1] < 0xa0)	/* C1 */
			fprintf(out, "\\xc2\\x%02x", (unsigned char)p[1]);
		else
			fwrite(p, 1, n, out);
		n += n == 0;
	}
}

void
program_log(enum log_level level, const char *lines)
{
	for (size_t len; *lines != '\0'; lines += len + (lines[len] == '\n')) {
		len = strcspn(lines, "\n");
		log_at(level, "%.*s", (int)len, lines);
	}
}

void
program_say(enum log_level level, const char *lines)
{
	size_t len = strlen(lines);

	if (log_is_json()) {
		program_log(level, lines);
		return;
	}
	program_print(stderr, lines, len);
	if (len == 0 || lines[len - 1] != '\n')
		putc('\n', stderr);
}

struct config *
program_config(const char *file)
{
	struct buf errors = BUF_INIT;
	struct config *config;

	if (config_load(file, &config, &errors) < 0)
		program_say(LOG_LEVEL_ERROR, errors.data);
	buf_release(&errors);
	return config;
}
