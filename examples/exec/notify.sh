#!/bin/sh
# A command for each message (mode = "once"): tells somebody outside of an order. $1 is a file that stands for him.
# The key goes along, so that he knows a message that comes twice.
body=$(cat)
case $body in
'{'*) ;;
*)	echo "an order is an object, and this is: $body" >&2
	exit 65 ;;	# never: a dead letter
esac
if ! printf '%s %s %s\n' "$PAWL_KEY" "$PAWL_TYPE" "$body" >>"$1"; then
	echo "could not write to $1" >&2
	exit 75		# try again later
fi
