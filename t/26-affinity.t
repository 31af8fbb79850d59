#!/usr/bin/perl
# Which slot gets what, and in which order: one aggregate, one slot; its messages in order, whatever comes back or dies; and one slow
# message holds up nobody else's acks. Slots are t/lib/fake-slot.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::FakeSlot;

my ($slots, $aggregates, $messages) = (3, 20, 600);
my $vhost = new_vhost();
my $fake = Pawl::FakeSlot->new;
my $config = write_file('pawl.conf', $fake->config($vhost, queue => "slots = $slots;  batch = 20;  prefetch = 200;"));
my $run = 0;

sub start
{
	my $worker = start_program({ env => { $fake->env } }, 'pawl-worker', '-c', $config, '--queue', 'work', @_);
	$worker->allow_log(qr/slot \d \(pid \d+\) was killed by SIGKILL/);
	return $worker;
}

# Messages "RUN-AGGREGATE-NUMBER"; the body may say what happens to one.
sub send_run
{
	my ($body_of) = @_;
	$run++;
	for my $i (1 .. $messages) {
		my $aggregate = $i % $aggregates;
		$vhost->amqp->publish(routing_key => 'work', type => 'Some', message_id => "$run-$aggregate-$i", body => $body_of->($i),
			headers => { aggregateid => "a$aggregate" });
	}
	$vhost->amqp->confirm;
	return;
}

# The last time that each message was handled is when it was done.
sub in_order
{
	my ($what) = @_;
	my (%last, %seen, @wrong, %pids);
	my @handled = grep { $_->{id} =~ /^$run-/ } $fake->handled;
	$last{ $handled[$_]{id} } = $_ for 0 .. $#handled;
	for my $at (sort { $a <=> $b } values %last) {
		my (undef, $aggregate, $number) = split(/-/, $handled[$at]{id});
		push @wrong, $handled[$at]{id} if $number < ($seen{$aggregate} // 0);
		$seen{$aggregate} = $number;
		$pids{$aggregate}{ $handled[$at]{pid} } = 1;
	}
	is(scalar keys %last, $messages, "$what: all are handled");
	is_deeply(\@wrong, [], "$what: each aggregate in its order");
	return \%pids;
}

# The first run declares the queue.
my $worker = start();
wait_consumer($vhost, 'work');
$worker->stop;

# As it should be.
send_run(sub { 'done' });
$worker = start('--drain');
is($worker->wait(30), 0, 'a run of many aggregates');
my $pids = in_order('undisturbed');
is_deeply([ map { scalar keys %$_ } values %$pids ], [ (1) x $aggregates ], 'each aggregate has one slot');
my %all = map { %$_ } values %$pids;
is(scalar keys %all, $slots, 'and all slots had some');
my $largest = 0;
my %size;
$largest = ++$size{ $_->{batch} } > $largest ? $size{ $_->{batch} } : $largest for $fake->handled;
is($largest, 20, 'batches are as large as they may be, and no larger');

# Messages that come back unapplied, others that were sent ahead behind them.
send_run(sub { $_[0] % 50 == 0 ? 'away 1' : 'done' });
$worker = start('--drain');
is($worker->wait(60), 0, 'a run in which messages come back');
in_order('with unapplied messages');

# Slots that are killed.
send_run(sub { 'sleep 2' });
$worker = start('--drain');
for my $i (1 .. 4) {
	wait_for { scalar(grep { $_->{id} =~ /^$run-/ } $fake->handled) > $i * 60 } "in the middle of work ($i)";
	my @slots = $worker->slots;
	kill('KILL', $slots[ $i % @slots ]{pid}) if @slots;
}
is($worker->wait(60), 0, 'a run in which slots are killed');
in_order('with killed slots');

# One slow message: what is done behind it is acked one by one, so the others go on, far beyond the prefetch.
$run++;
$vhost->publish(routing_key => 'work', type => 'Some', message_id => "$run-slow", body => 'sleep 8000', headers => { aggregateid => 'slow' });
$worker = start();
wait_for { scalar $fake->handled("$run-slow") } 'a slot has a slow message';
my ($slow) = $fake->handled("$run-slow");
# Of the first aggregates, those that another slot has.
my @other;
for my $aggregate (1 .. 30) {
	my $id = "$run-probe-$aggregate";
	$vhost->publish(routing_key => 'work', type => 'Some', message_id => $id, body => 'done', headers => { aggregateid => "a$aggregate" });
	push @other, $aggregate if poll(sub { scalar $fake->handled($id) }, 0.3);
	last if @other >= 3;
}
cmp_ok(scalar @other, '>=', 3, 'other slots work');
for my $i (1 .. 1000) {
	$vhost->amqp->publish(routing_key => 'work', type => 'Some', message_id => "$run-many-$i", body => 'done', headers => { aggregateid => "a$other[$i % @other]" });
}
$vhost->amqp->confirm;
wait_for { grep { $_->{id} eq "$run-many-1000" } $fake->handled } 'a thousand messages pass the slow one, with a prefetch of 200', 6;
$worker->stop;
is($vhost->count('work.dead'), 0, 'no message was charged');
my %left = map { $_->{message_id} => 1 } $vhost->drain('work');
is(scalar(grep { /many/ } keys %left), 0, 'the thousand are acked');
is(scalar(grep { $fake->handled($_) } keys %left), 0, 'what waited behind the slow one was given back');
done_testing;
