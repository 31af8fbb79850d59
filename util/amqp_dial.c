/*
 * amqp_dial.c - makes a broker connection, in a thread of its own: name, TCP, TLS, login, the
 * owner's declarations.
 *
 * All of that blocks, and rabbitmq-c offers nothing else. The thread sees only copies in the dial's
 * arena, so whoever waits for it may go away: the last of the two frees the dial. It logs nothing
 * and touches no loop; its end is a readable eventfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>
#include "util/amqp_conn_internal.h"
#include "util/clock.h"
#include "util/log.h"

enum {
	/* A hostile header table is decoded recursively, up to 26,000 deep, in 3 MiB (facts row
	 * 18). */
	STACK_BYTES = 16 * 1024 * 1024,
	LOGIN_TIMEOUT_S = 12,		/* the broker gives up after 10 */
	GIVE_UP_WAIT_MS = 200,
	FRAME_MAX_LEAST = 4096
};

struct amqp_dial {
	struct arena arena;		/* the copies */
	struct amqp_uri uri;
	const char *password, *ca_file, *cert_file, *key_file, *name, *product, *version;
	int heartbeat_s;
	int64_t connect_timeout_ms, rpc_timeout_ms;
	struct amqp_target target;
	amqp_setup_fn *setup;
	void *prepared;
	int done_fd;
	pthread_t thread;
	pthread_mutex_t lock;		/* for what follows */
	int holders;			/* the thread, and who waits */
	bool given_up;
	/* our descriptor of the socket: valid whatever the library does to its own. -1: none yet */
	int fd;
	amqp_connection_state_t library;	/* the result; NULL: error */
	struct amqp_error error;
};

static void
dial_drop(struct amqp_dial *dial)
{
	bool last;

	(void)pthread_mutex_lock(&dial->lock);
	last = --dial->holders == 0;
	(void)pthread_mutex_unlock(&dial->lock);
	if (!last)
		return;
	if (dial->library != NULL)
		(void)amqp_destroy_connection(dial->library);
	if (dial->fd >= 0)
		(void)close(dial->fd);
	(void)close(dial->done_fd);
	(void)pthread_mutex_destroy(&dial->lock);
	explicit_bzero(dial->uri.password, strlen(dial->uri.password));
	arena_release(&dial->arena);
	free(dial);
}

static const char *
copy_text(struct arena *arena, const char *text)
{
	return text == NULL ? NULL : arena_strdup(arena, text);
}

struct amqp_dial *
amqp_dial_new(const struct amqp_conn_options *options, const struct amqp_uri *uri)
{
	struct amqp_dial *dial = xcalloc(1, sizeof(*dial));
	struct arena *arena = &dial->arena;
	const char *password = options->password != NULL ? options->password : uri->password;

	if (password == NULL)
		password = strcmp(uri->user, "guest") == 0 ? "guest" : "";
	dial->uri.host = arena_strdup(arena, uri->host);
	dial->uri.port = uri->port;
	dial->uri.user = arena_strdup(arena, uri->user);
	dial->uri.password = arena_strdup(arena, password);
	dial->uri.vhost = arena_strdup(arena, uri->vhost);
	dial->uri.tls = uri->tls;
	dial->target = (struct amqp_target){ dial->uri.host, dial->uri.port, dial->uri.user };
	dial->ca_file = copy_text(arena, options->ca_file);
	dial->cert_file = copy_text(arena, options->cert_file);
	dial->key_file = copy_text(arena, options->key_file);
	dial->name = copy_text(arena, options->name);
	dial->product = copy_text(arena, options->product);
	dial->version = copy_text(arena, options->version);
	dial->heartbeat_s = options->heartbeat_s;
	dial->connect_timeout_ms = options->connect_timeout_ms;
	dial->rpc_timeout_ms = options->rpc_timeout_ms;
	dial->fd = -1;
	dial->holders = 1;
	(void)pthread_mutex_init(&dial->lock, NULL);
	dial->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dial->done_fd < 0)
		log_fatal(EX_OSERR, "could not create an eventfd: %m");
	return dial;
}

struct arena *
amqp_dial_arena(struct amqp_dial *dial)
{
	return &dial->arena;
}

int
amqp_dial_fd(const struct amqp_dial *dial)
{
	return dial->done_fd;
}

/* From here on amqp_dial_give_up() can end what the thread waits for. -1: it was already given
 * up. Takes the descriptor. */
static int
dial_publish_fd(struct amqp_dial *dial, int fd)
{
	bool given_up;

	(void)pthread_mutex_lock(&dial->lock);
	dial->fd = fd;
	given_up = dial->given_up;
	(void)pthread_mutex_unlock(&dial->lock);
	return given_up ? -1 : 0;
}

static void
dial_error(struct amqp_dial *dial, const char *what, const char *reason)
{
	amqp_error_set(&dial->error, 0, "could not %s %s:%d: %s", what, dial->uri.host,
	    dial->uri.port, reason);
	dial->error.connection = true;
}

/* Ends with the socket connected, or *reason. */
static int
connect_address(const struct addrinfo *address, int64_t timeout_ms, const char **reason)
{
	struct pollfd poll_fd = { .events = POLLOUT };
	socklen_t size = sizeof(int);
	int fd, failure = 0, ready;

	fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    address->ai_protocol);
	if (fd < 0) {
		*reason = strerror(errno);
		return -1;
	}
	if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
		return fd;
	if (errno != EINPROGRESS && errno != EINTR) {
		*reason = strerror(errno);
		goto bad;
	}
	poll_fd.fd = fd;
	do {
		/* all signals are blocked in this thread: EINTR is rare, the deadline is soft */
		ready = poll(&poll_fd, 1, (int)timeout_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready <= 0) {
		*reason = ready == 0 ? "no answer" : strerror(errno);
		goto bad;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
		failure = errno;
	if (failure != 0) {
		*reason = strerror(failure);
		goto bad;
	}
	return fd;
bad:
	(void)close(fd);
	return -1;
}

/* Each address gets its share of the time: a black hole in front does not eat it all (facts row
 * 31). */
static int
connect_host(struct amqp_dial *dial, const char **reason)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV
	};
	struct addrinfo *list = NULL;
	int64_t left_ms = dial->connect_timeout_ms;
	int count = 0, fd = -1, status;
	char port[8];

	(void)snprintf(port, sizeof(port), "%d", dial->uri.port);
	status = getaddrinfo(dial->uri.host, port, &hints, &list);
	if (status != 0) {
		*reason = status == EAI_SYSTEM ? strerror(errno) : gai_strerror(status);
		return -1;
	}
	for (const struct addrinfo *a = list; a != NULL; a = a->ai_next)
		count++;
	for (const struct addrinfo *a = list; a != NULL && fd < 0 && left_ms > 0;
	     a = a->ai_next, count--) {
		struct clock_mono start = clock_mono_now();

		fd = connect_address(a, left_ms / count, reason);
		left_ms -= clock_ms_between(start, clock_mono_now());
	}
	freeaddrinfo(list);
	return fd;
}

static int
dial_plain(struct amqp_dial *dial)
{
	const char *reason = "no address";
	amqp_socket_t *socket_object;
	int fd = connect_host(dial, &reason);

	if (fd < 0) {
		dial_error(dial, "connect to", reason);
		return -1;
	}
	socket_object = amqp_tcp_socket_new(dial->library);
	if (socket_object == NULL) {
		(void)close(fd);
		dial_error(dial, "connect to", "out of memory");
		return -1;
	}
	amqp_tcp_socket_set_sockfd(socket_object, fd);
	return 0;
}

/* 0.11 has no default: every chain fails unless a file of CAs is named (facts row 33). */
static int
use_system_cas(amqp_socket_t *socket_object)
{
#if AMQP_VERSION >= AMQP_VERSION_CODE(0, 14, 0, 0)
	return amqp_ssl_socket_enable_default_verify_paths(socket_object);
#else
	static const char *const bundles[] = {
		"/etc/ssl/certs/ca-certificates.crt",	/* Debian */
		"/etc/pki/tls/certs/ca-bundle.crt",	/* Fedora */
		"/etc/ssl/cert.pem"
	};
	const char *chosen = getenv("SSL_CERT_FILE");

	for (size_t i = 0; chosen == NULL && i < ARRAY_SIZE(bundles); i++) {
		if (access(bundles[i], R_OK) == 0)
			chosen = bundles[i];
	}
	if (chosen == NULL)
		return AMQP_STATUS_SSL_ERROR;
	return amqp_ssl_socket_set_cacert(socket_object, chosen);
#endif
}

static void
tls_error(struct amqp_dial *dial, int status)
{
	const char *reason = amqp_error_string2(status), *network = NULL;
	int fd;

	switch (status) {
	case AMQP_STATUS_SSL_PEER_VERIFY_FAILED:
		reason = "the certificate is not trusted: check ca_file";
		break;
	case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED:
		reason = "the certificate is not for this host name (names only, addresses do not count)";
		break;
	case AMQP_STATUS_SSL_CONNECTION_FAILED:
		reason =
		    "the TLS handshake failed: is this a TLS port, is the certificate trusted?";
		break;
	case AMQP_STATUS_TIMEOUT:
		reason = "no answer";
		break;
	/* the library forgets errno: ask again, with a bare connection */
	case AMQP_STATUS_SOCKET_ERROR:
	case AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED:
		fd = connect_host(dial, &network);
		if (fd >= 0)
			(void)close(fd);
		if (network != NULL)
			reason = network;
		break;
	default:
		break;
	}
	dial_error(dial, "connect to", reason);
	dial->error.configuration = status == AMQP_STATUS_SSL_PEER_VERIFY_FAILED ||
	    status == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED;
}

static int
dial_tls(struct amqp_dial *dial)
{
	struct timeval timeout = { dial->connect_timeout_ms / 1000,
		dial->connect_timeout_ms % 1000 * 1000 };
	amqp_socket_t *socket_object = amqp_ssl_socket_new(dial->library);
	const char *what = NULL;
	int status;

	if (socket_object == NULL) {
		dial_error(dial, "connect to", "could not set up TLS");
		return -1;
	}
	amqp_ssl_socket_set_verify_peer(socket_object, 1);
	amqp_ssl_socket_set_verify_hostname(socket_object, 1);
	if (amqp_ssl_socket_set_ssl_versions(socket_object, AMQP_TLSv1_2, AMQP_TLSvLATEST) !=
	    AMQP_STATUS_OK)
		what = "TLS 1.2 is not available";
	else if (dial->ca_file != NULL &&
	    amqp_ssl_socket_set_cacert(socket_object, dial->ca_file) != AMQP_STATUS_OK)
		what = "ca_file cannot be used: is it readable, is it PEM?";
	else if (dial->ca_file == NULL && use_system_cas(socket_object) != AMQP_STATUS_OK)
		what = "the system's CA certificates were not found: set ca_file";
	/* an encrypted key fails, instead of asking on the terminal */
	amqp_ssl_socket_set_key_passwd(socket_object, "");
	if (what == NULL && dial->cert_file != NULL && dial->key_file != NULL &&
	    amqp_ssl_socket_set_key(socket_object, dial->cert_file, dial->key_file) !=
		AMQP_STATUS_OK)
		what = "cert_file or key_file cannot be used: are they readable, PEM, not encrypted, and do they belong together?";
	if (what != NULL) {
		dial_error(dial, "connect to", what);
		dial->error.configuration = true;
		return -1;
	}
	status = amqp_socket_open_noblock(socket_object, dial->uri.host, dial->uri.port, &timeout);
	if (status != AMQP_STATUS_OK) {
		tls_error(dial, status);
		return -1;
	}
	return 0;
}

/* Heartbeats find a dead peer while we read. TCP_USER_TIMEOUT ends a send that waits for one:
 * rabbitmq-c itself would wait for ever. */
static void
tune_socket(int fd, int heartbeat_s)
{
	int on = 1, idle_s = 2 * heartbeat_s, timeout_ms = 2 * heartbeat_s * 1000;
	int buffer_bytes = 0, wanted_bytes = 4 * AMQP_FRAME_MAX;
	socklen_t size = sizeof(buffer_bytes);

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));

	/* A frame must fit into what a writable socket has free (amqp_conn_room). The kernel doubles
	 * the number, and gives at least 416 KiB where its limit is the usual one. */
	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, &size) == 0 &&
	    buffer_bytes < 2 * wanted_bytes)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted_bytes, sizeof(wanted_bytes));
}

static void
login_error(struct amqp_dial *dial, amqp_rpc_reply_t reply)
{
	int status = AMQP_STATUS_OK;

	if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
		status = reply.library_error;
	amqp_error_reply(&dial->error, &dial->target, reply, "log in as user \"%s\"", dial->uri.user);
	if (dial->error.code == AMQP_ACCESS_REFUSED) {
		amqp_error_set(&dial->error, AMQP_ACCESS_REFUSED,
		    "could not log in at %s:%d: access refused for user \"%s\": check user name, password, and from where this user may log in",
		    dial->uri.host, dial->uri.port, dial->uri.user);
	} else if (dial->error.code == AMQP_NOT_ALLOWED) {
		amqp_error_set(&dial->error, AMQP_NOT_ALLOWED,
		    "could not open vhost \"%s\" at %s:%d as user \"%s\": it does not exist, or the user has no permission on it",
		    dial->uri.vhost, dial->uri.host, dial->uri.port, dial->uri.user);
	} else if (status == AMQP_STATUS_BROKER_UNSUPPORTED_SASL_METHOD) {
		amqp_error_set(&dial->error, 0,
		    "could not log in at %s:%d: the broker does not offer PLAIN: check its auth_mechanisms",
		    dial->uri.host, dial->uri.port);
	} else if (status == AMQP_STATUS_TIMEOUT) {
		amqp_error_set(&dial->error, 0,
		    "could not log in at %s:%d: no answer: is this an AMQP port, without TLS?",
		    dial->uri.host, dial->uri.port);
	} else {
		return;
	}
	dial->error.connection = true;
	dial->error.configuration = status != AMQP_STATUS_TIMEOUT;
}

static amqp_table_entry_t
text_entry(const char *key, const char *text)
{
	amqp_table_entry_t entry = { .key = amqp_cstring_bytes(key) };

	entry.value.kind = AMQP_FIELD_KIND_UTF8;
	entry.value.value.bytes = amqp_cstring_bytes(text);
	return entry;
}

static int
dial_login(struct amqp_dial *dial)
{
	static const char *const abilities[] = {
		"consumer_cancel_notify", "connection.blocked", "publisher_confirms", "basic.nack",
		"authentication_failure_close"
	};
	amqp_table_entry_t capabilities[ARRAY_SIZE(abilities)], properties[4];
	amqp_table_t table = { .num_entries = 0, .entries = properties };
	amqp_rpc_reply_t reply;

	for (size_t i = 0; i < ARRAY_SIZE(abilities); i++) {
		capabilities[i].key = amqp_cstring_bytes(abilities[i]);
		capabilities[i].value.kind = AMQP_FIELD_KIND_BOOLEAN;
		capabilities[i].value.value.boolean = 1;
	}
	properties[table.num_entries].key = amqp_cstring_bytes("capabilities");
	properties[table.num_entries].value.kind = AMQP_FIELD_KIND_TABLE;
	properties[table.num_entries++].value.value.table =
	    (amqp_table_t){ ARRAY_SIZE(capabilities), capabilities };
	if (dial->name != NULL)
		properties[table.num_entries++] = text_entry("connection_name", dial->name);
	if (dial->product != NULL)
		properties[table.num_entries++] = text_entry("product", dial->product);
	if (dial->version != NULL)
		properties[table.num_entries++] = text_entry("version", dial->version);
	reply = amqp_login_with_properties(dial->library, dial->uri.vhost, 0, AMQP_FRAME_MAX,
	    dial->heartbeat_s, &table, AMQP_SASL_METHOD_PLAIN, dial->uri.user, dial->uri.password);
	if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
		login_error(dial, reply);
		return -1;
	}
	if (amqp_get_frame_max(dial->library) < FRAME_MAX_LEAST) {
		dial_error(dial, "log in at",
		    "the broker wants frames smaller than AMQP allows: check its frame_max");
		return -1;
	}
	return 0;
}

static int
dial_all(struct amqp_dial *dial)
{
	struct timeval login_timeout = { LOGIN_TIMEOUT_S, 0 };
	struct timeval rpc_timeout = { dial->rpc_timeout_ms / 1000,
		dial->rpc_timeout_ms % 1000 * 1000 };
	int fd;

	dial->library = amqp_new_connection();
	if (dial->library == NULL) {
		dial_error(dial, "connect to", "out of memory");
		return -1;
	}
	if ((dial->uri.tls ? dial_tls(dial) : dial_plain(dial)) != 0)
		return -1;
	fd = fcntl(amqp_get_sockfd(dial->library), F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		dial_error(dial, "connect to", strerror(errno));
		return -1;
	}
	tune_socket(fd, dial->heartbeat_s);
	(void)amqp_set_handshake_timeout(dial->library, &login_timeout);
	(void)amqp_set_rpc_timeout(dial->library, &rpc_timeout);
	if (dial_publish_fd(dial, fd) != 0)
		return -1;
	if (dial_login(dial) != 0)
		return -1;
	if (dial->setup == NULL)
		return 0;
	return dial->setup(dial->prepared, dial->library, &dial->target, &dial->error);
}

static void *
dial_main(void *arg)
{
	struct amqp_dial *dial = arg;
	uint64_t one = 1;

	if (dial_all(dial) != 0 && dial->library != NULL) {
		(void)amqp_destroy_connection(dial->library);
		dial->library = NULL;
	}
	if (write(dial->done_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		/* cannot happen to an eventfd that is 0, and who waits would wait for ever */
		abort();
	dial_drop(dial);
	return NULL;
}

void
amqp_dial_start(struct amqp_dial *dial, amqp_setup_fn *setup, void *prepared)
{
	sigset_t all, former;
	pthread_attr_t attr;
	int failure;

	dial->setup = setup;
	dial->prepared = prepared;
	dial->holders = 2;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &former);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	failure = pthread_create(&dial->thread, &attr, dial_main, dial);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &former, NULL);
	if (failure != 0)
		log_fatal(EX_OSERR, "could not start a thread to connect to the broker: %s",
		    strerror(failure));
}

amqp_connection_state_t
amqp_dial_finish(struct amqp_dial **dial_p, int *fd, struct amqp_error *error)
{
	struct amqp_dial *dial = *dial_p;
	amqp_connection_state_t library;

	*dial_p = NULL;
	/* it has said that it is done: it is on its way out */
	(void)pthread_join(dial->thread, NULL);
	(void)pthread_mutex_lock(&dial->lock);
	library = dial->library;
	dial->library = NULL;
	*fd = -1;
	if (library != NULL) {
		*fd = dial->fd;
		dial->fd = -1;
	} else {
		*error = dial->error;
	}
	(void)pthread_mutex_unlock(&dial->lock);
	dial_drop(dial);
	return library;
}

void
amqp_dial_give_up(struct amqp_dial **dial_p)
{
	struct amqp_dial *dial = *dial_p;
	struct pollfd done = { .events = POLLIN };

	if (dial == NULL)
		return;
	*dial_p = NULL;
	(void)pthread_mutex_lock(&dial->lock);
	dial->given_up = true;
	if (dial->fd >= 0)
		(void)shutdown(dial->fd, SHUT_RDWR);
	(void)pthread_mutex_unlock(&dial->lock);
	/* It is usually over at once. A thread that is still in TLS when the process exits would
	 * meet a torn-down OpenSSL. */
	done.fd = dial->done_fd;
	if (poll(&done, 1, GIVE_UP_WAIT_MS) == 1)
		(void)pthread_join(dial->thread, NULL);
	else
		(void)pthread_detach(dial->thread);
	dial_drop(dial);
}
