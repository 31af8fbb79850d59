-- The orders service. An order and its event are one transaction: either both are there or neither is.
create schema shop;

create table shop.customer_order (
	id bigint generated always as identity primary key,
	customer int not null,
	total numeric(12, 2) not null,
	status text not null default 'placed',
	placed_at timestamptz not null default clock_timestamp()
);

create function shop.place_order(customer int, total numeric) returns bigint
language plpgsql as $$
declare
	id bigint;
begin
	insert into shop.customer_order (customer, total) values (place_order.customer, place_order.total)
		returning customer_order.id into id;
	perform pawl.emit('order', id::text, 'OrderPlaced',
		jsonb_build_object('order', id, 'customer', customer, 'total', total));
	return id;
end
$$;
