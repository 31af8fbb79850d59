/*
 * http_secret.c - see http_secret.h.
 */
#include "http_secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHORTEST_MASKED = 4 };	/* of shorter ones half of any text would be asterisks */

/* Takes the header. */
static int
add(const struct pawl_config *cfg, struct http_config *c, struct http_text *header,
    const char *bare)
{
	struct http_secret *larger = realloc(c->secrets, (c->secret_count + 1) * sizeof(*larger));

	if (larger != NULL)
		c->secrets = larger;
	if (larger == NULL || header->failed || header->data == NULL) {
		http_text_release(header);
		return pawl_config_error(cfg, NULL, "out of memory");
	}
	larger[c->secret_count++] = (struct http_secret){ header->data, bare };
	return 0;
}

static int
read_secret(const struct pawl_config *cfg, const char *path, const char **secret)
{
	*secret = pawl_config_secret(cfg, path);
	if (*secret == NULL || http_is_header_value(*secret))
		return 0;
	*secret = NULL;
	return pawl_config_error(
	    cfg, path, "the file has a control character in it: it must hold one line");
}

static int
read_header_file(const struct pawl_config *cfg, const char *name, struct http_config *c)
{
	const char *objection = http_header_objection(name, true), *secret;
	struct http_text header = { 0 };
	char path[256];

	(void)snprintf(path, sizeof(path), "header_files.%s", name);
	if (read_secret(cfg, path, &secret) != 0)
		return -1;
	if (objection != NULL)
		return pawl_config_error(cfg, path, "%s", objection);
	if (http_config_has_header(c, name))
		return pawl_config_error(cfg, path, "is set twice");
	if (secret == NULL)
		return -1;	/* it was told why */
	http_text_puts(&header, name);
	http_text_puts(&header, ": ");
	http_text_puts(&header, secret);
	return add(cfg, c, &header, secret);
}

static int
read_bearer(const struct pawl_config *cfg, struct http_config *c)
{
	struct http_text header = { 0 };
	const char *secret;

	if (read_secret(cfg, "bearer_file", &secret) != 0 || secret == NULL)
		return 0;
	http_text_puts(&header, "Authorization: Bearer ");
	http_text_puts(&header, secret);
	return add(cfg, c, &header, secret);
}

static int
read_password(const struct pawl_config *cfg, struct http_config *c)
{
	const char *user = pawl_config_string(cfg, "user", NULL), *password;
	struct http_text header = { 0 }, pair = { 0 };
	bool named = pawl_config_string(cfg, "password_file", NULL) != NULL;

	if ((user != NULL) != named)
		return pawl_config_error(cfg, user == NULL ? "user" : "password_file",
		    "is missing: user and password_file belong together");
	if (user == NULL || read_secret(cfg, "password_file", &password) != 0 || password == NULL)
		return 0;
	if (strchr(user, ':') != NULL)
		return pawl_config_error(cfg, "user", "cannot have a colon");
	http_text_puts(&pair, user);
	http_text_puts(&pair, ":");
	http_text_puts(&pair, password);
	http_text_puts(&header, "Authorization: Basic ");
	http_text_base64(&header, http_text_string(&pair), pair.len);
	header.failed = header.failed || pair.failed;
	http_text_release(&pair);
	return add(cfg, c, &header, password);
}

int
http_secret_read(const struct pawl_config *cfg, struct http_config *c)
{
	int status = 0;
	const char *name;

	status |= read_bearer(cfg, c);
	if (http_config_has_header(c, "Authorization") &&
	    pawl_config_string(cfg, "user", NULL) != NULL)
		status |= pawl_config_error(
		    cfg, "user", "bearer_file is set as well; only one of the two can be");
	status |= read_password(cfg, c);
	for (int i = 0; (name = pawl_config_member(cfg, "header_files", i)) != NULL; i++)
		status |= read_header_file(cfg, name, c);
	return status;
}

void
http_secret_release(struct http_config *c)
{
	for (size_t i = 0; i < c->secret_count; i++)
		free(c->secrets[i].header);
	free(c->secrets);
}

int
http_secret_check_file(
    const struct pawl_config *cfg, const char *path, const char *name, bool private)
{
	struct stat st;

	if (name == NULL)
		return 0;
	if (stat(name, &st) != 0 || access(name, R_OK) != 0)
		return pawl_config_error(
		    cfg, path, "could not read \"%s\": %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return pawl_config_error(cfg, path, "\"%s\" is not a regular file", name);
	if (private && (st.st_mode & S_IROTH) != 0)
		return pawl_config_error(cfg, path,
		    "\"%s\" can be read by everybody on this machine; run: chmod o= '%s'", name,
		    name);
	return 0;
}

static void
mask(char *text, const char *secret)
{
	size_t len = strlen(secret);

	if (len < SHORTEST_MASKED)
		return;
	for (char *at = text; (at = strstr(at, secret)) != NULL; at += len)
		memset(at, '*', len);
}

void
http_secret_mask(const struct http_config *c, char *text)
{
	for (size_t i = 0; i < c->secret_count; i++) {
		const char *value = strchr(c->secrets[i].header, ':') + 2;
		const char *space = strchr(value, ' ');

		mask(text, c->secrets[i].bare);
		mask(text, value);
		if (space != NULL)
			mask(text, space + 1);	/* of Basic: user and password, encoded */
	}
}
