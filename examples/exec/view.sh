#!/bin/sh
# A view of orders: a row and an event for each OrderPlaced. The shell cannot read JSON, and need not: each line goes into the statement
# as it is, and PostgreSQL takes from it what it needs. The number of a message is counted.
IFS= read -r hello
printf '%s\n' '{"pawl":1,"ready":true,"name":"view.sh","version":"1"}'

# Without an id or a total no row is touched, and the message is rejected.
insert="insert into order_view (id, total) select m #>> '{body,id}', (m #>> '{body,total}')::numeric from (select \$1::jsonb) as line (m)"
insert="$insert where m #>> '{body,id}' is not null and m #>> '{body,total}' is not null on conflict (id) do update set total = excluded.total"
emit="select pawl.emit('view', m #>> '{body,id}', 'OrderListed', jsonb_build_object('order', m #> '{body,id}')) from (select \$1::jsonb) as line (m)"

n=0
while IFS= read -r line; do
	n=$((n + 1))
	printf '{"n":%d,"verdict":"done","sql":[{"text":"%s","params":[%s],"expect":1,"otherwise":"reject","code":"bad_field"},{"text":"%s","params":[%s]}]}\n' \
	    "$n" "$insert" "$line" "$emit" "$line"
done
