#!/usr/bin/perl
# Tables of other layouts while writers write and relays are killed, cut off from the broker and from the database: nothing is lost, and the first
# sight of each aggregate's events is in order. Writers lock the aggregate, take the time after that, and some commit late.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;

my $seed = $ENV{PAWL_TEST_SEED} // int(rand(1e6));
diag("PAWL_TEST_SEED=$seed") if $ENV{PAWL_TEST_SEED};
srand($seed);
my ($writers, $commits, $aggregates) = (3, 600, 25);
for my $case (
	[ keyed => 'id uuid primary key default gen_random_uuid(), aggregateid text, type text, payload jsonb, at timestamptz', 'order_by = "at";', 'select count(*) from public.t' ],
	[ marked => 'id bigserial primary key, aggregateid text, type text, payload jsonb, at timestamptz, sent boolean not null default false', 'sent = "sent";', 'select count(*) from public.t where not sent' ]) {
	my ($name, $columns, $config, $left) = @$case;
	my $db = migrated_db();
	my $o = Pawl::Outbox->new(db => $db, outbox => "table = \"public.t\"; window = 40; $config");
	$db->do("create table public.t ($columns); create table public.aggregate (id int primary key, n int not null default 0);
		insert into public.aggregate select i from generate_series(1, $aggregates) i;
		create procedure public.write(seed float, commits int) language plpgsql as \$\$
		declare a int; v int; x float;
		begin
			perform setseed(seed);
			for i in 1 .. commits loop
				x := random();
				for k in 1 .. 1 + (random() * 3)::int loop
					a := 1 + (random() * ($aggregates - 1))::int;
					exit when k > 1 and not exists (select from public.aggregate where id = a for update skip locked);
					update public.aggregate set n = n + 1 where id = a returning n into v;
					insert into public.t (aggregateid, type, payload, at) values ('a' || a, 'T', jsonb_build_object('a', 'a' || a, 'n', v), clock_timestamp());
				end loop;
				if x < 0.05 then perform pg_sleep(random() * 0.05); end if;
				if x > 0.95 then rollback; else commit; end if;
			end loop;
		end \$\$");
	my @expected = (qr/lost the database session/, qr/could not get a database session/, qr/(lost|could not).*broker|connection/);
	my $serial = 0;
	my $start = sub { return $o->relay({ name => "$name-" . ++$serial })->allow_log(@expected) };
	my @relays = ($start->(), $start->());
	my @sessions = map { my $s = $db->session; $s->send("call public.write(" . rand() . ", $commits)"); $s } 1 .. $writers;
	my $writing = sub { return $db->value(q(select count(*) from pg_stat_activity where datname = current_database() and query like 'call public.write%' and state = 'active')) };
	my %acts = (
		kill => sub { my $i = int(rand(2)); $relays[$i]->kill; $relays[$i] = $start->() },
		broker => sub { $_ && $o->vhost->close_connection($_) for grep { ($_->{client_properties}{connection_name} // '') =~ /pawl-relay/ } $o->vhost->connections },
		database => sub { $db->value(q(select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name like 'pawl-relay%')) },
		stop => sub { my $i = int(rand(2)); $relays[$i]->signal('STOP'); $db->value('select pg_sleep(0.3)'); $relays[$i]->signal('CONT') },
	);
	my @messages;
	for (1 .. 6) {
		my $before = $o->count;
		poll(sub { $o->count > $before + 30 || !$writing->() }, 20);
		my ($act) = (sort keys %acts)[ int(rand(keys %acts)) ];
		$acts{$act}->();
	}
	wait_for { !$writing->() } "$name: the writers are done", 60;
	$_->finish for @sessions;
	wait_for { $db->value($left) == 0 } "$name: all is published", 60;
	push @messages, $o->take;
	$_->stop for @relays;
	is_deeply([ order_errors(@messages) ], [], "$name: in order") or diag("PAWL_TEST_SEED=$seed");
	my (undef, $of) = first_seen(@messages);
	my %count = map { $_ => scalar @{ $of->{$_} } } keys %$of;
	my %wanted = map { @$_ } $db->query(q(select 'a' || id, n from public.aggregate where n > 0));
	is_deeply(\%count, \%wanted, "$name: nothing is lost, and nothing was rolled back") or diag("PAWL_TEST_SEED=$seed");
	my $sum = 0;
	$sum += $_ for values %wanted;
	diag("$name: $sum events, " . @messages . ' messages') if $ENV{PAWL_TEST_SEED};
}
done_testing;
