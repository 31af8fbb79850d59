#!/usr/bin/perl
# The master: runners and slots that die are replaced, SIGHUP changes what has changed and nothing on an error, TERM ends everything in order.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX ();
use Pawl::FakeSlot;

my $vhost = new_vhost();
my $fake = Pawl::FakeSlot->new;
my $serial = 0;
my $worker;
my $config = tmp_dir() . '/shop.conf';

sub configure { my (%queue) = @_; write_file('shop.conf', $fake->config($vhost, queues => join('', map { $fake->queue($_, $queue{$_}) } sort keys %queue))); return }

sub send_to
{
	my ($queue, @bodies) = @_;
	my @ids = map { "$queue-" . ++$serial } @bodies;
	my $at = 0;
	$vhost->amqp->publish(routing_key => $queue, type => 'Some', message_id => $ids[$at++], body => $_) for @bodies;
	$vhost->amqp->confirm;
	return @ids;
}

sub works
{
	my ($queue, $what) = @_;
	my ($id) = send_to($queue, 'done');
	wait_for { scalar $fake->handled($id) } $what;
	return;
}

sub runner { my ($queue) = @_; return map { $_->{pid} } grep { $_->{title} =~ /^pawl-worker: runner $queue\b/ } $worker->runners }
sub consumers { my ($queue) = @_; return ($vhost->count($queue))[1] }

# What is said to systemd: a child writes it to a file.
my $notify = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => tmp_dir() . '/notify') or die "notify: $!\n";
write_file('heard', '');
my $test = $$;
my $ear = fork() // die "fork: $!\n";
if ($ear == 0) {		# ends with the test, however that ends: it has the test's output open
	open(my $file, '>>', tmp_dir() . '/heard');
	while (getppid() == $test) {
		vec(my $ready = '', fileno($notify), 1) = 1;
		next if select($ready, undef, undef, 1) <= 0;
		defined $notify->recv($_, 4096) or last;
		syswrite($file, "$_\n");
	}
	POSIX::_exit(0);
}
my $heard_to = 0;
sub hears
{
	my ($pattern, $what) = @_;
	wait_for { substr(read_file(tmp_dir() . '/heard'), $heard_to) =~ $pattern } $what;
	$heard_to = length read_file(tmp_dir() . '/heard');
	return;
}

# A start that must fail.
configure(one => 'slots = 1;  colour = "blue";');
my $run = run_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config);
is($run->{status}, 78, 'a bad configuration: exit status 78');
like($run->{err}, qr/shop\.conf:\d+: queues\.one\.colour: /, 'with file, line and path');
configure(one => 'slots = 1;');
$fake->refuse(1);
$run = run_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config);
is($run->{status}, 78, 'handlers that do not start: exit status 78');
like($run->{err}, qr/told to refuse/, 'with what they say');
is(run_program({ env => { $fake->env } }, 'pawl-worker', '-t', '-c', $config)->{status}, 78, '-t, too');
$fake->refuse(0);
is(run_program({ env => { $fake->env } }, 'pawl-worker', '-t', '-c', $config)->{status}, 0, '-t of a good one: 0');
is(run_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '-q', 'none')->{status}, 78, 'a queue that is not configured: 78');
# Whoever asks for JSON gets nothing else, but from -t, which people read.
for my $case ([ 'colour = "blue"', 0, qr/shop\.conf:\d+: queues\.one\.colour: / ], [ '', 1, qr/told to refuse/ ], [ '', 0, qr/shop\.conf: queues: there is no queue "none"/, '-q', 'none' ]) {
	my ($setting, $refuse, $what, @more) = @$case;
	configure(one => "slots = 1;  $setting");
	$fake->refuse($refuse);
	$run = run_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--log-format', 'json', @more);
	my @lines = map { eval { JSON::PP::decode_json($_) } // { msg => "no JSON: $_" } } split(/\n/, $run->{err});
	is($run->{status}, 78, "JSON: $what: 78");
	is(scalar(grep { ($_->{level} // '') ne 'error' || $_->{msg} =~ /^no JSON/ } @lines), 0, 'JSON: events of level error') or diag($run->{err});
	like(join("\n", map { $_->{msg} } @lines), $what, 'JSON: that say it');
	next if @more;
	$run = run_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--log-format', 'json', '-t');
	like($run->{err}, qr/^(?!\{).*$what/m, '-t: a line');
	unlike($run->{err}, qr/^\{/m, '-t: no JSON');
}
$fake->refuse(0);
configure(one => 'slots = 1;');
is(run_program('pawl-worker', '--nonsense')->{status}, 64, 'an unknown option: 64');
is(run_program('pawl-worker', 'operand')->{status}, 64, 'an operand: 64');
is(run_program('pawl-worker', '--log-format', 'xml')->{status}, 64, 'an unknown log format: 64');
like(run_program('pawl-worker', '--version')->{out}, qr/^pawl-worker \(Pawl\) \d/, '--version');

# A start that must not.
configure(one => 'slots = 2;', two => 'slots = 1;');
$worker = start_program({ env => { $fake->env, NOTIFY_SOCKET => tmp_dir() . '/notify' } }, 'pawl-worker', '-c', $config);
$worker->allow_log(qr/the runner of queue \\"\w+\\" was killed by SIGKILL, it is started again/, qr/slot \d \(pid \d+\) was killed by SIGKILL/);
hears(qr/READY=1/, 'systemd hears READY=1');
wait_consumer($vhost, $_) for qw(one two);
hears(qr/STATUS=2 queues, 2 consuming/, 'and how many queues are consumed');
works($_, "queue $_ is worked on") for qw(one two);
my ($master_title) = map { s/\0.*//sr } read_file('/proc/' . $worker->pid . '/cmdline');
is($master_title, 'pawl-worker: master shop', 'the title of the master');
is(scalar(my @runners = map { runner($_) } qw(one two)), 2, 'and of a runner for each queue');

# SIGKILL of a runner.
my ($old) = runner('one');
my ($other) = runner('two');
my @slots = grep { $_->{parent} == $old } $worker->slots;
kill('KILL', $old);
wait_for { my ($new) = runner('one'); $new && $new != $old } 'a runner that is killed is started again';
wait_for { !grep { Pawl::Process::lives($_->{pid}) } @slots } 'its slots have ended with it';
works('one', 'the new one works');
is((runner('two'))[0], $other, 'the other runner has noticed nothing');
wait_for { consumers('one') == 1 } 'the queue has one consumer';

# SIGKILL in the middle of work: nothing is lost.
my @ids = send_to('one', ('sleep 3') x 60);
wait_for { $fake->handled >= 10 } 'it works';
kill('KILL', runner('one'));
wait_for { my %seen = map { $_->{id} => 1 } $fake->handled; @ids == grep { $seen{$_} } @ids } 'all are handled nevertheless';
$fake->forget;

# HUP: nothing has changed.
my @before = map { runner($_) } qw(one two);
$worker->signal('HUP');
hears(qr/RELOADING=1\nMONOTONIC_USEC=\d+\n(.*\n)*READY=1/, 'HUP: systemd hears RELOADING=1 and READY=1');
$worker->wait_log(qr/reloaded: 2 queues, 0 changed, 0 new, 0 removed/);
is_deeply([ map { runner($_) } qw(one two) ], \@before, 'without a change nobody is replaced');

# HUP: errors, all of them, and nothing changes.
$worker->allow_log(qr/the new configuration is not good, the old one is kept/, qr/shop\.conf:\d+: queues\.(one\.slots|two\.batch)/);
configure(one => 'slots = 0;', two => 'batch = "many";');
$worker->signal('HUP');
$worker->wait_log(qr/the old one is kept/);
like($worker->log, qr/shop\.conf:\d+: queues\.one\.slots/, 'a bad configuration: the first error');
like($worker->log, qr/^time=\S+ level=error .*shop\.conf:\d+: queues\.two\.batch/m, 'and the second, each an event of the log');
is_deeply([ map { runner($_) } qw(one two) ], \@before, 'nobody is replaced');
works($_, "queue $_ is worked on") for qw(one two);
$fake->refuse(1);
configure(one => 'slots = 1;', two => 'slots = 1;');
$worker->allow_log(qr/told to refuse/);
$worker->signal('HUP');
$worker->wait_log(qr/the old one is kept/);
like($worker->log, qr/^time=\S+ level=error program=pawl-worker role=check .*told to refuse/m, 'handlers that do not start');
is_deeply([ map { runner($_) } qw(one two) ], \@before, 'nobody is replaced');
$fake->refuse(0);

# HUP: one changes, one goes, one comes; the old runner finishes what was delivered to it.
@ids = send_to('one', ('sleep 20') x 40);
wait_for { $fake->handled($ids[0]) } 'the old runner is in the middle of work';
configure(one => 'slots = 1;', three => 'slots = 1;');
$worker->signal('HUP');
$worker->wait_log(qr/reloaded: 2 queues, 1 changed, 1 new, 1 removed/);
wait_consumer($vhost, 'three');
works('three', 'the new queue is worked on');
wait_for { !runner('two') } 'the removed one not any more';
wait_for { my @r = runner('one'); @r == 1 && $r[0] != $before[0] } 'the changed one has a new runner only';
like($worker->log, qr/role=runner pid=$before[0] queue=one msg="retiring, was consuming/, 'the old one has retired');
wait_for { my %seen = map { $_->{id} => 1 } $fake->handled; @ids == grep { $seen{$_} } @ids } 'all messages of the time of change are handled';
is(scalar(grep { my $id = $_; 1 < $fake->handled($id) } @ids), 0, 'and none of them twice');
works('one', 'the changed queue is worked on');

# TERM.
send_to('one', ('sleep 20') x 20);
wait_for { scalar grep { $_->{body} eq 'sleep 20' } $fake->handled } 'in the middle of work';
my @all = $worker->children;
$worker->stop;
hears(qr/STOPPING=1/, 'TERM: systemd hears STOPPING=1');
is(scalar(grep { Pawl::Process::lives($_->{pid}) } @all), 0, 'nothing is left behind');
$vhost->amqp->purge('one');

# The log is JSON to the last line, also when a reload fails.
$worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--log-format', 'json');
wait_for { consumers('one') && consumers('three') } 'another one works';
$worker->allow_log(qr/"role":"check"/, qr/the new configuration is not good/);
configure(one => 'slots = 0;', three => 'batch = "many";');
$worker->signal('HUP');
$worker->wait_log(qr/the old one is kept/);
$fake->refuse(1);
configure(one => 'slots = 1;', three => 'slots = 1;');
$worker->signal('HUP');
$worker->wait_log(qr/the old one is kept/);
$fake->refuse(0);
my @lines = split(/\n/, $worker->log);
my @events = grep { $_ } map { eval { JSON::PP::decode_json($_) } } @lines;
is(scalar @events, scalar @lines, 'each line is JSON') or diag(@lines);
my @errors = grep { $_->{level} eq 'error' && $_->{role} eq 'check' } @events;
like(join("\n", map { $_->{msg} } @errors), qr/^\S+shop\.conf:\d+: queues\.one\.slots.*\n\S+shop\.conf:\d+: queues\.three\.batch.*\n.*told to refuse/, 'the errors of a reload are events');

# SIGKILL of the master takes all with it.
@all = $worker->children;
$worker->kill;
wait_for { !grep { Pawl::Process::lives($_->{pid}) } @all } 'a killed master leaves nothing behind';

# --drain of several queues.
send_to($_, ('done') x 5) for qw(one three);
$worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--drain');
is($worker->wait(30), 0, '--drain ends with status 0');
is($vhost->count('one') + $vhost->count('three'), 0, 'when all queues are empty');

# TERM twice.
send_to('one', 'sleep 60000');
$worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config);
$worker->allow_log(qr/told to end at once/);
wait_for { grep { $_->{body} eq 'sleep 60000' } $fake->handled } 'a slot is busy for a minute';
$worker->signal('TERM');
$worker->wait_log(qr/draining/);
$worker->signal('TERM');
wait_for { !$worker->running } 'a second TERM ends everything at once', 3;
is($worker->status, 0, 'with status 0');
kill('KILL', $ear);
waitpid($ear, 0);
done_testing;
