/*
 * config_keys.h - the one table of all configuration keys: type, default, range, what the manual says. config_read reads by it,
 * `pawlctl check --list-keys` prints it, the tests compare manual and sample with it.
 *
 * A path is what leads to a key, with "*" for a name that the user chooses and "[]" for an element of a list:
 * "queues.*.bind.[].exchange". The keys of a queue are the keys of `defaults` too, but for those with KEY_QUEUE_ONLY.
 */
#ifndef PAWL_COMMON_CONFIG_KEYS_H
#define PAWL_COMMON_CONFIG_KEYS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "util/attr.h"

enum key_type {
	KEY_TEXT,		/* const char * */
	KEY_WORD,		/* an enum; its values in the order of 'words' */
	KEY_BOOL,		/* bool */
	KEY_INT,		/* unsigned */
	KEY_DURATION,		/* "30s": int64_t, milliseconds */
	KEY_SIZE,		/* "64MiB": int64_t, bytes */
	KEY_TEXTS,		/* list of texts, or one: const char *const *, size_t */
	KEY_DURATIONS,		/* list of durations: const int64_t *, size_t */
	KEY_GROUP,		/* keys of their own, in the same struct */
	KEY_GROUPS,		/* groups with names of the user's: pointer to structs, size_t */
	KEY_GROUP_LIST,		/* a list of groups without names: pointer to structs, size_t */
	KEY_FREE		/* anything: it belongs to a handler; struct config_pair *, size_t */
};
enum key_flag {
	KEY_REQUIRED = 1,
	KEY_EXPAND = 2,		/* ${NAME} stands for an environment variable */
	KEY_SECRET = 4,		/* the value is never repeated in a message */
	KEY_NONE = 8,		/* "none" is 0 */
	KEY_QUEUE_ONLY = 16,	/* not in `defaults` */
	KEY_EMPTY = 32		/* an empty text is good */
};
/* true: good. Else why not, to follow "PATH: ", is in error. */
typedef bool key_check_fn(const char *text, char *error, size_t error_size);

struct config_key {
	const char *path;
	enum key_type type;
	unsigned flags;
	const char *fallback;		/* as in a file, without quotes; NULL: none, the struct keeps 0 */
	int64_t min, max;		/* INT, DURATION (ms), SIZE (bytes); TEXT: longest in bytes; lists: most elements */
	const char *words;		/* WORD: "postgres none" */
	const char *later;		/* WORD: values that a later version will know; said so in the error */
	key_check_fn *check;		/* TEXT, each of TEXTS */
	size_t offset, count_offset;	/* in the section's struct */
	size_t size;			/* of a struct of GROUPS and GROUP_LIST */
	const char *shown;		/* the default in words where 'fallback' cannot say it */
	const char *manual;		/* what it is, one line */
};
extern const struct config_key config_keys[];
extern const size_t config_keys_count;

/* section: "" for the top, "queues.*", "queues.*.retry". NULL: no such key. */
const struct config_key *config_keys_find(const char *section, const char *name) ATTR_NONNULL;
/* Is it a key directly in this section? Its own name, or NULL. */
const char *config_keys_name(const struct config_key *, const char *section) ATTR_NONNULL;
/* The key of the section that the user may have meant; NULL: nothing is near. */
const char *config_keys_nearest(const char *section, const char *name) ATTR_NONNULL;
const char *key_type_text(enum key_type);	/* "a text in quotes", "a duration in quotes, such as \"30s\"" */

/* What a value may be: "1 to 64", "postgres, none", "" for any. In the arena. */
struct arena;
const char *config_keys_allowed(const struct config_key *, struct arena *) ATTR_NONNULL;

/* Names that the user chooses, of queues, handlers, outboxes and the installation: [A-Za-z0-9_.-]{1,63}. */
bool	config_name_check(const char *text, char *error, size_t error_size) ATTR_NONNULL;
#endif
