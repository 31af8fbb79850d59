-- The tables of the example handlers: psql -f schema.sql
create table order_view (id text primary key, customer text, total numeric, status text, version bigint);
create table account (customer text primary key, balance numeric not null check (balance >= 0));
create table payment (order_id text primary key, customer text, amount numeric);
create table parcel (order_id text primary key, answer jsonb);
create table stock (product text primary key, free int not null);
insert into account values ('ada', 100);
insert into stock values ('pen', 10), ('ink', 1);
