-- The payments service. Nothing here guards against a second charge: that each order is charged once is Pawl's work alone.
create schema shop;

create table shop.account (
	customer int primary key,
	orders bigint not null,
	charged numeric(14, 2) not null
);

create table shop.charge (
	order_id bigint not null,
	customer int not null,
	amount numeric(12, 2) not null,
	charged_at timestamptz not null default clock_timestamp()
);
create index on shop.charge (order_id);

-- A charge, the customer's account, and the event that tells of it.
create function shop.charge_order(order_id bigint, customer int, amount numeric) returns void
language plpgsql as $$
begin
	insert into shop.charge (order_id, customer, amount)
		values (charge_order.order_id, charge_order.customer, charge_order.amount);
	insert into shop.account as a (customer, orders, charged) values (charge_order.customer, 1, charge_order.amount)
		on conflict on constraint account_pkey do update set orders = a.orders + 1, charged = a.charged + excluded.charged;
	perform pawl.emit('order', order_id::text, 'OrderCharged',
		jsonb_build_object('order', order_id, 'amount', amount));
end
$$;
