/* notify.h - tells systemd (NOTIFY_SOCKET) how we are. Silent where there is no systemd. */
#ifndef PAWL_UTIL_NOTIFY_H
#define PAWL_UTIL_NOTIFY_H
#include "util/attr.h"
void	notify_systemd(const char *fmt, ...) ATTR_PRINTF(1, 2);	/* "READY=1", "STATUS=...", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=..." */
#endif
