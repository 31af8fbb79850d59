/* Unit tests of common/stats. */
#include "common/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/unit/tap.h"

static char dir[] = "/tmp/pawl-stats-XXXXXX", path[64], error[512];

static void
test_histogram(void)
{
	static const struct { int64_t us; int bucket; } cases[] = {
		{ -5, 0 }, { 0, 0 }, { 1, 0 }, { 64, 0 }, { 65, 1 }, { 128, 1 }, { 129, 2 }, { 256, 2 }, { 257, 3 },
		{ INT64_C(64) << 18, 18 }, { (INT64_C(64) << 18) + 1, 19 }, { INT64_C(64) << 19, 19 }, { (INT64_C(64) << 19) + 1, 19 }, { INT64_MAX / 2, 19 },
	};
	static struct stats_histogram histogram;
	uint64_t sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t before = histogram.bucket[cases[i].bucket];

		stats_observe(&histogram, cases[i].us);
		is_int(histogram.bucket[cases[i].bucket], before + 1, "%lld us are in bucket %d", (long long)cases[i].us, cases[i].bucket);
		sum += cases[i].us > 0 ? (uint64_t)cases[i].us : 0;
	}
	is_int(histogram.count, ARRAY_SIZE(cases), "all are counted");
	ok(histogram.sum_us == sum, "and summed up");
}

static void
test_pages(struct stats_file *file)
{
	struct stats_page *view = stats_page_take(file, STATS_PAGE_QUEUE, "view"), *same, *outbox;
	char name[STATS_NAME_MAX + 10];

	ok(view != NULL && view->kind == STATS_PAGE_QUEUE, "a page for a queue");
	is_str(view->name, "view", "with its name");
	same = stats_page_take(file, STATS_PAGE_QUEUE, "view");
	ok(same == view, "the next runner of the queue takes it over");
	outbox = stats_page_take(file, STATS_PAGE_OUTBOX, "view");
	ok(outbox != NULL && outbox != view, "an outbox of that name has its own");
	ok(stats_page_take(file, STATS_PAGE_QUEUE, "third") != NULL, "a third one");
	ok(stats_page_take(file, STATS_PAGE_QUEUE, "fourth") == NULL, "there is no fourth");

	struct stats_queue *queue = &view->queue;
	struct stats_handler *a = stats_handler_take(queue, "a"), *b = stats_handler_take(queue, "b"), *none = stats_handler_take(queue, "");

	ok(a != b && a != none && b != none && stats_handler_take(queue, "a") == a, "handlers have their places");
	ok(none == &queue->handlers[STATS_HANDLERS_MAX - 1], "the last one is for messages without a handler");
	for (int i = 2; i < STATS_HANDLERS_MAX - 1; i++) {
		snprintf(name, sizeof(name), "h%d", i);
		if (stats_handler_take(queue, name) == none)
			diag("no place for %s", name);
	}
	ok(stats_handler_take(queue, "h62") != none, "63 have a name");
	ok(stats_handler_take(queue, "more") == none, "more of them share the last one");
	ok(none->name[0] == '\0', "which has no name");
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	stats_add(&a->outcome[STATS_DONE], 2);
	stats_add(&a->outcome[STATS_DONE], 3);
	stats_set(&queue->in_flight, 17);
	is_int(a->outcome[STATS_DONE], 5, "counted");
}

static void
test_reader(void)
{
	const struct stats_file *file = stats_open(dir, "pawl-worker", "shop", error, sizeof(error));
	struct stat st;

	ok(file != NULL, "opened");
	if (file == NULL)
		return;
	is_int(file->page_count, 3, "pages");
	is_str(file->name, "shop", "name");
	is_str(file->program, "pawl-worker", "program");
	ok(file->version[0] != '\0' && file->started_ms > 0, "version and time");
	is_int(file->pid, getpid(), "pid");
	is_int(file->pages[0].queue.handlers[0].outcome[STATS_DONE], 5, "a counter");
	is_int(file->pages[0].queue.in_flight, 17, "a gauge");
	ok(stat(path, &st) == 0 && (st.st_mode & 07777) == 0644, "everybody may read the file");
	ok(st.st_blocks * 512 >= st.st_size, "it has all its blocks");
	stats_close(&file);
	ok(file == NULL, "closed");
	stats_close(&file);
}

/* Overwrites some bytes, or cuts the file, and expects a refusal that says why. */
static void
test_damage(off_t at, uint32_t value, off_t size, const char *what)
{
	const struct stats_file *opened;
	struct stats_file *file = stats_create(dir, "worker", "shop", 3, error, sizeof(error));
	int fd = open(path, O_RDWR);

	if (file == NULL || fd < 0) {
		ok(false, "cannot make the file for %s: %s", what, error);
		return;
	}
	if (at >= 0 && pwrite(fd, &value, sizeof(value), at) != sizeof(value))
		diag("pwrite: %s", strerror(errno));
	if (size >= 0 && ftruncate(fd, size) < 0)
		diag("ftruncate: %s", strerror(errno));
	close(fd);
	error[0] = '\0';
	opened = stats_open(dir, "worker", "shop", error, sizeof(error));
	ok(opened == NULL && strstr(error, what) != NULL, "refused: %s", what) || (diag("%s", error), 0);
	/* Its mapping is left alone: what it says of its size may be wrong now. */
}

static void
test_failures(void)
{
	char longer[5000], file[64];

	ok(stats_open(dir, "worker", "none", error, sizeof(error)) == NULL && strstr(error, "No such file") != NULL, "a file that is not there");
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	ok(stats_create(dir, "worker", longer, 1, error, sizeof(error)) == NULL && error[0] != '\0', "a name that is too long");
	ok(stats_create(dir, "worker", "a/b", 1, error, sizeof(error)) == NULL, "a name with a slash");
	ok(stats_create(dir, "worker", "", 1, error, sizeof(error)) == NULL, "no name");
	ok(stats_create("/nonexistent", "worker", "x", 1, error, sizeof(error)) == NULL && strstr(error, "/nonexistent/x.worker.stats") != NULL,
	    "a directory that is not there");
	ok(stats_create(dir, "worker", "x", UINT32_MAX, error, sizeof(error)) == NULL, "too many pages");

	snprintf(file, sizeof(file), "%s/fifo.worker.stats", dir);
	mkfifo(file, 0600);
	ok(stats_open(dir, "worker", "fifo", error, sizeof(error)) == NULL && strstr(error, "no statistics") != NULL, "a pipe, without waiting");
	unlink(file);
	snprintf(file, sizeof(file), "%s/dir.worker.stats", dir);
	mkdir(file, 0700);
	ok(stats_open(dir, "worker", "dir", error, sizeof(error)) == NULL && error[0] != '\0', "a directory");
	error[0] = '\0';
	ok(stats_create(dir, "worker", "dir", 1, error, sizeof(error)) == NULL && strstr(error, "could not rename") != NULL, "in the way of the new file");
	rmdir(file);
}

/* One process at a time has a name, for as long as it lives; what it leaves behind locks nobody out. */
static void
test_lock(void)
{
	static const char *const names[] = { "one.worker", "one.relay", "two.worker" };
	static const char *const children[] = {
		"a child has not its parent's lock", "and does not end it with its own end"
	};
	char said[128], byte = 0;
	int ready[2];
	pid_t pid;

	if (pipe(ready) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		byte = stats_lock(dir, "worker", "one", error, sizeof(error)) == 0;
		(void)!write(ready[1], &byte, 1);
		pause();
	}
	ok(read(ready[0], &byte, 1) == 1 && byte == 1, "a name is taken");
	snprintf(said, sizeof(said), "process %ld is pawl-worker \"one\" already", (long)pid);
	error[0] = '\0';
	ok(stats_lock(dir, "worker", "one", error, sizeof(error)) < 0 && strncmp(error, said, strlen(said)) == 0, "not by two") || (diag("%s", error), 0);
	ok(strstr(error, "one.worker.stats.lock\"): stop it, or give this one another name") != NULL, "where, and what to do") || (diag("%s", error), 0);
	ok(stats_lock(dir, "relay", "one", error, sizeof(error)) == 0, "another program may have it");
	ok(stats_lock(dir, "worker", "two", error, sizeof(error)) == 0, "another name is free");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ok(stats_lock(dir, "worker", "one", error, sizeof(error)) == 0, "a dead process's name is free again");
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		pid = fork();
		if (pid == 0) {
			byte = stats_lock(dir, "worker", "one", error, sizeof(error)) < 0;
			(void)!write(ready[1], &byte, 1);
			_exit(0);
		}
		ok(read(ready[0], &byte, 1) == 1 && byte == 1, "%s", children[i]);
		waitpid(pid, NULL, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(said, sizeof(said), "%s/%s.stats.lock", dir, names[i]);
		unlink(said);
	}
	ok(stats_lock("/nonexistent", "worker", "x", error, sizeof(error)) == 0, "where there can be no file, nobody is refused");
}

int
main(void)
{
	struct stats_file *file;
	const struct stats_file *old, *fresh;
	pid_t pid;
	bool good = true;

	umask(077);
	ok(mkdtemp(dir) != NULL, "a directory");
	snprintf(path, sizeof(path), "%s/shop.worker.stats", dir);
	test_histogram();
	file = stats_create(dir, "pawl-worker", "shop", 3, error, sizeof(error));
	ok(file != NULL, "created");
	if (file == NULL)
		return done_testing();
	test_pages(file);
	test_reader();

	/* What a forked child counts is seen here, also when it dies. */
	pid = fork();
	if (pid == 0) {
		stats_add(&stats_page_take(file, STATS_PAGE_QUEUE, "view")->queue.batches, 3);
		raise(SIGKILL);
	}
	waitpid(pid, NULL, 0);
	is_int(file->pages[0].queue.batches, 3, "counts survive the death of their writer");

	/* A new file does not disturb those who map the old one. */
	old = stats_open(dir, "pawl-worker", "shop", error, sizeof(error));
	struct stats_file *second = stats_create(dir, "worker", "shop", 2, error, sizeof(error));
	fresh = stats_open(dir, "worker", "shop", error, sizeof(error));
	ok(second != NULL && fresh != NULL && old != NULL, "created anew while somebody reads");
	if (fresh == NULL || old == NULL)
		return done_testing();
	ok(old->page_count == 3 && old->pages[0].queue.in_flight == 17, "the old one stays as it is");
	ok(fresh->page_count == 2 && fresh->pages[0].kind == STATS_PAGE_FREE, "the new one is new");
	stats_close(&old);
	stats_close(&fresh);
	fresh = second;
	stats_close(&fresh);
	old = file;
	stats_close(&old);

	test_damage(-1, 0, 0, "no statistics file");
	test_damage(-1, 0, 100, "no statistics file");
	test_damage(-1, 0, 20000, "damaged");
	test_damage(0, 12345, -1, "no statistics file");
	test_damage(offsetof(struct stats_file, layout), STATS_LAYOUT + 1, -1, "layout");
	test_damage(offsetof(struct stats_file, page_size), 8, -1, "layout");
	test_damage(offsetof(struct stats_file, page_count), 4, -1, "damaged");
	test_damage(offsetof(struct stats_file, page_count), UINT32_MAX, -1, "damaged");
	test_failures();
	test_lock();
	for (int i = 0; i < STATS_OUTCOMES; i++)
		good = good && strcmp(stats_outcome_text((enum stats_outcome)i), "unknown") != 0;
	ok(good, "each outcome has its text");
	unlink(path);
	ok(rmdir(dir) == 0, "no other file is left behind");
	return done_testing();
}
