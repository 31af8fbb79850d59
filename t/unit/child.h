/*
 * child.h - for unit tests: runs a function in a child process and keeps what it wrote on stderr.
 */
#ifndef PAWL_T_UNIT_CHILD_H
#define PAWL_T_UNIT_CHILD_H
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct child { int status; int writes; char text[64 * 1024]; };

/* Each write(2) on stderr is one record of the socket, so that they can be counted. The child exits 0 if fn returns. */
__attribute__((unused)) static void
child_run(struct child *child, void (*fn)(void *), void *arg)
{
	int pair[2];
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	fflush(stdout);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || (pid = fork()) < 0) {
		perror("child_run");
		exit(1);
	}
	if (pid == 0) {
		dup2(pair[1], STDERR_FILENO);
		close(pair[0]);
		close(pair[1]);
		fn(arg);
		_exit(0);
	}
	close(pair[1]);
	child->writes = 0;
	while ((n = read(pair[0], child->text + len, sizeof(child->text) - 1 - len)) > 0) {
		len += (size_t)n;
		child->writes++;
	}
	child->text[len] = '\0';
	close(pair[0]);
	waitpid(pid, &child->status, 0);
}

/* Its exit status, or -1 if it was killed. */
__attribute__((unused)) static int
child_exit(const struct child *child)
{
	return WIFEXITED(child->status) ? WEXITSTATUS(child->status) : -1;
}
#endif
