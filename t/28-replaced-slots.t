#!/usr/bin/perl
# max_messages: slots are replaced in the middle of work, and nothing is lost, done twice or charged.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my ($db, $vhost) = (migrated_db(), new_vhost());
$db->do('create table effect (id text, pid int)');
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  work: {
    slots = 2;  batch = 50;  max_messages = 120;
    handlers: { all: { type = "*";  use = "sql";  config: { statement = "insert into effect values (:id, pg_backend_pid())"; }; }; };
  };
};
END
my $worker = start_program('pawl-worker', '-c', $config);
wait_consumer($vhost, 'work');
my $total = 2000;
$vhost->amqp->publish(routing_key => 'work', type => 'Some', message_id => "m$_", body => '{}', headers => $_ % 3 ? { aggregateid => $_ % 7 } : {}) for 1 .. $total;
$vhost->amqp->confirm;
wait_for { $db->value('select count(*) from effect') >= $total } 'all are done';
wait_settled($config, $vhost, 'work');
is($db->value("select count(*) || ' ' || count(distinct id) from effect"), "$total $total", 'once each');
my ($sessions, $most) = $db->row('select count(*), max(n) from (select count(*) as n from effect group by pid) x');
cmp_ok($sessions, '>=', $total / 120, "by $sessions slots");
is($most, 120, 'each of which did so many at most');
my $status = queue_status($config, 'work');
is($status->{duplicate}, 0, 'none was delivered twice');
is($vhost->exists('work.dead') ? $vhost->count('work.dead') : 0, 0, 'nobody was charged');
unlike($worker->log, qr/level=(warning|error)/, 'it is no news');
$worker->stop;

# A second program of the same name
$worker = start_program('pawl-worker', '-c', $config);
wait_consumer($vhost, 'work');
my $second = run_program('pawl-worker', '-c', $config);
is($second->{status}, 78, 'a second worker of the same name does not start');
my $pid = $worker->pid;
like($second->{err}, qr/process $pid is pawl-worker \\"pawl\\" already, with run_dir \\"[^"]+" \(it has locked \\".*worker\.stats\.lock\\"\): stop it, or give this one another name/, 'and says why');
is(queue_status($config, 'work')->{slots_ready} // 2, 2, 'the first one goes on');
$worker->kill;
my $third = start_program('pawl-worker', '-c', $config);
$third->allow_log(qr/level=warning/);
wait_consumer($vhost, 'work');
pass('another one starts at once');
my $alone = start_program('pawl-worker', '-c', $config, '-q', 'work');
wait_for { -e tmp_dir() . '/pawl.work.worker.stats' } 'a runner without a master may be there as well';
$second = run_program('pawl-worker', '-c', $config, '-q', 'work');
is($second->{status}, 78, 'but only one of each queue');
$pid = $alone->pid;
like($second->{err}, qr/process $pid is pawl-worker \\"pawl\.work\\" already/, 'which it says');
$alone->stop;
$third->stop;
done_testing;
