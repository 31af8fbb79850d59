#!/usr/bin/perl
# Handlers that read or act outside, in a real worker: a slow one keeps nobody waiting, holds no more messages than it has slots for, and
# the broker's connection lives on meanwhile. One that dies costs its own message alone.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my ($db, $vhost) = (migrated_db(), new_vhost());
$db->do('create table effects (n bigserial, key text); create table seen (n bigserial, key text, what text, value text)');
my $script = Pawl::Slot::script_handler();
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir(), script => $script);
run_dir = "{run}";
broker: { uri = "{uri}";  heartbeat = "1s"; };
database: { conninfo = "{conninfo}"; };
queues: {
  outside: { slots = 2;  handlers: { all: { type = "*";  use = "{script}";  config: { kind = "external"; }; }; }; };
  mixed: { slots = 2;  handlers: {
    act: { type = "Act";  use = "{script}";  config: { kind = "external"; }; };
    read: { type = "Read";  use = "{script}";  config: { kind = "reads"; }; };
    all: { type = "*";  use = "{script}"; };
  }; };
};
END
sub publish
{
	my ($queue, $type, $id, @lines) = @_;
	my $body = join('', map { join("\t", @$_) . "\n" } @lines, [ sql => 'insert into effects (key) values ($1)', $id ]);
	$vhost->amqp->publish(routing_key => $queue, type => $type, message_id => $id, body => $body);
	return;
}
sub effects { my ($like) = @_; return $db->value("select count(*) from effects where key like '$like'") }

my $worker = start_program('pawl-worker', '-c', $config);
wait_consumer($vhost, $_) for qw(outside mixed);

# Two slots, one of which is blocked over many heartbeats of the broker: 1 s each, which gives up after two or three.
my $go = tmp_dir() . '/go';
publish('outside', 'Act', 'blocked', [ until => $go ]);
wait_for { (queue_status($config, 'outside')->{in_flight} // 0) == 1 } 'a handler blocks';
my $before = time();
publish('outside', 'Act', "quick-$_") for 1 .. 50;
$vhost->amqp->confirm;
wait_for { effects('quick-%') == 50 } 'the other slot does all the others';
wait_for { time() - $before > 6 } 'six heartbeats later', 60;
my $status = queue_status($config, 'outside');
is($status->{in_flight}, 1, 'it still blocks');
write_file($go, '');
wait_for { effects('blocked') == 1 } 'then it comes to its end';
wait_settled($config, $vhost, 'outside');
is(effects('%'), 51, 'everything was done once');
is((grep { /lost|heartbeat/ } split(/\n/, $worker->log))[0], undef, 'the connection was not lost');

# A slow slot hoards nothing: what it has not begun stays with the broker, for other workers.
unlink $go;
publish('outside', 'Act', "slow-$_", [ until => $go ]) for 1 .. 40;

$vhost->amqp->confirm;
wait_for { ($vhost->count('outside'))[0] == 16 } 'two slots take twenty-four of forty messages';
write_file($go, '');
wait_for { effects('slow-%') == 40 } 'all are done in the end';

# Kinds may be mixed in a queue.
publish('mixed', (qw(Act Read Other))[$_ % 3], "mixed-$_", $_ % 3 == 2 ? () : [ rows => 'select 1' ], [ sql => 'select 1' ]) for 1 .. 300;
$vhost->amqp->confirm;
wait_for { effects('mixed-%') == 300 } 'all kinds in one queue';
wait_settled($config, $vhost, 'mixed');
is($db->value("select count(distinct key) from effects where key like 'mixed-%'"), 300, 'once each');

# Those that read and are quick share transactions.
publish('mixed', 'Read', "which-$_", [ rows => 'select txid_current()' ]) for 1 .. 400;
$vhost->amqp->confirm;
wait_for { effects('which-%') == 400 } 'many that read';
wait_settled($config, $vhost, 'mixed');
cmp_ok($db->value("select count(distinct value) from seen where key like 'which-%' and what = 'value'"), '<', 200, 'take fewer transactions than messages');
is($vhost->count("$_.dead"), 0, "$_: no dead letters") for qw(outside mixed);

# One that dies among others: a dead letter, and nothing of what it had done before is left.
$worker->allow_log(qr/slot \d \(pid \d+\) (was killed by|exited with)/, qr/becomes a dead letter/);
for my $case ([ Read => 'crash', qr/killed by SIGSEGV/ ], [ Read => 'exit', qr/exited with/ ], [ Act => 'crash', qr/killed by SIGSEGV/ ], [ Act => 'exit', qr/exited with/ ]) {
	my ($type, $what, $text) = @$case;
	my $id = "dies-$type-$what";
	publish('mixed', $type, $_ == 30 ? $id : "$id-$_", $_ == 30 ? ([ sql => 'insert into effects (key) values ($1)', $id ], [ rows => 'select 1' ], [ $what ]) : ()) for 1 .. 60;
	$vhost->amqp->confirm;
	my $letter;
	wait_for { $letter = $vhost->get('mixed.dead') } "$type, $what: a dead letter";
	is("$letter->{message_id} $letter->{headers}{'x-pawl-reason'}", "$id crashed", "$type, $what: that message");
	like($letter->{headers}{'x-pawl-text'}, $text, "$type, $what: its text");
	wait_for { effects("$id-%") == 59 } "$type, $what: the others are done";
	wait_settled($config, $vhost, 'mixed');
	is($db->value("select count(distinct key) from effects where key like '$id-%'"), 59, "$type, $what: once each");
	is(effects($id), 0, "$type, $what: it has no effect");
	is($db->value("select count(*) from pawl.inbox where message_id = '$id'"), 0, "$type, $what: and its key is free");
}
is($db->value("select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"), 0, 'no lock on a key is left');
is($vhost->count('mixed.dead'), 0, 'there are no other dead letters');
$worker->stop;
done_testing;
