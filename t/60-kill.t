#!/usr/bin/perl
# SIGKILL of slot, runner, master and relay at random while 20,000 events of 500 aggregates update shared rows: none lost, none doubled,
# and each aggregate was published in order.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my ($events, $aggregates, $shared, $writers, $kills) = (20_000, 500, 20, 4, 16);
seed();

my ($source, $target, $vhost) = (migrated_db(), migrated_db(), new_vhost());
# A writer locks the aggregate before it emits: then seq order is commit order.
$source->do(<<'END');
create table aggregate (id int primary key, n int not null default 0);
insert into aggregate select generate_series(1, 500);
create procedure produce(events int) language plpgsql as $$
declare
	which int;
	number int;
begin
	for i in 1 .. events loop
		which := 1 + floor(random() * 500)::int;
		update aggregate set n = n + 1 where id = which returning n into number;
		perform pawl.emit('thing', which::text, 'Changed', jsonb_build_object('aggregate', which, 'n', number));
		commit;
	end loop;
end
$$;
END
$target->do(<<"END");
create table effect (aggregate int, n int);
create table shared (id int primary key, total bigint not null);
insert into shared select generate_series(0, $shared - 1), 0;
END
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, source => $source->conninfo, target => $target->conninfo, run => tmp_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{target}"; };
queues: {
  things: {
    slots = 3;
    bind = ( { exchange = "things";  key = "#"; } );
    handlers: {
      changed: {
        type = "Changed";
        use = "sql";
        config: {
          statements = (
            "insert into effect values (:/aggregate, :/n)",
            "update shared set total = total + 1 where id = :/n::int % 20"
          );
        };
      };
    };
  };
};
outboxes: { things: { conninfo = "{source}";  exchange = "things"; }; };
END

my (%program, $starts);
sub start
{
	my ($name) = @_;
	$program{$name} = start_program({ name => $name . '-' . ++$starts }, $name, '-c', $config);
	$program{$name}->allow_log(qr/level=warning/);	# what dies is complained of
	return;
}

start('pawl-worker');
wait_consumer($vhost, 'things');
# What was published, in order, for the look at the end.
$vhost->amqp->declare_queue('audit');
$vhost->amqp->bind('audit', 'things', '#');
start('pawl-relay');

my @writers = map { $source->session } 1 .. $writers;
$_->send('call produce(' . $events / $writers . ')') for @writers;

my %act = (
	slot => sub { kill_one(sub { $program{'pawl-worker'}->slots }) },
	runner => sub { kill_one(sub { $program{'pawl-worker'}->runners }) },
	master => sub {
		my $worker = $program{'pawl-worker'};
		my @children = map { $_->{pid} } $worker->children;
		$worker->kill;
		wait_for { !grep { Pawl::Process::lives($_) } @children } 'nothing outlives the master';
		start('pawl-worker');
		return $worker->pid;
	},
	relay => sub {
		my $relay = $program{'pawl-relay'};
		$relay->kill;
		start('pawl-relay');
		return $relay->pid;
	},
);

# There may be none for a moment, after an earlier kill.
sub kill_one
{
	my ($candidates) = @_;
	return poll(sub {
		my @pids = map { $_->{pid} } $candidates->();
		my $pid = $pids[rand @pids];
		return $pid && kill('KILL', $pid) ? $pid : 0;
	}) // 'nobody';
}

# Each kill comes at a number of effects: spread over the whole run, however fast it is.
my @kinds = map { ((sort keys %act)[$_ % keys %act]) } 0 .. $kills - 1;
@kinds = map { splice(@kinds, rand @kinds, 1) } 1 .. @kinds;
my $done = sub { $target->value('select count(*) from effect') };
for my $i (0 .. $#kinds) {
	my $at = int($events * ($i + rand) / ($kills + 1));
	poll(sub { $done->() >= $at }, 60) or last;
	my $pid = $act{ $kinds[$i] }->();
	note("at $at effects: killed $kinds[$i] $pid");
}
$_->finish for @writers;
is($source->value('select sum(n) from aggregate'), $events, 'all events were written');
wait_for { $done->() >= $events } 'all effects are there', 120;
wait_for { $source->value('select count(*) from pawl.outbox') == 0 } 'the outbox is empty';
wait_settled($config, $vhost, 'things');

is($target->value('select count(*) from (select distinct aggregate, n from effect) as e'), $events, 'no event was lost');
is($target->value('select count(*) from effect'), $events, 'no event was doubled');
is($target->value('select sum(total) from shared'), $events, 'the shared rows counted each once');
is($target->value('select count(*) from pawl.inbox'), $events, 'the inbox has a key for each');
is($vhost->count('things.dead'), 0, 'there are no dead letters');

# The first copy of each event comes in order. Later copies may come late: what a killed relay had sent can still be on its way when the
# next one publishes. Consumers know them by their id.
my (%last, @wrong, %published);
for my $message ($vhost->drain('audit')) {
	my $aggregate = $message->{headers}{aggregateid} // 0;
	my ($n) = $message->{body} =~ /"n": ?(\d+)/;
	next if $published{"$aggregate $n"}++;
	my $last = $last{$aggregate} // 0;
	push @wrong, "aggregate $aggregate: $n after $last" if $n != $last + 1;
	$last{$aggregate} = $n;
}
is(scalar keys %published, $events, 'all events were published');
is_deeply([ @wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)] ], [], 'each aggregate in its order');
my $again = 0;
$again += $_ - 1 for values %published;
note("$again events were published again");
$program{$_}->stop for qw(pawl-relay pawl-worker);
done_testing;
