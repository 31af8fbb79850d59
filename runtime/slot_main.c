/*
 * slot_main.c - pawl-slot, run by pawl-worker and pawlctl (libexecdir): fd 3 is a socket to them,
 * fd 4 the desk. See slot.h.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "config.h"
#include "runtime/slot.h"
#include "runtime/slot_crash.h"
#include "util/log.h"
#include "util/spawn.h"

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

/* Ctrl-C and service managers signal whole groups. When this process ends is the runner's
 * decision; it dies with it anyway. */
static void
ignore_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };

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
	status = slot_run(&slot, FRAME_SOCKET_FD, desk);
	slot_crash_done();
	return status;
}
