#!/usr/bin/perl
# Master and runner killed at their fault points: nothing is lost, and nothing is done twice. Real slots and a real database.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
need_faults();

my $number = 0;
my ($db, $vhost) = (migrated_db(), new_vhost());
$db->do('create table effect (id text, fault text)');
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  work: {
    batch = 20;
    handlers: {
      good: { type = "Good";  use = "sql";  config: { statement = "insert into effect values (:id, :/fault)"; }; };
      bad: { type = "Bad";  use = "sql";  config: { statement = "select 1 / :/zero::int"; }; };
    };
  };
};
END

# Letters per fault: a kill between confirm and ack leaves two of the same message.
for my $case ([ 'runner.before_ack', 1, 1 ], [ 'runner.before_dead_publish', 1, 1 ], [ 'runner.after_dead_confirm', 1, 2 ]) {
	my ($fault, $least, $most) = @$case;
	my $once = tmp_dir() . '/once-' . ++$number;
	my $worker = start_program({ env => { PAWL_FAULT => "$fault:kill", PAWL_FAULT_ONCE => $once } }, 'pawl-worker', '-c', $config);
	$worker->allow_log(qr/the runner of queue \\"work\\" was killed by SIGKILL, it is started again/, qr/becomes a dead letter/);
	wait_consumer($vhost, 'work') if $number == 1;
	for my $i (1 .. 200) {
		my $bad = $i == 100;
		$vhost->amqp->publish(routing_key => 'work', type => $bad ? 'Bad' : 'Good', message_id => "$fault-$i",
			body => qq({"fault": "$fault", "zero": 0}), headers => { aggregateid => $i % 7 });
	}
	$vhost->amqp->confirm;
	wait_for { -e $once } "$fault: it happens";
	wait_for { $db->value("select count(*) from effect where fault = '$fault'") >= 199 } "$fault: all good messages have their effect";
	wait_settled($config, $vhost, 'work');
	is($db->value("select count(*) from effect where fault = '$fault'"), 199, "$fault: once each");
	$worker->stop;
	is($vhost->count('work'), 0, "$fault: all is acked");
	my @letters = $vhost->drain('work.dead');
	cmp_ok(scalar @letters, '>=', $least, "$fault: the bad one is a dead letter");
	cmp_ok(scalar @letters, '<=', $most, "$fault: $most at most");
	is(scalar(grep { $_->{message_id} ne "$fault-100" } @letters), 0, "$fault: and no other");
}

# The master, just when it has started a runner: that ends with it. Its queue has a name that no other test's has.
(my $text = read_file($config)) =~ s/\bwork:/only_here:/;
my $worker = start_program({ env => { PAWL_FAULT => 'master.after_spawn:kill' } }, 'pawl-worker', '-c', write_file('other.conf', $text));
$worker->{sent}{KILL} = 1;
wait_for { !$worker->running } 'the master is killed just after it has started a runner';
wait_for { !grep { /runner only_here/ } map { Pawl::Process::title_of($_) } map { m{^/proc/(\d+)$} } glob('/proc/*') } 'that ends with it';
done_testing;
