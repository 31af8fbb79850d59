#!/usr/bin/perl
# One key, one effect: twice in one batch, in two slots, across a restart, and after a failure.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my ($db, $vhost) = (migrated_db(), new_vhost());
$db->do('create table effect (queue text, key text, amount int)');
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  property: { handlers: { add: { type = "Add";  use = "sql";  config: { statement = "insert into effect values ('property', :key, :/amount)"; }; }; }; };
  header: {
    key = "header:request";
    handlers: { add: { type = "Add";  use = "sql";  config: { statement = "insert into effect values ('header', :key, :/amount)"; }; }; };
  };
  pointer: {
    key = "json:/request/id";
    handlers: { add: { type = "Add";  use = "sql";  config: { statement = "insert into effect values ('pointer', :key, :/amount)"; }; }; };
  };
  careless: {
    missing_key = "process";
    handlers: { add: { type = "Add";  use = "sql";  config: { statement = "insert into effect values ('careless', :key, :/amount)"; }; }; };
  };
};
END
my $worker = start_program('pawl-worker', '-c', $config);
$worker->allow_log(qr/level=warning/);
wait_consumer($vhost, $_) for qw(property header pointer careless);
my $amqp = $vhost->amqp;

sub effects { my ($queue) = @_; return $db->value("select count(*) || '/' || count(distinct key) from effect where queue = '$queue'") }
sub settled { my ($queue) = @_; return wait_settled($config, $vhost, $queue) }

# Published at once, they meet in batches; other aggregates go to other slots.
for my $n (1 .. 200) {
	for my $copy (1 .. 3) {
		$amqp->publish(routing_key => 'property', type => 'Add', message_id => "p$n", headers => { aggregateid => "a$copy$n" }, body => '{"amount": 1}');
		$amqp->publish(routing_key => 'header', type => 'Add', headers => { request => "h$n" }, body => '{"amount": 1}');
		$amqp->publish(routing_key => 'pointer', type => 'Add', message_id => "x$copy$n", body => qq({"amount": 1, "request": {"id": "j$n"}}));
	}
}
$amqp->confirm;
for my $queue (qw(property header pointer)) {
	settled($queue);
	is(effects($queue), '200/200', "$queue: one effect for each key");
	is(queue_status($config, $queue)->{duplicate}, 400, "$queue: the others are counted as duplicates");
}

# Across a restart, orderly or not.
$worker->stop;
$worker = start_program('pawl-worker', '-c', $config);
$worker->allow_log(qr/level=warning/);
$amqp->publish(routing_key => 'property', type => 'Add', message_id => "p$_", body => '{"amount": 1}') for 1 .. 250;
$amqp->confirm;
settled('property');
is(effects('property'), '250/250', 'after a restart new keys have their effects, and old ones no second one');
is(queue_status($config, 'property')->{duplicate}, 200, 'they are counted as duplicates');

# Failed first: the key is free, and the second delivery has its effect. Then it is taken.
$vhost->publish(routing_key => 'property', type => 'Add', message_id => 'late', body => '{"amount": "no number"}');
wait_for { $vhost->exists('property.dead') && $vhost->count('property.dead') } 'a failing one is a dead letter';
is($db->value(q(select count(*) from effect where key = 'late')), 0, 'and has no effect');
$vhost->publish(routing_key => 'property', type => 'Add', message_id => 'late', body => '{"amount": 5}') for 1 .. 2;
settled('property');
is($db->value(q(select string_agg(amount::text, ',') from effect where key = 'late')), '5', 'the same key succeeds once later');
$vhost->drain('property.dead');

# No key.
$vhost->publish(routing_key => $_, type => 'Add', body => '{"amount": 1}') for qw(property careless);
wait_for { $vhost->count('property.dead') } 'a message without key is a dead letter';
my $letter = $vhost->get('property.dead');
is($letter->{headers}{'x-pawl-reason'}, 'no_key', 'for that reason');
like($letter->{headers}{'x-pawl-text'} // '', qr/message_id/, 'and the text says what to do');
wait_for { effects('careless') =~ m{^1/} } 'or it is processed by configuration';

# A key that is no plain text is hashed, and still tells duplicates.
my $strange = "\xff\xfe" . 'x' x 240;
$vhost->publish(routing_key => 'property', type => 'Add', message_id => $strange, body => '{"amount": 9}') for 1 .. 2;
settled('property');
is($db->value(q(select count(*) || ' ' || min(left(key, 7)) from effect where amount = 9)), '1 sha256:', 'a strange key is hashed');
$worker->stop;
done_testing;
