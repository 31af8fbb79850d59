#!/usr/bin/perl
# Slots killed outside a handler call, with real handlers and a batch of 200: nobody is charged, and each message has its effect once.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
need_faults();

my ($db, $vhost) = (migrated_db(), new_vhost());
$db->do('create table effect (id text)');
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  work: {
    slots = 2;  batch = 200;
    handlers: { all: { type = "*";  use = "sql";  config: { statement = "insert into effect values (:id)"; }; }; };
  };
};
END
my $number = 0;
for my $point (qw(slot.before_commit slot.after_commit slot.before_result)) {
	my $once = tmp_dir() . '/once-' . ++$number;
	my $worker = start_program({ env => { PAWL_FAULT => "$point:kill", PAWL_FAULT_ONCE => $once } }, 'pawl-worker', '-c', $config);
	$worker->allow_log(qr/slot \d \(pid \d+\) was killed by SIGKILL/);
	wait_consumer($vhost, 'work');
	$vhost->amqp->publish(routing_key => 'work', type => 'Some', message_id => "$point-$_", body => '{}', headers => { aggregateid => $_ % 7 }) for 1 .. 200;
	$vhost->amqp->confirm;
	wait_for { -e $once } "$point: a slot is killed there";
	wait_for { $db->value("select count(*) from effect where id like '$point-%'") >= 200 } "$point: all have their effect";
	wait_settled($config, $vhost, 'work');
	is($db->value("select count(*) from effect where id like '$point-%'"), 200, "$point: once each");
	$worker->stop;
	is($vhost->count('work'), 0, "$point: all is acked");
	is($vhost->count('work.dead'), 0, "$point: nobody is charged");
}

# What is committed is not given to its handler once more, though the slot died before it could say so.
my $counting = write_config('counting.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir(), build => Pawl::Program::build_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  counted: { slots = 2;  batch = 200;  handlers: { all: { type = "*";  use = "{build}/t/handlers/.libs/misbehave.so"; }; }; };
};
END
for my $point (qw(slot.before_result slot.before_commit)) {
	my $once = tmp_dir() . '/once-' . ++$number;
	my $worker = start_program({ env => { PAWL_FAULT => "$point:kill", PAWL_FAULT_ONCE => $once } }, 'pawl-worker', '-c', $counting);
	$worker->allow_log(qr/slot \d \(pid \d+\) was killed by SIGKILL/);
	wait_consumer($vhost, 'counted');
	$vhost->amqp->publish(routing_key => 'counted', type => 'Count', message_id => "counted-$point-$_", body => '{}', headers => { aggregateid => $_ % 7 }) for 1 .. 200;
	$vhost->amqp->confirm;
	wait_for { -e $once } "$point: a slot is killed there";
	wait_for { $db->value("select count(*) from effect where id like 'counted-$point-%'") >= 200 } 'all are done';
	wait_settled($counting, $vhost, 'counted');
	$worker->stop;
	my %calls;
	my $log = $worker->log;
	$calls{$1}++ while $log =~ /called for (counted-\S+?)"?$/mg;
	is(scalar(keys %calls), 200, "$point: each handler call is seen");
	my $twice = grep { $_ > 1 } values %calls;
	if ($point eq 'slot.before_result') {
		is($twice, 0, "$point: committed, and not called again");
	} else {
		cmp_ok($twice, '>', 0, "$point: not committed, and called again");
	}
	is($db->value("select count(*) from effect where id like 'counted-$point-%'"), 200, "$point: one effect each");
}
done_testing;
