#!/usr/bin/env node
// A view of orders: a row and an event for each OrderPlaced. It decides by the message alone; Pawl does what it answers.
'use strict';

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');    // for answers only; console.error for the log

function handle(message, line) {
	const order = message.body;
	if (order === null || typeof order !== 'object' || order.id === undefined || order.total === undefined)
		return { verdict: 'reject', code: 'bad_field', text: 'an order has an id and a total' };
	return {
		verdict: 'done',
		sql: [{
			// JSON.parse makes a double of each number. So the amount is taken from the line as it was written.
			text: "insert into order_view (id, total) values ($1, ($2::jsonb #>> '{body,total}')::numeric)" +
				' on conflict (id) do update set total = excluded.total',
			params: [order.id, line],
		}],
		emit: [{ aggregatetype: 'view', aggregateid: order.id, type: 'OrderListed', payload: { order: order.id } }],
	};
}

let greeted = false;
require('readline').createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', (line) => {
	const message = JSON.parse(line);
	if (greeted)
		say({ n: message.n, ...handle(message, line) });
	else
		say({ pawl: 1, ready: true, name: 'view.js', version: '1' });
	greeted = true;
});
