/*
 * config_run_dir.c - where the statistics files are: what the configuration says, or the first good place. Any program with a
 * configuration; makes the private directory in /tmp if it comes to that.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config_internal.h"

static const char *
private_run_dir(struct arena *arena)
{
	return arena_printf(arena, "/tmp/pawl-%u", (unsigned)geteuid());
}

static const char *
systemd_run_dir(struct arena *arena)
{
	const char *dirs = getenv("RUNTIME_DIRECTORY");		/* several are separated by ':' */

	if (dirs == NULL || dirs[0] != '/')
		return NULL;
	return arena_memdup(arena, dirs, strcspn(dirs, ":"));
}

static const char *
user_run_dir(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	return dir == NULL || dir[0] != '/' ? NULL : dir;
}

/* /tmp belongs to everybody: the directory is good only if we made it. */
static bool
is_private(const char *dir)
{
	struct stat st;

	return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	    (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static int
make_private_run_dir(const char *dir, char *error, size_t error_size)
{
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		snprintf(error, error_size, "could not make \"%s\": %s", dir, strerror(errno));
		return -1;
	}
	if (!is_private(dir)) {
		snprintf(error, error_size,
		    "\"%s\" is not a directory that only this user can write", dir);
		return -1;
	}
	return 0;
}

int
config_set_run_dir(struct config *c, char *error, size_t error_size)
{
	c->run_dir_given = c->run_dir != NULL;
	if (!c->run_dir_given)
		c->run_dir = systemd_run_dir(&c->arena);
	if (c->run_dir == NULL && access("/run/pawl", W_OK | X_OK) == 0)
		c->run_dir = "/run/pawl";
	if (c->run_dir == NULL && user_run_dir() != NULL)
		c->run_dir = arena_strdup(&c->arena, user_run_dir());
	if (c->run_dir != NULL)
		return 0;
	c->run_dir = private_run_dir(&c->arena);
	return make_private_run_dir(c->run_dir, error, error_size);
}

const char *const *
config_run_dirs(const struct config *c, struct arena *arena)
{
	const char **dirs = arena_array(arena, 6, sizeof(*dirs));
	size_t n = 0;

	dirs[n++] = c->run_dir;
	if (c->run_dir_given)
		return dirs;
	if (systemd_run_dir(arena) != NULL)
		dirs[n++] = systemd_run_dir(arena);
	dirs[n++] = "/run/pawl";
	if (user_run_dir() != NULL)
		dirs[n++] = arena_strdup(arena, user_run_dir());
	if (is_private(private_run_dir(arena)))
		dirs[n++] = private_run_dir(arena);
	return dirs;
}
