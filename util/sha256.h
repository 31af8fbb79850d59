/*
 * sha256.h - SHA-256 (FIPS 180-4), for names of bounded length made from data of any length.
 */
#ifndef PAWL_UTIL_SHA256_H
#define PAWL_UTIL_SHA256_H
#include "util/attr.h"

enum { SHA256_HEX_SIZE = 65 };	/* 64 lower-case digits and a NUL */
void	sha256_hex(const void *data, size_t size, char hex[SHA256_HEX_SIZE]);
#endif
