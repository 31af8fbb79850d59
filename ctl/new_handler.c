/*
 * new_handler.c - pawlctl new-handler: a directory with a handler that builds, is tested and runs, for somebody to change.
 *
 * All of its files or none: what was written is taken away when something fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/new_handler.h"
#include "util/arena.h"
#include "util/buf.h"

enum { NAME_MAX_BYTES = 40 };

enum { OPTION_AUTOMAKE };
static const struct program_option options[] = {
	[OPTION_AUTOMAKE] = { 'a', "automake", NULL, "with configure.ac and Makefile.am instead of a plain Makefile" },
};

struct new_handler {
	bool automake;
	const char *name, *dir;
	struct arena arena;
};

static void
set(void *arg, size_t index, const char *value)
{
	struct new_handler *n = arg;

	(void)index, (void)value;
	n->automake = true;
}

/* A part of file names, make targets, a table's name. */
static bool
is_name(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return name[0] >= 'a' && name[0] <= 'z' && name[len] == '\0' && len <= NAME_MAX_BYTES;
}

/* These have a meaning already: use = "sql". */
static bool
is_taken(const char *name)
{
	static const char *const taken[] = { "exec", "http", "ignore", "sql" };

	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		if (strcmp(name, taken[i]) == 0)
			return true;
	return false;
}

/* Where a file of ours goes; NULL: it belongs to the other variant. */
static const char *
path_of(struct new_handler *n, const struct ctl_file *file)
{
	const char *base = strchr(file->name, '/') + 1;
	size_t len = (size_t)(base - file->name);

	if (strncmp(file->name, "both/", len) != 0 &&
	    strncmp(file->name, n->automake ? "automake/" : "plain/", len) != 0)
		return NULL;
	if (strcmp(base, "handler.c") == 0)
		return arena_printf(&n->arena, "%s/%s.c", n->dir, n->name);
	return arena_printf(&n->arena, "%s/%s", n->dir, base);
}

static void
fill_in(const struct new_handler *n, const char *text, struct buf *out)
{
	static const char name[] = "@NAME@", use[] = "@USE@";
	const char *at;

	for (; (at = strchr(text, '@')) != NULL; text = at) {
		buf_append(out, text, (size_t)(at - text));
		if (strncmp(at, name, sizeof(name) - 1) == 0) {
			buf_puts(out, n->name);
			at += sizeof(name) - 1;
		} else if (strncmp(at, use, sizeof(use) - 1) == 0) {
			buf_printf(out, "./%s%s.so", n->automake ? ".libs/" : "", n->name);
			at += sizeof(use) - 1;
		} else {
			buf_putc(out, *at++);
		}
	}
	buf_puts(out, text);
}

static int
write_file(const char *path, const struct buf *text)
{
	size_t len = strlen(path);
	bool script = len > 3 && strcmp(path + len - 3, ".sh") == 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, script ? 0777 : 0666);
	ssize_t n = 0;

	for (size_t at = 0; fd >= 0 && at < text->len && n >= 0; at += (size_t)n)
		n = write(fd, text->data + at, text->len - at);
	if (fd < 0 || n < 0 || close(fd) < 0)
		return ctl_fail(EX_CANTCREAT, "new-handler", "could not write \"%s\": %s", path, strerror(errno));
	return EX_OK;
}

static int
write_all(struct new_handler *n)
{
	int status = EX_OK;

	for (const struct ctl_file *file = new_handler_files; file->name != NULL && status == EX_OK; file++) {
		const char *path = path_of(n, file);
		struct buf text = BUF_INIT;

		if (path == NULL)
			continue;
		fill_in(n, file->text, &text);
		status = write_file(path, &text);
		buf_release(&text);
	}
	return status;
}

/* The directory is ours: it was not there before. */
static void
take_away(struct new_handler *n)
{
	for (const struct ctl_file *file = new_handler_files; file->name != NULL; file++) {
		const char *path = path_of(n, file);

		if (path != NULL)
			(void)unlink(path);
	}
	(void)rmdir(n->dir);
}

/* To paste into a shell. */
static const char *
quoted(struct new_handler *n, const char *path)
{
	static const char plain[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+,:@%";
	struct buf out = BUF_INIT;
	const char *text;

	if (path[0] == '-')
		path = arena_printf(&n->arena, "./%s", path);
	if (path[strspn(path, plain)] == '\0')
		return path;
	buf_putc(&out, '\'');
	for (; *path != '\0'; path++)
		if (*path == '\'')
			buf_puts(&out, "'\\''");
		else
			buf_putc(&out, *path);
	buf_putc(&out, '\'');
	text = arena_strdup(&n->arena, out.data);
	buf_release(&out);
	return text;
}

static int
make(struct new_handler *n)
{
	int status;

	if (!is_name(n->name))
		return ctl_fail(EX_USAGE, "new-handler", "cannot name a handler \"%s\": take a small letter, then small letters, "
		    "digits and _, %d at most", n->name, NAME_MAX_BYTES);
	if (is_taken(n->name))
		return ctl_fail(EX_USAGE, "new-handler", "cannot name a handler \"%s\": use = \"%s\" has a meaning already",
		    n->name, n->name);
	if (mkdir(n->dir, 0777) < 0)
		return ctl_fail(EX_CANTCREAT, "new-handler", "could not make directory \"%s\": %s%s", n->dir, strerror(errno),
		    errno == EEXIST ? ": nothing is overwritten, say another name or directory" : "");
	status = write_all(n);
	if (status != EX_OK) {
		take_away(n);
		return status;
	}
	printf("made %s: read its README.md, or begin with\n  cd %s && %smake check\n", n->dir, quoted(n, n->dir),
	    n->automake ? "ACLOCAL_PATH=$(pkg-config --variable=prefix pawl)/share/aclocal autoreconf -i && ./configure && " : "");
	return EX_OK;
}

int
ctl_new_handler(int argc, char **argv)
{
	struct new_handler n = { .arena = ARENA_INIT };
	int at = program_options(argc, argv, "pawlctl new-handler", "[OPTION]... NAME [DIRECTORY]", options,
	    ARRAY_SIZE(options), set, &n);
	int status;

	if (at == argc || at + 2 < argc)
		return ctl_fail(EX_USAGE, "new-handler", "say the handler's name, and perhaps a directory");
	n.name = argv[at];
	n.dir = at + 1 < argc ? argv[at + 1] : n.name;
	status = make(&n);
	arena_release(&n.arena);
	return ctl_end(status, "new-handler");
}
