#!/usr/bin/perl
# Order within an aggregate is commit order when writers lock the aggregate before they insert, however their numbers and commits
# interleave; nothing that was rolled back is published, nothing that was committed is left.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox;

use JSON::PP ();

my $o = Pawl::Outbox->new(outbox => 'poll_max = "20ms";');
my $db = $o->db;
$db->do(q(create table aggregate (id text primary key, version int not null default 0);
insert into aggregate select 'a' || i from generate_series(0, 9) i;
create function change(a text) returns int language plpgsql as $$
declare n int;
begin
	update aggregate set version = version + 1 where id = a returning version into n;
	insert into pawl.outbox (aggregatetype, aggregateid, type, payload) values ('order', a, 'T', jsonb_build_object('a', a, 'n', n));
	return n;
end $$;));
my $relay = $o->relay;
my @all;
sub messages { push @all, $o->take; return (first_seen(@all))[1] }

sub reads { return JSON::PP::decode_json(run_program('pawlctl', 'status', '-c', $o->{config}, '--json')->{out})->{relay}{outboxes}[0]{reads} }

# Schedules: each step is a session and what it does. "see NAME N": wait until N events of the aggregate have been published.
# "rest": wait until the relay has looked so often that it would have raised its floor if it could.
sub schedule
{
	my ($name, @steps) = @_;
	my %session;
	for my $step (@steps) {
		my ($who, $sql) = @$step;
		if ($who eq 'see') {
			my ($aggregate, $count) = split(' ', $sql);
			wait_for { my $of = messages(); @{ $of->{$aggregate} || [] } >= $count } "$name: $count of $aggregate are published";
			next;
		}
		if ($who eq 'rest') {
			my $reads = reads();
			poll(sub { reads() > $reads + 25 }) or die "the relay does not read\n";
			next;
		}
		$session{$who} ||= $db->session;
		$session{$who}->query($sql);
	}
	$_->close for values %session;
	$o->wait_empty("$name: the outbox is empty");
	messages();
	return;
}

schedule('early number, late commit',
	[ x => 'begin' ], [ x => q(select change('a0')) ], [ y => q(select change('a1')) ], [ see => 'a1 1' ], [ 'rest' ], [ x => q(select change('a0')) ],
	[ x => 'commit' ], [ see => 'a0 2' ]);
schedule('late commit, successor at once',
	[ x => 'begin' ], [ x => q(select change('a0')) ], [ y => q(select change('a2')) ], [ see => 'a2 1' ], [ 'rest' ],
	[ x => q(commit; select change('a0'); select change('a2')) ], [ see => 'a0 4' ]);
schedule('rolled back, and its number is a gap',
	[ x => 'begin' ], [ x => q(select change('a3')) ], [ y => q(select change('a2')) ], [ see => 'a2 3' ], [ x => 'rollback' ], [ x => q(select change('a3')) ]);
schedule('subtransactions',
	[ x => 'begin' ], [ x => q(select change('a4')) ], [ x => 'savepoint s' ], [ x => q(select change('a4')) ], [ y => q(select change('a2')) ], [ see => 'a2 4' ], [ 'rest' ],
	[ x => 'rollback to s' ], [ x => q(select change('a4')) ], [ x => 'savepoint t' ], [ x => q(select change('a4')) ], [ x => 'commit' ], [ see => 'a4 3' ]);
schedule('a prepared transaction outlives its session, and the look at the locks',
	[ x => 'begin' ], [ x => q(select change('a5')) ], [ y => q(select change('a2')) ], [ see => 'a2 5' ], [ 'rest' ], [ x => q(prepare transaction 'p') ],
	[ 'rest' ], [ y => q(select change('a2')) ], [ see => 'a2 6' ], [ 'rest' ], [ y => q(commit prepared 'p'; select change('a5')) ], [ see => 'a5 2' ]);
schedule('a transaction prepared while it is waited for',
	[ x => 'begin' ], [ x => q(select change('a6')) ], [ z => 'begin' ], [ z => q(select change('a7')) ], [ y => q(select change('a2')) ], [ see => 'a2 7' ],
	[ 'rest' ], [ x => q(prepare transaction 'q') ], [ 'rest' ], [ z => 'commit' ], [ 'rest' ], [ y => q(select change('a2')) ], [ see => 'a2 8' ], [ 'rest' ],
	[ y => q(commit prepared 'q'; select change('a6')) ], [ see => 'a6 2' ]);
schedule('the table is rewritten, and emptied',
	[ x => 'begin' ], [ x => q(select change('a8')) ], [ y => q(select change('a2')) ], [ see => 'a2 9' ], [ 'rest' ], [ x => 'commit' ], [ see => 'a8 1' ],
	[ y => 'vacuum full pawl.outbox' ], [ y => q(select change('a8')) ], [ see => 'a8 2' ], [ y => 'truncate pawl.outbox' ], [ y => q(select change('a8')) ], [ see => 'a8 3' ],
	[ y => 'reindex table pawl.outbox' ], [ y => 'cluster pawl.outbox using outbox_pkey' ], [ y => q(select change('a8')) ], [ see => 'a8 4' ]);
# Looked at afresh: what was out and not yet deleted comes once more.
my $again = @all - @{ (first_seen(@all))[0] };
cmp_ok($again, '<=', 3, 'hardly anything comes twice');
is_deeply([ order_errors(@all) ], [], 'after all schedules each aggregate is in order');

# Many writers at random, transactions of several events, rollbacks, some that sleep before they commit.
seed();
my $script = write_file('writers.sql', <<'END');
\set a random(0, 9)
\set b random(0, 9)
\set z random(1, 100)
\set ms random(1, 30)
begin;
select change('a' || least(:a, :b));
\if :z > 90
select pg_sleep(:ms / 1000.0);
\endif
select change('a' || greatest(:a, :b));
\if :z > 20
commit;
\else
rollback;
\endif
END
my $before = $db->value('select coalesce(sum(version), 0) from aggregate');
my $bench = run_program({ seconds => 120 }, Pawl::Postgres::bindir() . '/pgbench', '-n', '-c', 10, '-j', 2, '-t', 300, '-f', $script,
	'-h', '127.0.0.1', '-p', $db->server->port // (split /:/, $ENV{PAWL_TEST_POSTGRES})[1], '-U', 'pawl', $db->name);
is($bench->{status}, 0, '3000 transactions of 10 writers, a fifth of them rolled back') or diag($bench->{err});
$o->wait_empty('all of it is published', 60);
my $of = messages();
is_deeply([ order_errors(@all) ], [], 'in order within each aggregate');
my %versions = map { $_->[0] => $_->[1] } $db->query('select id, version from aggregate');
is_deeply({ map { $_ => scalar @{ $of->{$_} || [] } } keys %versions }, { %versions }, 'each committed one, none that was rolled back');
is(@all - $again, scalar @{ (first_seen(@all))[0] }, 'none twice');
$relay->stop;
done_testing;
