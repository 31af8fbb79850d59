#!/usr/bin/perl
# A relay is cut off from the database or from the broker, without a word: it stops publishing, and the other one takes over.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Outbox; use Pawl::Proxy;
use Time::HiRes qw(time);

my ($db, $vhost) = (migrated_db(), new_vhost());
my $slow = $ENV{PAWL_TEST_SLOW} || 1;
my ($n, @all) = (0);

# Relays with a way to the servers that can be stopped.
sub far
{
	my ($name) = @_;
	my $server = $db->server;
	my %proxy = (database => Pawl::Proxy->start('127.0.0.1', $server->port), broker => Pawl::Proxy->start('127.0.0.1', $vhost->broker->port));
	my $o = Pawl::Outbox->new(db => $db, vhost => $vhost, outbox => 'window = 50;', conninfo => $db->conninfo(port => $proxy{database}->port));
	my $port = $vhost->broker->port;
	my $text = read_file($o->{config});
	$text =~ s/:$port\//':' . $proxy{broker}->port . '\/'/e or die "no port in $text";
	$text =~ s/broker: \{/broker: { heartbeat = "1s"; /;
	write_file($o->{config}, $text);
	my $relay = $o->relay({ name => $name })->allow_log(qr/lost the |could not /);
	return { %proxy, relay => $relay, o => $o, name => $name };
}
my @far = map { far("far-$_") } 1, 2;
my ($leader) = wait_for { grep { $_->{relay}->log =~ /leading: / } @far } 'one of two leads';
$leader = (grep { $_->{relay}->log =~ /leading: / } @far)[0];
my $other = $leader == $far[0] ? $far[1] : $far[0];
$other->{relay}->wait_log(qr/standing by: /);
my $o = $leader->{o};

for my $what (qw(database broker)) {
	$o->emit_many(3000, 40, $n + 1);
	$n += 3000;
	wait_for { $o->count > 300 } "$what: publishing";
	kill('STOP', $leader->{$what}{pid});
	my $cut = time;
	my $before = $o->count;
	$other->{relay}->wait_log(qr/leading: /, 10);
	cmp_ok(time - $cut, '<', ($what eq 'database' ? 3 : 5) * $slow, "$what: the other one takes over");
	$o->emit_many(500, 40, $n + 1);
	$n += 500;
	$o->wait_empty("$what: all is published", 30);
	push @all, $o->take;
	kill('CONT', $leader->{$what}{pid});
	$leader->{relay}->wait_log(qr/standing by: /, 30);
	pass("$what: the one that was cut off stands by when it is back");
	($leader, $other) = ($other, $leader);
}
push @all, $o->take;
my ($seen) = first_seen(@all);
is(scalar @$seen, $n, 'nothing is lost');
is_deeply([ order_errors(@all) ], [], 'the first sight of each aggregate is in order');
note(sprintf('%d duplicates', @all - @$seen));
$_->{relay}->stop for @far;
done_testing;
