/*
 * slot_main.c - pawl-slot, run by pawl-worker and pawlctl (libexecdir): fd 3 is a socket to them,
 * fd 4 the desk. See slot.h.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "runtime/slot.h"
#include "runtime/slot_crash.h"
#include "util/log.h"
#include "util/spawn.h"

enum { SOCKET_FD_LEAST = 100 };

static struct desk *
map_desk(int fd)
{
	struct stat st;
	void *desk;

	if (fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof(struct desk))
		return NULL;
	desk = mmap(NULL, sizeof(struct desk), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return desk == MAP_FAILED ? NULL : desk;
}

static bool
is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/*
 * To a number that no handler hits by a mistake with 3 or 4, where the null device stays: else the
 * database's socket would be there next. Programs that a handler starts do not get it.
 */
static int
hide_socket(void)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd = fcntl(FRAME_SOCKET_FD, F_DUPFD_CLOEXEC, SOCKET_FD_LEAST);

	if (null_fd < 0 || fd < 0 || dup2(null_fd, FRAME_SOCKET_FD) < 0 ||
	    dup2(null_fd, FRAME_DESK_FD) < 0)
		log_fatal(EX_OSERR, "could not move the socket to the runner: %m");
	(void)close(null_fd);
	return fd;
}

/* Ctrl-C and service managers signal whole groups. When this process ends is the runner's
 * decision; it dies with it anyway. And whom a handler writes to may go: that is an error of
 * write(), not the slot's end. */
static void
ignore_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		(void)signal(numbers[i], SIG_IGN);
}

int
main(int argc, char **argv)
{
	static struct slot slot;
	struct desk *desk;
	int status;

	spawn_title_init(argc, argv);
	log_init("pawl-slot", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	ignore_signals();
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("pawl-slot %s\n", PACKAGE_VERSION);
		return EX_OK;
	}
	desk = map_desk(FRAME_DESK_FD);
	if (desk == NULL || !is_socket(FRAME_SOCKET_FD)) {
		log_error("cannot run by hand: pawl-slot is started by pawl-worker and pawlctl");
		return EX_USAGE;
	}
	slot_crash_init(desk);
	status = slot_run(&slot, hide_socket(), desk);
	slot_crash_done();
	return status;
}
