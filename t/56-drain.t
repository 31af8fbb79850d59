#!/usr/bin/perl
# TERM in the middle of the work: what was begun is finished, the rest goes back to the queue, and nothing is done twice.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my $messages = 600;
my ($db, $vhost) = (migrated_db(), new_vhost());
$db->do('create table effect (id text)');
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  work: {
    batch = 20;
    handlers: {
      slow: { type = "Slow";  use = "sql";  config: { statements = ( "insert into effect values (:id)", "select pg_sleep(0.005)" ); }; };
    };
  };
};
END
my $worker = start_program('pawl-worker', '-c', $config);
wait_consumer($vhost, 'work');
$vhost->amqp->publish(routing_key => 'work', type => 'Slow', message_id => "m$_", body => '{}') for 1 .. $messages;
$vhost->amqp->confirm;
wait_for { $db->value('select count(*) from effect') > 50 } 'the work has begun';
$worker->stop;
my $done = $db->value('select count(*) from effect');
cmp_ok($done, '<', $messages, 'not all was done');
is($vhost->count('work'), $messages - $done, 'what was not done is in the queue, what was done is not');

# Another worker does the rest.
my $second = start_program('pawl-worker', '-c', $config);
wait_for { $db->value('select count(*) from effect') >= $messages } 'the next worker does the rest';
wait_settled($config, $vhost, 'work');
is(queue_status($config, 'work')->{duplicate}, 0, 'and sees no duplicate: all that was done was acknowledged');
is($db->value('select count(distinct id) from effect'), $messages, 'each has its effect');
is($db->value('select count(*) from effect'), $messages, 'and one only');
is($vhost->count('work.dead'), 0, 'there are no dead letters');
$second->stop;

# Idle: TERM ends it at once.
my $idle = start_program('pawl-worker', '-c', $config);
wait_consumer($vhost, 'work');
$idle->stop(5);
done_testing;
