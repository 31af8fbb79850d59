#!/usr/bin/perl
# Stops and reloads, one after the other, in the middle of many questions. Nothing but the order of a stop keeps an answer from being given
# twice, or not at all: the questions have no keys, and no effects by which it would be seen.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my ($questions, $stops) = (4000, 9);
my ($db, $vhost, $run) = (migrated_db(), new_vhost(), tmp_dir());
sub configure
{
	return write_config('pawl.conf', <<'END_OF_CONFIG', uri => $vhost->uri, conninfo => $db->conninfo, run => $run, slots => $_[0]);
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  ask: {
    dedup = "none";  slots = {slots};
    handlers: {
      quick: { type = "Quick";  use = "sql";  config: { statement = "select 1 as x";  reply = true; }; };
      slow:  { type = "Slow";   use = "sql";  config: { statement = "select 1 as x from pg_sleep(0.003)";  reply = true; }; };
    };
  };
};
END_OF_CONFIG
}
my $slots = 2;
my $config = configure($slots);
my $amqp = $vhost->amqp;
$amqp->declare_queue('answers', arguments => { 'x-queue-type' => 'quorum' });	# its confirms take a while
my $worker = start_program('pawl-worker', '-c', $config);
wait_consumer($vhost, 'ask');
$amqp->publish(routing_key => 'ask', type => $_ % 3 ? 'Quick' : 'Slow', body => '{}', reply_to => 'answers', correlation_id => $_) for 1 .. $questions;
$amqp->confirm;

my ($all, $middle, %answers) = (0, 0);
sub collect { $answers{ $_->{correlation_id} }++, $all++ for $vhost->drain('answers'); return $all }
sub goes_on { my $to = collect() + 60; wait_for { collect() >= ($to < $questions ? $to : $questions) } "$_[0]: answers come"; return }
for my $stop (1 .. $stops) {
	# By turns: in the middle of a reload; when the former runner has still to finish what it was given; with the first answers.
	if ($stop % 3) {
		goes_on("before stop $stop");
		configure($slots = 5 - $slots);
		$worker->signal('HUP');
		$worker->wait_log(qr/reloaded: 1 queues, 1 changed/) if $stop % 3 == 2;
	} else {
		$worker->wait_log(qr/consuming, was connecting/);
	}
	$worker->stop;
	poll(sub { $vhost->count('ask') + collect() >= $questions }, 10);
	is($vhost->count('ask') + collect(), $questions, "stop $stop: what is not answered is in the queue");
	$middle++ if $all < $questions;
	$worker = start_program('pawl-worker', '-c', $config);
}
cmp_ok($middle, '>', $stops / 2, 'that was in the middle of it');
goes_on('after the stops');
configure(1);
$worker->signal('HUP');
wait_for { collect() >= $questions && $vhost->count('ask') == 0 } 'all are answered';
wait_settled($config, $vhost, 'ask');
$worker->stop;
is(collect(), $questions, 'once');
is(scalar keys %answers, $questions, 'each');
is($vhost->count('ask.dead'), 0, 'and there are no dead letters');
done_testing;
