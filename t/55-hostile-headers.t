#!/usr/bin/perl
# Headers that no sane client sends: the worker neither dies nor loses anything, and a dead letter carries them on as they came.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

sub nested
{
	my ($depth) = @_;
	my $table = '';
	$table = "\0F" . pack('N/a', $table) for 1 .. $depth;
	return $table;
}

sub nested_arrays
{
	my ($depth) = @_;
	my $array = '';
	$array = 'A' . pack('N/a', $array) for 1 .. $depth;
	return "\1a$array";
}

my %every_type = (
	t => [ t => 1 ], b => [ b => -128 ], B => [ B => 255 ], s => [ s => -32768 ], u => [ u => 65535 ], I => [ I => -2147483648 ],
	i => [ i => 4294967295 ], l => [ l => '-9223372036854775808' ], f => [ f => 0.5 ], d => [ d => -1e300 ],
	T => [ T => 253402300799 ], D => [ D => [ 2, 1250 ] ], S => [ S => "text \xff\xfe\0 not UTF-8" ], x => [ x => "\0\1\2" ],
	V => [ 'V' ], F => { in => { deeper => 'x' } }, A => [ A => [ 'a', [ I => 1 ], [ A => [ [ 'V' ] ] ], { t => 'b' } ] ],
);
my %hostile = (
	'20,000 nested tables' => nested(20_000),
	'5,000 nested arrays' => nested_arrays(5_000),
	'a 64 KiB string' => "\4long" . 'S' . pack('N/a', 'x' x 65536),
	'a 120,000 byte string' => "\4long" . 'S' . pack('N/a', "\xff" x 120_000),
	'10,000 headers' => join('', map { pack('C/a', "h$_") . 't' . chr($_ % 2) } 1 .. 10_000),
	'one name a thousand times' => join('', map { "\4same" . 'I' . pack('N', $_) } 1 .. 1000),
	'an empty name' => "\0S" . pack('N/a', 'x'),
	'names with NUL and line feed' => pack('C/a', "a\0b\nc") . 'V',
	'our own names' => join('', map { pack('C/a', $_) . 'S' . pack('N/a', 'forged') } qw(x-pawl-attempt x-pawl-reason x-pawl-queue x-death aggregateid)),
	'our own names as tables' => join('', map { pack('C/a', $_) . 'F' . pack('N/a', '') } qw(x-pawl-attempt x-pawl-reason x-delivery-count aggregateid)),
	'a count of deliveries' => pack('C/a', 'x-delivery-count') . 'l' . pack('q>', 1000),
);

my ($db, $vhost) = (migrated_db(), new_vhost());
$db->do('create table seen (id text primary key, l text, t text)');
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  work: {
    handlers: {
      seen: { type = "Seen";  use = "sql";  config: { statement = "insert into seen values (:id, :header:l, :header:t)"; }; };
    };
  };
};
END
my $worker = start_program('pawl-worker', '-c', $config);
$worker->allow_log(qr/level=warning.*(becomes a dead letter|cannot be decoded|invalid AMQP data)/);
wait_consumer($vhost, 'work');
my @before = map { $_->{pid} } $worker->children;

my %refused;
for my $type (qw(Seen Unknown)) {
	for my $name (sort keys %hostile) {
		my $outcome = eval { $vhost->publish(routing_key => 'work', type => $type, message_id => "$type $name", raw_headers => $hostile{$name}, body => $name) };
		$refused{"$type $name"} = $@ || $outcome if ($outcome // '') ne 'ack';
	}
	$vhost->publish(routing_key => 'work', type => $type, message_id => "$type every type", headers => \%every_type);
	$vhost->publish(routing_key => 'work', type => $type, message_id => "$type plain");
}
note("the broker refused $_: $refused{$_}") for sort keys %refused;
# rabbitmq-c decodes no tables nested deeper than 100 from 0.14 on. Such a message is rejected into the dead letter queue.
my @deep = grep { !$refused{$_} } map { ("Seen $_", "Unknown $_") } grep { /nested/ } keys %hostile;
my %deep = map { $_ => 1 } @deep;
my @expected = grep { !$refused{$_} && !$deep{$_} } map { "Seen $_" } 'plain', 'every type', keys %hostile;
my $effects = sub { [ sort grep { !$deep{$_} } $db->column('select id from seen') ] };
wait_for { @{ $effects->() } >= @expected } 'all messages of the known type have their effect';
is_deeply($effects->(), [ sort @expected ], 'each of them');
is($db->value(q(select l from seen where id = 'Seen every type')), '-9223372036854775808', 'a 64-bit header comes as text');
is($db->value(q(select t from seen where id = 'Seen every type')), 'true', 'a boolean header comes as text');

my @dead = map { s/^Seen/Unknown/r } @expected;
wait_for { $vhost->count('work.dead') + $db->value('select count(*) from seen') >= @dead + @expected + @deep } 'all others are dead letters', 60;
my %dead = map { $_->{message_id} => $_ } $vhost->drain('work.dead');
is_deeply([ sort grep { !$deep{$_} } keys %dead ], [ sort @dead ], 'those of the unknown type');
is($dead{$_}{headers}{'x-pawl-reason'}, 'unknown_type', "$_: the reason") for @dead;
for my $id (sort @deep) {
	my $done = $db->value("select count(*) from seen where id = '$id'");
	my $letter = $dead{$id} && $dead{$id}{headers};
	ok(($done xor $letter && ($letter->{"x-pawl-reason"} || $letter->{"x-death"})), "$id: either done or a dead letter with its reason");
}
is(length($dead{'Unknown a 120,000 byte string'}{headers}{long} // ''), 120_000, 'a long header is carried on') if $dead{'Unknown a 120,000 byte string'};
if ($dead{'Unknown every type'}) {
	my %headers = %{ $dead{'Unknown every type'}{headers} };
	is_deeply([ @headers{qw(t b s I l T S x)} ], [ 1, -128, -32768, -2147483648, '-9223372036854775808', 253402300799, "text \xff\xfe\0 not UTF-8", "\0\1\2" ],
		'headers of every type are carried on');
	is_deeply($headers{F}, { in => { deeper => 'x' } }, 'and a table in them');
}
is($dead{'Unknown our own names'}{headers}{'x-pawl-queue'}, 'work', 'forged names of ours are replaced');
is_deeply([ map { $_->{pid} } $worker->children ], \@before, 'no process died');
$worker->stop;
done_testing;
