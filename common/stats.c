/*
 * stats.c - see stats.h. Neither side ends the process: a program without statistics still works.
 */
#include "common/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <config.h>	/* PACKAGE_VERSION; in quotes it would be common/config.h */

#include "util/clock.h"

#define STATS_MAGIC 0x6c776170u	/* "pawl" */
#define PAGE_IN_WORK 0xffffffffu

enum { FIRST_BUCKET_BITS = 6, PAGES_MAX = 65536 };

const char *
stats_outcome_text(enum stats_outcome outcome)
{
	static const char *const text[] = {
		[STATS_DONE] = "done", [STATS_DUPLICATE] = "duplicate",
		[STATS_IGNORED] = "ignored", [STATS_RETRIED] = "retried",
		[STATS_SNOOZED] = "snoozed", [STATS_DEAD] = "dead",
		[STATS_CRASHED] = "crashed", [STATS_TIMEOUT] = "timeout",
		[STATS_RETURNED] = "returned",
	};

	_Static_assert(ARRAY_SIZE(text) == STATS_OUTCOMES, "a text for each outcome");
	return (unsigned)outcome < STATS_OUTCOMES ? text[outcome] : "unknown";
}

void
stats_observe(struct stats_histogram *histogram, int64_t us)
{
	uint64_t value = us < 0 ? 0 : (uint64_t)us;
	uint64_t above = value == 0 ? 0 : (value - 1) >> FIRST_BUCKET_BITS;
	int bucket = above == 0 ? 0 : 64 - __builtin_clzll(above);

	stats_add(&histogram->bucket[bucket < STATS_BUCKETS ? bucket : STATS_BUCKETS - 1], 1);
	stats_add(&histogram->sum_us, value);
	stats_add(&histogram->count, 1);
}

/* RUN_DIR/NAME.worker.stats; program may be written "pawl-worker" or "worker". */
static int
make_path(char *path, size_t size, const char *run_dir, const char *program, const char *name,
    char *error, size_t error_size)
{
	const char *kind = strncmp(program, "pawl-", 5) == 0 ? program + 5 : program;
	int len = snprintf(path, size, "%s/%s.%s.stats", run_dir, name, kind);

	if (len > 0 && (size_t)len < size && name[0] != '\0' && strchr(name, '/') == NULL)
		return 0;
	snprintf(error, error_size, "cannot make a file name of directory \"%s\" and name \"%s\"",
	    run_dir, name);
	return -1;
}

static size_t
file_size(uint32_t pages)
{
	return sizeof(struct stats_file) + (size_t)pages * sizeof(struct stats_page);
}

static void
copy_name(char to[STATS_NAME_MAX], const char *from)
{
	memset(to, 0, STATS_NAME_MAX);
	memcpy(to, from, strnlen(from, STATS_NAME_MAX - 1));
}

/*
 * A record lock: it ends with this process, however that ends, where flock() would live on in a
 * runner that outlives its master. Where there can be no file or no lock, there are no statistics
 * either, and stats_create() says why, or nothing shows who else is there.
 */
int
stats_lock(const char *run_dir, const char *program, const char *name, char *error, size_t error_size)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[4096], file[sizeof(path) + 8], who[32] = "another process";
	int fd;

	if (make_path(path, sizeof(path), run_dir, program, name, error, error_size) < 0)
		return 0;
	snprintf(file, sizeof(file), "%s.lock", path);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return 0;
	if (fcntl(fd, F_SETLK, &lock) == 0)
		return 0;		/* fd stays open: to close it would be to unlock */
	if (errno != EACCES && errno != EAGAIN) {
		close(fd);
		return 0;
	}
	/* Of a process in another container the number is not known here. */
	if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
		snprintf(who, sizeof(who), "process %ld", (long)lock.l_pid);
	close(fd);
	snprintf(error, error_size, "%s is pawl-%s \"%s\" already, with run_dir \"%s\" (it has locked "
	    "\"%s\"): stop it, or give this one another name or run_dir, else their statistics would "
	    "be mixed up", who, program, name, run_dir, file);
	return -1;
}

struct stats_file *
stats_create(const char *run_dir, const char *program, const char *name, uint32_t pages,
    char *error, size_t error_size)
{
	char path[4096], temporary[sizeof(path) + 32];
	struct stats_file *file = NULL;
	void *map = MAP_FAILED;
	int fd = -1, rc;

	if (make_path(path, sizeof(path), run_dir, program, name, error, error_size) < 0)
		return NULL;
	if (pages > PAGES_MAX) {
		snprintf(error, error_size, "cannot keep statistics of %u pages, only of %d",
		    pages, PAGES_MAX);
		return NULL;
	}
	snprintf(temporary, sizeof(temporary), "%s.%ld.tmp", path, (long)getpid());
	unlink(temporary);	/* left behind by a former process of this number */
	fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		snprintf(error, error_size, "could not create statistics file \"%s\": %m",
		    temporary);
		return NULL;
	}
	/* With its blocks: a page that a full file system cannot give would be a SIGBUS. */
	rc = fchmod(fd, 0644) < 0 ? errno : posix_fallocate(fd, 0, (off_t)file_size(pages));
	if (rc == 0)
		map = mmap(NULL, file_size(pages), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		errno = rc != 0 ? rc : errno;
		snprintf(error, error_size, "could not make room for statistics in \"%s\": %m",
		    temporary);
		goto out;
	}
	file = map;
	file->magic = STATS_MAGIC;
	file->layout = STATS_LAYOUT;
	file->page_size = sizeof(struct stats_page);
	file->page_count = pages;
	copy_name(file->program, program);
	copy_name(file->version, PACKAGE_VERSION);
	copy_name(file->name, name);
	atomic_store(&file->started_ms, clock_wall_now().ms);
	atomic_store(&file->pid, (int64_t)getpid());
	if (rename(temporary, path) < 0) {
		snprintf(error, error_size, "could not rename statistics file \"%s\" to \"%s\": %m",
		    temporary, path);
		munmap(map, file_size(pages));
		file = NULL;
	}
out:
	if (file == NULL)
		unlink(temporary);
	close(fd);
	return file;
}

struct stats_page *
stats_page_take(struct stats_file *file, enum stats_page_kind kind, const char *name)
{
	char wanted[STATS_NAME_MAX];

	copy_name(wanted, name);
	for (uint32_t i = 0; i < file->page_count; i++) {
		struct stats_page *page = &file->pages[i];

		if (atomic_load(&page->kind) == (uint32_t)kind &&
		    memcmp(page->name, wanted, sizeof(wanted)) == 0)
			return page;
	}
	for (uint32_t i = 0; i < file->page_count; i++) {
		struct stats_page *page = &file->pages[i];
		uint32_t free_kind = STATS_PAGE_FREE;

		/* Several may look at once; readers see the page when its name is complete. */
		if (!atomic_compare_exchange_strong(&page->kind, &free_kind, PAGE_IN_WORK))
			continue;
		memcpy(page->name, wanted, sizeof(wanted));
		atomic_store(&page->kind, (uint32_t)kind);
		return page;
	}
	return NULL;
}

struct stats_handler *
stats_handler_take(struct stats_queue *queue, const char *name)
{
	struct stats_handler *last = &queue->handlers[STATS_HANDLERS_MAX - 1];
	char wanted[STATS_NAME_MAX];

	copy_name(wanted, name);
	if (wanted[0] == '\0')
		return last;
	for (struct stats_handler *handler = queue->handlers; handler < last; handler++) {
		if (handler->name[0] == '\0')
			memcpy(handler->name, wanted, sizeof(wanted));
		if (memcmp(handler->name, wanted, sizeof(wanted)) == 0)
			return handler;
	}
	return last;
}

const struct stats_file *
stats_open(const char *run_dir, const char *program, const char *name,
    char *error, size_t error_size)
{
	char path[4096];
	const struct stats_file *file = NULL;
	struct stats_file head;
	struct stat st;
	void *map;
	ssize_t n;
	int fd;

	if (make_path(path, sizeof(path), run_dir, program, name, error, error_size) < 0)
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);	/* it may be somebody's pipe */
	if (fd < 0 || fstat(fd, &st) < 0) {
		snprintf(error, error_size, "could not open statistics file \"%s\": %m", path);
		goto out;
	}
	n = S_ISREG(st.st_mode) ? pread(fd, &head, sizeof(head), 0) : 0;
	if (n < 0) {
		snprintf(error, error_size, "could not read statistics file \"%s\": %m", path);
		goto out;
	}
	if (n < (ssize_t)sizeof(head) || head.magic != STATS_MAGIC) {
		snprintf(error, error_size, "file \"%s\" is no statistics file", path);
		goto out;
	}
	if (head.layout != STATS_LAYOUT || head.page_size != sizeof(struct stats_page)) {
		snprintf(error, error_size, "statistics file \"%s\" has layout %u, this program "
		    "reads layout %d: both must be of one version", path, head.layout,
		    STATS_LAYOUT);
		goto out;
	}
	if (head.page_count > PAGES_MAX || st.st_size != (off_t)file_size(head.page_count)) {
		snprintf(error, error_size,
		    "statistics file \"%s\" is damaged: %u pages in %lld bytes", path,
		    head.page_count, (long long)st.st_size);
		goto out;
	}
	map = mmap(NULL, file_size(head.page_count), PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		snprintf(error, error_size, "could not map statistics file \"%s\": %m", path);
	else
		file = map;
out:
	if (fd >= 0)
		close(fd);
	return file;
}

void
stats_close(const struct stats_file **file_ptr)
{
	/* munmap takes no const. */
	union { const struct stats_file *file; void *map; } mapped = { *file_ptr };

	if (mapped.file == NULL)
		return;
	*file_ptr = NULL;
	munmap(mapped.map, file_size(mapped.file->page_count));
}
