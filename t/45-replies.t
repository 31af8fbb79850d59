#!/usr/bin/perl
# Answers: to whom, with what, when; and what happens to those that cannot be delivered.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test; use Pawl::Proxy;

my ($db, $vhost) = (migrated_db(), new_vhost());
$db->do("create table customer (id text primary key, name text, credit numeric, since date);"
	. " insert into customer values ('c1', 'Ann \"A\"', 12.50, '2026-01-02'), ('c2', null, -3, null), ('c3', 'Ann \"A\"', 0, null)");
my $config = write_config('pawl.conf', <<'END', uri => $vhost->uri, conninfo => $db->conninfo, run => tmp_dir());
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
queues: {
  ask: {
    dedup = "none";
    handlers: {
      one:   { type = "One";    use = "sql";  config: { statement = "select id, name, credit, since from customer where id = :/id";  reply = true; }; };
      name:  { type = "Name";   use = "sql";  config: { statement = "select id from customer where name = :/name";  reply = true; }; };
      must:  { type = "Must";   use = "sql";  config: { statement = "select id from customer where id = :/id";  expect = 1;  code = "nobody";  otherwise = "reject";  reply = true; }; };
      large: { type = "Large";  use = "sql";  config: { statement = "select repeat('x', :/n::int) as x";  reply = true; }; };
    };
  };
  book: {
    handlers: {
      spend: { type = "Spend";  use = "sql";  config: { reply = true;  statements = (
          "update customer set credit = credit - 1 where id = :/id and :/fail::text is null",
          "update customer set credit = credit - :/sum where id = :/id returning credit" ); }; };
    };
  };
};
END
is(run_program('pawlctl', 'check', '-c', $config)->{status}, 0, 'the configuration is good');
my $worker = start_program('pawl-worker', '-c', $config);
$worker->allow_log(qr/becomes a dead letter|cannot be published|a reply was/);
wait_consumer($vhost, $_) for qw(ask book);
my $amqp = $vhost->amqp;
$amqp->declare_queue('answers');
my $serial = 0;

sub ask
{
	my ($queue, $type, $body, %more) = @_;
	my $id = 'q' . ++$serial;
	$vhost->publish(routing_key => $queue, type => $type, message_id => $id, body => $body, reply_to => 'answers', correlation_id => "re-$id", %more);
	return $more{correlation_id} // "re-$id";
}

sub answer
{
	my ($id, $body, $name) = @_;
	my $answer;
	wait_for { $answer = $vhost->get('answers') } "$name: an answer";
	is($answer->{correlation_id}, $id, "$name: to this question");
	is($answer->{body}, $body, "$name: what it says");
	return $answer;
}

my $trace = '00-' . '1' x 32 . '-' . '2' x 16 . '-01';
my $answer = answer(ask('ask', 'One', '{"id": "c1"}', headers => { traceparent => $trace }), '{"id":"c1","name":"Ann \"A\"","credit":12.50,"since":"2026-01-02"}', 'a row');
is($answer->{content_type}, 'application/json', 'its content type');
like($answer->{headers}{traceparent}, qr/^00-1{32}-(?!2{16})[0-9a-f]{16}-01$/, 'the trace goes on, with a span of its own');
answer(ask('ask', 'One', '{"id": "c2"}'), '{"id":"c2","name":null,"credit":-3,"since":null}', 'nulls');
answer(ask('ask', 'One', '{"id": "none"}'), 'null', 'no row');
answer(ask('ask', 'One', '{"id": "c1"}', message_id => 'same'), '{"id":"c1","name":"Ann \"A\"","credit":12.50,"since":"2026-01-02"}', 'without keys: a question')
	for 1 .. 2;
answer(ask('ask', 'One', '{"id": "none"}', correlation_id => "\xe2\x82\xac" x 80), 'null', 'a correlation id that is not ASCII');
answer(ask('ask', 'Large', '{"n": 131000}'), '{"x":"' . 'x' x 131000 . '"}', 'a large one');

# No answer
for my $case ([ 'Name', '{"name": "Ann \\"A\\""}', 'reply_rows', qr/gave 2 rows.*json_agg/ ], [ 'Must', '{"id": "none"}', 'nobody', qr/gave 0 rows/ ],
    [ 'Large', '{"n": 140000}', 'bad_reply', qr/140008 bytes, 131072 are the most/ ]) {
	my ($type, $body, $code, $text) = @$case;
	my $letter;
	ask('ask', $type, $body);
	wait_for { $vhost->exists('ask.dead') && ($letter = $vhost->get('ask.dead')) } "$code: a dead letter";
	is($letter->{headers}{'x-pawl-reason'}, $code, 'its reason');
	like($letter->{headers}{'x-pawl-text'}, $text, 'and text');
}
$vhost->publish(routing_key => 'ask', type => 'One', body => '{"id": "c1"}');
$vhost->publish(routing_key => 'ask', type => 'One', body => '{"id": "c1"}', reply_to => 'nobody');
wait_settled($config, $vhost, 'ask');
wait_for { $worker->log =~ /level=info .*a reply was returned: 312 NO_ROUTE: who asked has gone/ } 'a queue that is not there is told of';
$vhost->publish(routing_key => 'ask', type => 'One', body => '{"id": "c1"}', reply_to => "x\0y");
wait_for { $vhost->count('ask.dead') } 'an address with a NUL is refused';
is($vhost->get('ask.dead')->{headers}{'x-pawl-reason'}, 'bad_field', 'as a bad field');
answer(ask('ask', 'One', '{"id": "none"}'), 'null', 'after all this');

# The effects come first, and once.
answer(my $first = ask('book', 'Spend', '{"id": "c3", "sum": 5, "fail": null}', message_id => 'spend'), '{"credit":-6}', 'after effects');
is($db->value("select credit from customer where id = 'c3'"), -6, 'they are committed');
ask('book', 'Spend', '{"id": "c3", "sum": 5, "fail": null}', message_id => 'spend');
wait_for { queue_status($config, 'book')->{duplicate} == 1 } 'the same once more is a duplicate';
answer(ask('book', 'Spend', '{"id": "c2", "sum": 1, "fail": null}'), '{"credit":-5}', 'the next');
is($db->value("select credit from customer where id = 'c3'"), -6, 'duplicates have no effects');
is($vhost->count('answers'), 0, 'and no answer');

# An asker that uses the broker's direct reply-to.
{
	my $asker = $vhost->connect;
	$asker->consume('amq.rabbitmq.reply-to', 0, 1);
	$asker->publish(routing_key => 'ask', type => 'One', body => '{"id": "c2"}', reply_to => 'amq.rabbitmq.reply-to', correlation_id => 'direct');
	my $direct = $asker->next_delivery(10);
	is($direct->{correlation_id}, 'direct', 'direct reply-to');
	is($direct->{body}, '{"id":"c2","name":null,"credit":-5,"since":null}', 'its answer');
	$asker->close;
}

# Many, and told to end meanwhile: who was answered for is answered.
my $questions = 3000;
$amqp->publish(routing_key => 'ask', type => 'One', body => '{"id": "c2"}', reply_to => 'answers', correlation_id => "n$_") for 1 .. $questions;
$amqp->confirm;
wait_for { $vhost->count('answers') > 100 } 'answers flow';
$worker->stop;
my %answered = map { $_->{correlation_id} => 1 } $vhost->drain('answers');
cmp_ok(scalar(keys %answered), '>', 100, 'some questions are done');
wait_for { $vhost->count('ask') + keys(%answered) >= $questions } 'the others are back';
is($vhost->count('ask'), $questions - keys %answered, 'and only they');

# Told to end while the connection for answers, which is made at first need, is being made.
{
	$amqp->purge('ask');
	my $proxy = Pawl::Proxy->start('127.0.0.1', $vhost->broker->port);
	my $port = $vhost->broker->port;
	my $far = write_file('far.conf', read_file($config) =~ s/(uri = "[^"]*):$port\b/"$1:" . $proxy->port/er);
	$worker = start_program('pawl-worker', '-c', $far);
	wait_consumer($vhost, 'ask');
	$proxy->hold;
	$vhost->publish(routing_key => 'ask', type => 'One', body => '{"id": "c2"}', reply_to => 'answers', correlation_id => "f$_") for 1 .. 20;
	wait_for { (queue_status($far, 'ask')->{done} // 0) == 20 } 'the questions are done';
	$worker->signal('TERM');
	$worker->wait_log(qr/queue=ask msg="closing, was draining/);
	is($vhost->count('answers'), 0, 'no answer can be given yet');
	$proxy->go;
	is($worker->wait, 0, 'it ends');	# stop() would be a second TERM: at once
	is($vhost->count('answers'), 20, 'then all are');
}

done_testing;
