#!/bin/sh
# check.sh [HANDLER.so] - what the handler would do with each line of "messages" must be what "expected" says.
set -u
here=$(dirname "$0")
handler=${1:-${HANDLER:-}}
if [ -z "$handler" ]; then
	echo "check.sh: say which handler: ./check.sh HANDLER.so, or run \"make check\"" >&2
	exit 64
fi
actual=$(mktemp) || exit 1
trap 'rm -f "$actual"' EXIT
pawlctl try --type OrderPlaced --lines "$handler" "@$here/messages" >"$actual"
status=$?
if [ $status -gt 1 ]; then	# 1: some message is not done, which may be what is expected
	cat "$actual"
	exit $status
fi
diff -u "$here/expected" "$actual" && echo "as expected"
