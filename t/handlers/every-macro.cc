/* every-macro.cc - see every-macro.h. */
#include "every-macro.h"

PAWL_HANDLER(.name = "every", .version = "1.0", .kind = PAWL_EFFECTS, .start = start, .handle = handle, .stop = stop);
