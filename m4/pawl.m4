# pawl.m4 - for packages that build Pawl handlers with Automake.
#
# PAWL_HANDLER([ABI-MAJOR], [ACTION-IF-FOUND], [ACTION-IF-NOT-FOUND])
#
# Finds the installed Pawl through pkg-config and checks that it has this major version of the handler ABI (default: 1). Sets and
# substitutes PAWL_CFLAGS, PAWL_HANDLER_LDFLAGS (for a module with the one symbol pawl_handler) and pawlhandlerdir. Without
# ACTION-IF-NOT-FOUND, configure ends with an error. In Makefile.am:
#
#   pawlhandler_LTLIBRARIES = view.la
#   view_la_SOURCES = view.c
#   view_la_CFLAGS = $(PAWL_CFLAGS)
#   view_la_LDFLAGS = $(PAWL_HANDLER_LDFLAGS)
AC_DEFUN([PAWL_HANDLER], [
AC_REQUIRE([PKG_PROG_PKG_CONFIG])
m4_pushdef([pawl_abi], m4_default([$1], [1]))
AC_MSG_CHECKING([for Pawl with handler ABI ]pawl_abi)
pawl_found_abi=`$PKG_CONFIG --variable=abi_major pawl 2>/dev/null`
AS_IF([test "x$pawl_found_abi" = "x]pawl_abi["], [
	AC_MSG_RESULT([yes])
	PAWL_CFLAGS=`$PKG_CONFIG --cflags pawl`
	pawlhandlerdir=`$PKG_CONFIG --variable=handlerdir pawl`
	PAWL_HANDLER_LDFLAGS="-module -avoid-version -shared -export-symbols-regex '^pawl_handler\$\$'"
	AC_SUBST([PAWL_CFLAGS])
	AC_SUBST([PAWL_HANDLER_LDFLAGS])
	AC_SUBST([pawlhandlerdir])
	$2
], [
	AC_MSG_RESULT([no])
	m4_default([$3], [AS_IF([test -z "$pawl_found_abi"],
		[AC_MSG_ERROR([Pawl was not found. Install it, or let PKG_CONFIG_PATH name the folder of its pawl.pc])],
		[AC_MSG_ERROR([the installed Pawl has handler ABI $pawl_found_abi, and this package needs ]pawl_abi)])])
])
m4_popdef([pawl_abi])
])
