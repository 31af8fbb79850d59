/*
 * exec_settings.c - the settings of the handler "exec", see exec.h. Everything is checked here, so that `pawlctl check` finds it.
 */
#include "handlers/exec/exec.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/arena.h"

enum { LINE_LEAST = 1024, LINE_MOST = 256 << 20, LINE_DEFAULT = 16 << 20, ARGUMENTS_MAX = 1000 };

/* NULL: it can be run. Whoever can write the file can do what this process can. */
static const char *
objection(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "it is no regular file";
	if ((st.st_mode & S_IWOTH) != 0)
		return "it can be written by everybody: run chmod o-w";
	return access(path, X_OK) == 0 ? NULL : "it is not executable: run chmod +x";
}

/* The absolute name of the program; NULL: reported. */
static char *
find_program(const struct pawl_config *cfg, const char *name, const char *directory)
{
	const char *search = getenv("PATH"), *why;
	struct buf path = BUF_INIT;

	if (strchr(name, '/') != NULL) {
		if (name[0] != '/' && directory == NULL) {
			(void)pawl_config_error(cfg, "command.[0]",
			    "\"%s\" is relative: give its absolute name, or say to what with"
			    " directory = \".\", which is the configuration's own",
			    name);
			return NULL;
		}
		if (name[0] != '/')
			buf_printf(&path, "%s/", directory);
		buf_puts(&path, strncmp(name, "./", 2) == 0 ? name + 2 : name);
		why = objection(path.data);
		if (why == NULL)
			return buf_detach(&path);
		(void)pawl_config_error(
		    cfg, "command.[0]", "cannot run \"%s\": %s", path.data, why);
		buf_release(&path);
		return NULL;
	}
	if (search == NULL || search[0] == '\0')
		search = "/usr/local/bin:/usr/bin:/bin";
	for (const char *at = search; *at != '\0'; at += strcspn(at, ":"), at += *at == ':') {
		buf_clear(&path);
		buf_printf(&path, "%.*s/%s", (int)strcspn(at, ":"), at, name);
		if (path.data[0] == '/' && objection(path.data) == NULL)
			return buf_detach(&path);
	}
	buf_release(&path);
	(void)pawl_config_error(cfg, "command.[0]",
	    "there is no program \"%s\" in PATH (%s); one of your own has a '/' in its name", name,
	    search);
	return NULL;
}

/* Absolute, as the program is looked for from here and started from there. */
static int
read_directory(const struct pawl_config *cfg, char **directory)
{
	const char *name = pawl_config_string(cfg, "directory", NULL);
	struct stat st;

	if (name == NULL)
		return 0;
	*directory = realpath(name, NULL);
	if (*directory == NULL)
		return pawl_config_error(
		    cfg, "directory", "could not find \"%s\": %s", name, strerror(errno));
	if (stat(*directory, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return pawl_config_error(cfg, "directory", "\"%s\" is no directory", name);
}

static int
read_command(const struct pawl_config *cfg, struct exec_command *command)
{
	int count = pawl_config_count(cfg, "command");
	bool known = read_directory(cfg, &command->directory) == 0;
	const char **argv;

	if (pawl_config_string(cfg, "command", NULL) != NULL)
		return pawl_config_error(cfg, "command",
		    "is a list: command = [ \"PROGRAM\", \"ARGUMENT\" ]; there is no shell that "
		    "would take a text apart");
	if (count == 0 || count > ARGUMENTS_MAX)
		return pawl_config_error(cfg, NULL,
		    "has no command: write config: { command = [ \"PROGRAM\", \"ARGUMENT\" ]; }");
	argv = xcalloc((size_t)count + 1, sizeof(*argv));
	command->argv = argv;
	for (int i = 0; i < count; i++) {
		char path[32];

		(void)snprintf(path, sizeof(path), "command.[%d]", i);
		argv[i] = pawl_config_string(cfg, path, "");
	}
	if (argv[0][0] == '\0')
		return pawl_config_error(cfg, "command.[0]", "is empty: it is the program");
	if (known)
		command->path = find_program(cfg, argv[0], command->directory);
	return command->path == NULL ? -1 : 0;
}

static int
read_mode(const struct pawl_config *cfg, struct exec_settings *s)
{
	const char *mode = pawl_config_string(cfg, "mode", "lines"), *kind;

	s->once = strcmp(mode, "once") == 0;
	if (!s->once && strcmp(mode, "lines") != 0)
		return pawl_config_error(cfg, "mode", "is \"lines\" or \"once\"");
	kind = pawl_config_string(cfg, "kind", s->once ? "external" : "effects");
	s->external = strcmp(kind, "external") == 0;
	if (!s->external && strcmp(kind, "effects") != 0)
		return pawl_config_error(cfg, "kind", "is \"effects\" or \"external\"");
	if (s->once && !s->external)
		return pawl_config_error(cfg, "kind",
		    "is \"external\" with mode = \"once\": such a command has no effects but "
		    "outside");
	return 0;
}

static int
read_max_line(const struct pawl_config *cfg, size_t *size)
{
	static const struct {
		const char *word;
		unsigned shift;
	} units[] = {
		{ "", 0 },
		{ "B", 0 },
		{ "KiB", 10 },
		{ "MiB", 20 },
	};
	const char *text = pawl_config_string(cfg, "max_line", NULL);
	unsigned long long number;
	char *end;

	*size = LINE_DEFAULT;
	if (text == NULL)
		return 0;
	errno = 0;
	number = strtoull(text, &end, 10);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (errno == 0 && text[0] >= '0' && text[0] <= '9' &&
		    strcmp(end, units[i].word) == 0 && number <= LINE_MOST &&
		    number << units[i].shift >= LINE_LEAST &&
		    number << units[i].shift <= LINE_MOST) {
			*size = (size_t)(number << units[i].shift);
			return 0;
		}
	}
	return pawl_config_error(cfg, "max_line", "is a size from 1KiB to 256MiB, like \"16MiB\"");
}

static int
read_times(const struct pawl_config *cfg, struct exec_settings *s)
{
	s->timeout_ms = pawl_config_ms(cfg, "timeout", 0);
	s->start_timeout_ms = pawl_config_ms(cfg, "start_timeout", 10000);
	if (pawl_config_string(cfg, "timeout", NULL) != NULL && s->timeout_ms <= 0)
		return pawl_config_error(cfg, "timeout", "is more than 0");
	if (s->start_timeout_ms <= 0)
		return pawl_config_error(cfg, "start_timeout", "is more than 0");
	return 0;
}

static void
read_environment(const struct pawl_config *cfg, struct exec_environment *environment)
{
	static const char *const groups[] = { "environment", "environment_files" };

	exec_environment_inherit(environment);
	for (int g = 0; g < 2; g++) {
		const char *name, *value;

		for (int i = 0; (name = pawl_config_member(cfg, groups[g], i)) != NULL; i++) {
			struct buf path = BUF_INIT;

			buf_printf(&path, "%s.%s", groups[g], name);
			value = g == 0 ? pawl_config_string(cfg, path.data, NULL)
				       : pawl_config_secret(cfg, path.data);
			if (value != NULL)
				exec_environment_set(environment, name, value);
			buf_release(&path);
		}
	}
}

/* That they are named is enough: a reload looks at all files that a handler's settings name. */
static int
read_watched(const struct pawl_config *cfg)
{
	int count = pawl_config_count(cfg, "watch_files"), status = 0;

	if (pawl_config_string(cfg, "watch_files", NULL) != NULL)
		return pawl_config_error(
		    cfg, "watch_files", "is a list: watch_files = [ \"view.py\" ]");
	for (int i = 0; i < count; i++) {
		char path[32];
		const char *name;

		(void)snprintf(path, sizeof(path), "watch_files.[%d]", i);
		name = pawl_config_string(cfg, path, "");
		if (access(name, F_OK) != 0)
			status = pawl_config_error(
			    cfg, path, "could not find \"%s\": %s", name, strerror(errno));
	}
	return status;
}

int
exec_settings_read(struct exec_settings *s, const struct pawl_config *cfg)
{
	int status = read_command(cfg, &s->command);

	status |= read_mode(cfg, s);
	status |= read_max_line(cfg, &s->max_line);
	status |= read_times(cfg, s);
	status |= read_watched(cfg);
	read_environment(cfg, &s->environment);
	return status;
}

void
exec_settings_release(struct exec_settings *s)
{
	free(s->command.path);
	free(s->command.directory);
	free(s->command.argv);
	exec_environment_release(&s->environment);
	memset(&s->command, 0, sizeof(s->command));
}
