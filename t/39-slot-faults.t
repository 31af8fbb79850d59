#!/usr/bin/perl
# A slot that is killed at the worst moments: what it was given is done once, by another.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

need_faults();
my $db = migrated_db();
$db->do('create table effects (n bigserial, key text, pad text)');
sub outcomes { return join(' ', map { $_->{outcome} } @_) }

for my $case ([ 'slot.in_handler:kill@3' => 0 ], [ 'slot.before_commit:kill' => 0 ], [ 'slot.after_commit:kill' => 5 ], [ 'slot.before_result:kill' => 5 ]) {
	my ($fault, $applied) = @$case;
	(my $point = $fault) =~ s/:.*//;
	my $first = Pawl::Slot->new(conninfo => $db->conninfo, consumer => $point, env => { PAWL_FAULT => $fault })->handler(script => Pawl::Slot::script_handler());
	my $second = Pawl::Slot->new(conninfo => $db->conninfo, consumer => $point)->handler(script => Pawl::Slot::script_handler());
	my @messages = map { Pawl::Slot::script("$point-$_", [ sql => 'insert into effects (key) values ($1)', "$point-$_" ]) } 1 .. 5;
	my $slot = $first->ready;
	$first->send($slot, 0, @messages);
	like($first->wait($slot)->{text}, qr/^was killed by SIGKILL/, "$point: the slot is killed there");
	$first->{ended}{$slot} = 1;
	wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot $point'") == 0 } "$point: its backend goes";
	is($db->value("select count(*) from effects where key like '$point-%'"), $applied, "$point: what is applied by then");
	is(outcomes($second->batch($second->ready, @messages)), join(' ', ($applied ? 'duplicate' : 'done') x 5), "$point: another slot gets the same");
	is($db->value("select count(*), count(distinct key) from effects where key like '$point-%'"), "5\x1f5", "$point: done once");
	$_->finish for $first, $second;
}

# Taken over while the first is at it: it stands before its COMMIT, another slot gets its messages, then it goes on. Small batches have not left the first by then,
# large ones hold their keys.
for my $case ([ small => '' ], [ large => 'x' x 2000 ]) {
	my ($name, $pad) = @$case;
	my $first = Pawl::Slot->new(conninfo => $db->conninfo, consumer => $name, env => { PAWL_FAULT => 'slot.before_commit:stop' })->handler(script => Pawl::Slot::script_handler());
	my $second = Pawl::Slot->new(conninfo => $db->conninfo, consumer => $name)->handler(script => Pawl::Slot::script_handler());
	my @messages = map { Pawl::Slot::script("$name-$_", [ sql => 'insert into effects (key, pad) values ($1, $2)', "$name-$_", $pad ]) } 1 .. 50;
	my ($slow, $quick) = ($first->ready, $second->ready);
	$first->send($slow, 0, @messages);
	my $pid = $first->pid($slow);
	wait_for { read_file("/proc/$pid/stat") =~ /\) T / } "$name: a slot stands before its COMMIT";
	$second->send($quick, 0, @messages);
	my $result;
	if ($pad) {
		wait_for { $db->value("select count(*) from pg_stat_activity where application_name = 'pawl-slot $name' and wait_event = 'transactionid'") } "$name: another waits for it";
	} else {
		$result = $second->wait_until($quick, 'result');
	}
	$first->kill($slow, 18);
	is(outcomes(@{ $first->wait_until($slow, 'result')->{outcomes} }), join(' ', ($pad ? 'done' : 'duplicate') x 50), "$name: the first goes on");
	$result //= $second->wait_until($quick, 'result');
	is(outcomes(@{ $result->{outcomes} }), join(' ', ($pad ? 'duplicate' : 'done') x 50), "$name: the second");
	is($db->value("select count(*), count(distinct key) from effects where key like '$name-%'"), "50\x1f50", "$name: done once");
	$_->finish for $first, $second;
}

done_testing;
