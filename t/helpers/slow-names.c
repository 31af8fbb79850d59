/*
 * slow-names.c - for LD_PRELOAD: a name server that does not answer for hosts whose names begin
 * with "slow".
 */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int	getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **)
    __attribute__((visibility("default")));

int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
    struct addrinfo **result)
{
	int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");

	while (host != NULL && strncmp(host, "slow", 4) == 0)
		(void)pause();
	memcpy(&next, &symbol, sizeof(next));
	return next(host, service, hints, result);
}
