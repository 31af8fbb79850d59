/*
 * program_config.c - the first step of the programs that have a configuration. Apart from program.c, because a slot has none.
 */
#include "common/program.h"

struct config *
program_config(const char *file)
{
	struct buf errors = BUF_INIT;
	struct config *config;

	if (config_load(file, &config, &errors) < 0)
		fwrite(errors.data, 1, errors.len, stderr);
	buf_release(&errors);
	return config;
}
