#!/usr/bin/perl
# What make install gives to those who write handlers: pkg-config and the Automake macro build one against the installed files alone.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Install;
use Pawl::Slot;

my $build = Pawl::Program::build_dir();
my $install = Pawl::Install->new;
my $root = $install->root;
my $m4_dir = $install->dir_of('pawl.m4');
my %pkg = $install->pkg_config;
sub pkg_config { local %ENV = (%ENV, %pkg); my $out = `pkg-config @_ pawl 2>&1`; chomp $out; return $out =~ s/\s+$//r }

my ($version) = read_file("$build/config.h") =~ /PACKAGE_VERSION "(.*)"/;
is(pkg_config('--modversion'), $version, 'its version');
is(pkg_config('--variable=abi_major') . '.' . pkg_config('--variable=abi_minor'), '1.0', 'the ABI, as the header has it');
my $handlers = $install->find('handlers', 'd');
like($handlers, qr/\Q@{[ pkg_config('--variable=handlerdir') =~ s{^\Q$root\E}{}r ]}\E$/, 'handlerdir is where ours are');

my $source = <<'END';
#include <pawl/handler.h>

static enum pawl_verdict
handle(void *self, struct pawl_call *call, const struct pawl_message *msg)
{
	(void)self;
	PAWL_SQL(call, "insert into effects (key, total) values ($1, $2)", msg->key, pawl_field(call, "/total"));
	return PAWL_DONE;
}

PAWL_HANDLER(.name = "own", .version = "1.0", .handle = handle);
END
# Some versions of pkg-config put the root before every variable, some only before flags.
my $destdir = pkg_config('--variable=handlerdir') =~ /^\Q$root\E/ ? '' : $root;
my $plain = write_file('own.c', $source);
my $cflags = pkg_config('--cflags');
is(`cc -shared -fPIC $cflags -o @{[ tmp_dir() ]}/own.so $plain 2>&1`, '', 'the compiler and pkg-config are enough');

# With Automake.
mkdir(tmp_dir() . '/package');
my %file = ('configure.ac' => <<'END', 'Makefile.am' => <<'END', 'own.c' => $source);
AC_INIT([own], [1.0])
AM_INIT_AUTOMAKE([foreign])
AC_PROG_CC
m4_ifdef([AM_PROG_AR], [AM_PROG_AR])
LT_INIT([disable-static])
PAWL_HANDLER
AC_CONFIG_FILES([Makefile])
AC_OUTPUT
END
pawlhandler_LTLIBRARIES = own.la
own_la_SOURCES = own.c
own_la_CFLAGS = $(PAWL_CFLAGS)
own_la_LDFLAGS = $(PAWL_HANDLER_LDFLAGS)
END
my $package = tmp_dir() . '/package';
write_file("$package/$_", $file{$_}) for keys %file;
{
	local %ENV = (%ENV, %pkg, ACLOCAL_PATH => $m4_dir);
	my $log = `cd $package && autoreconf -i 2>&1 && ./configure --quiet 2>&1 && make -s 2>&1 && make -s install DESTDIR=$destdir 2>&1`;
	is($?, 0, 'PAWL_HANDLER configures and builds a handler') or diag($log);
	(my $other = read_file("$package/configure.ac")) =~ s/PAWL_HANDLER/PAWL_HANDLER([7])/;
	write_file("$package/configure.ac", $other);
	$log = `cd $package && autoreconf 2>&1 && ./configure --quiet 2>&1`;
	like($log, qr/error: the installed Pawl has handler ABI 1, and this package needs 7/, 'another ABI is refused, both are told');
	$ENV{PKG_CONFIG_PATH} = '/nowhere';
	$ENV{PKG_CONFIG_LIBDIR} = '/nowhere';
	like(scalar(`cd $package && ./configure --quiet 2>&1`), qr/error: Pawl was not found. Install it, or/, 'without Pawl, what to do');
}
ok(-e "$handlers/own.so", 'it is where use = "own" finds it');
is(join(' ', grep { !/^_/ } map { / [A-Z] (\w+)/ ? $1 : () } split(/\n/, `nm -D --defined-only $handlers/own.so`)), 'pawl_handler', 'with its one symbol');

# Both work.
my $db = migrated_db();
$db->do('create table effects (key text, total numeric)');
for my $so (tmp_dir() . '/own.so', "$handlers/own.so") {
	my $driver = Pawl::Slot->new(conninfo => $db->conninfo, consumer => $so =~ /package|root/ ? 'automake' : 'plain')->handler(own => $so);
	my ($out) = $driver->batch($driver->ready, { id => 'm1', body => '{"total": 12.50}' });
	is($out->{outcome}, 'done', "$so: a message");
	$driver->finish;
}
is($db->value('select count(*) from effects where total = 12.50'), 2, 'with its effect');

# And everything goes again.
my $log = `make -s -C $build uninstall DESTDIR=$root 2>&1`;
is($?, 0, 'make uninstall') or diag($log);
is(join(' ', grep { !m{/own\.(so|la)$} } split(/\n/, `find $root -type f`)), '', 'nothing of ours is left');
done_testing;
