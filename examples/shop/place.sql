-- One order, for pgbench.
\set customer random(1, 2000)
\set cents random(500, 50000)
select shop.place_order(:customer, :cents / 100.0);
