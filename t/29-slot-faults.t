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
	$worker->allow_log(qr/slot \d \(pid \d+\) killed by SIGKILL/);
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
done_testing;
