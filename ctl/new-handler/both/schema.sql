create table if not exists @NAME@_orders (id text primary key, customer text, total numeric not null);
