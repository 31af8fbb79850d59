#!/usr/bin/perl
# Real bodies go outbox -> relay -> broker -> worker -> table, and come out equal: 271 webhooks of GitHub (github-webhooks.jsonl in
# $PAWL_TEST_DATA or ../shared/data), and bodies of our own that are hard on JSON.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use JSON::PP ();

# type => body, as text: JSON::PP would mend what is to be hard.
my @bodies = (
	[ 'scalar', '"text"' ], [ 'scalar', '0' ], [ 'scalar', 'true' ], [ 'scalar', 'null' ], [ 'empty', '{}' ], [ 'empty', '[]' ],
	[ 'number', '{"price": 12.50, "digits": 1234567890123456789012345678901234567890, "small": 0.000000000000000000000000000001}' ],
	[ 'unicode', qq({"de": "Gr\xc3\xb6\xc3\x9fe", "ja": "\xe6\x97\xa5\xe6\x9c\xac", "out of the plane": "\xf0\x9f\x90\x98", "escaped": "\\u00e9\\ud83d\\ude00"}) ],
	[ 'escapes', '{"a\\"b": "c\\\\d\\n\\t\\u0001", "": "empty name", "~": 1, "/": 2, "a/b~c": 3}' ],
	[ 'deep', ('[' x 60) . '1' . (']' x 60) ], [ 'large', '{"text": "' . 'abcdefghij' x 30_000 . '"}' ],
	[ 'many', '{' . join(', ', map { qq("key$_": $_) } 1 .. 2000) . '}' ], [ 'sql', q({"it's": "$1 :name '; drop table x; --"}) ],
);
my ($file) = grep { -e } map { "$_/github-webhooks.jsonl" } $ENV{PAWL_TEST_DATA} // (), "$FindBin::Bin/../../shared/data";
if ($file) {
	my $json = JSON::PP->new->utf8->allow_nonref;
	open(my $lines, '<:raw', $file) or die "could not read $file: $!\n";
	while (my $line = readline($lines)) {
		my $hook = $json->decode($line);
		push @bodies, [ $hook->{event}, $json->encode($hook->{payload}) ];
	}
} else {
	note('no github-webhooks.jsonl here: built-in bodies only');
}

my ($source, $target, $vhost) = (migrated_db(), migrated_db(), new_vhost());
$target->do('create table arrived (id uuid primary key, type text, aggregate text, body text)');
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, source => $source->conninfo, target => $target->conninfo, run => tmp_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{target}"; };
queues: {
  hooks: {
    bind = ( { exchange = "hooks";  key = "#"; } );
    handlers: {
      all: {
        type = "*";
        use = "sql";
        config: { statement = "insert into arrived values (:id, :type, :header:aggregateid, :body)"; };
      };
    };
  };
};
outboxes: { hooks: { conninfo = "{source}";  exchange = "hooks"; }; };
END

my $worker = start_program('pawl-worker', '-c', $config);
wait_consumer($vhost, 'hooks');
my $relay = start_program('pawl-relay', '-c', $config);

my $number = 0;
my $sql = "create table sent (id uuid primary key, type text, aggregate text, body jsonb);\nbegin;\n";
for my $body (@bodies) {
	my ($type, $text) = @$body;
	my $aggregate = 'a' . ++$number % 50;
	$sql .= "with e as (select \$pawl\$$text\$pawl\$::jsonb as body) insert into sent"
	    . " select pawl.emit('hook', '$aggregate', '$type', body), '$type', '$aggregate', body from e;\n";
}
$source->do("$sql commit;");
wait_for { $target->value('select count(*) from arrived') >= @bodies } "all of $number bodies arrive";

my %sent = map { $_->[0] => $_ } $source->query('select id, type, aggregate, body::text from sent');
my %arrived = map { $_->[0] => $_ } $target->query('select id, type, aggregate, body::jsonb::text from arrived');
is(scalar keys %arrived, scalar keys %sent, 'each of them once');
my @different = grep { !$arrived{$_} || "@{$sent{$_}}" ne "@{$arrived{$_}}" } sort keys %sent;
is_deeply(\@different, [], 'and each is equal as JSON, with its id, type and aggregate')
    or diag(map { "$sent{$_}[1]: " . substr($sent{$_}[3], 0, 200) . "\n" } @different);
is($source->value('select count(*) from pawl.outbox'), 0, 'the outbox is empty');
is($target->value('select count(*) from pawl.inbox'), $number, 'the inbox has a key for each');
wait_settled($config, $vhost, 'hooks');
is($vhost->count('hooks.dead'), 0, 'there are no dead letters');
$relay->stop;
$worker->stop;
done_testing;
