/*
 * random.c - see random.h. Ends the process only where the kernel has no getrandom(2).
 */
#include "util/random.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <sysexits.h>

#include "util/log.h"

static _Thread_local struct { uint64_t s[4]; unsigned era; } generator;
static _Atomic unsigned current_era = 1;	/* a generator of another era must be seeded */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
start_era(void)
{
	atomic_fetch_add_explicit(&current_era, 1, memory_order_relaxed);
}

static void
watch_forks(void)
{
	if (pthread_atfork(NULL, NULL, start_era) != 0)
		log_fatal(EX_OSERR, "could not register a fork handler: out of memory");
}

void
random_secret(void *out, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = getrandom((char *)out + at, size - at, 0);

		if (n > 0)
			at += (size_t)n;
		else if (errno != EINTR)
			log_fatal(EX_OSERR, "could not get random bytes: %m");
	}
}

static inline uint64_t
rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

/* xoshiro256** by David Blackman and Sebastiano Vigna (public domain), https://prng.di.unimi.it/ */
uint64_t
random_u64(void)
{
	uint64_t *s = generator.s;
	unsigned era = atomic_load_explicit(&current_era, memory_order_relaxed);

	if (generator.era != era) {
		pthread_once(&once, watch_forks);
		do
			random_secret(s, sizeof(generator.s));
		while ((s[0] | s[1] | s[2] | s[3]) == 0);
		generator.era = era;
	}

	uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

int64_t
random_below(int64_t bound)
{
	assert(bound > 0);
	/* Multiply and shift (Lemire); the bias is below bound / 2^64. */
	return (int64_t)(((unsigned __int128)random_u64() * (uint64_t)bound) >> 64);
}
