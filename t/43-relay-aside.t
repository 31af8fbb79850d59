#!/usr/bin/perl
# Events that cannot be published: parked, dropped or held by policy; pawlctl outbox lists them, tries them again, drops them.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use JSON::PP ();
use Pawl::Outbox;

sub ctl { my ($o, @arguments) = @_; my ($command, @rest) = @arguments; return run_program('pawlctl', 'outbox', $command, '-c', $o->config(0), @rest) }
sub listed { my ($o, @arguments) = @_; return JSON::PP->new->utf8->decode(ctl($o, 'list', '--json', @arguments)->{out}) }
sub dead { my ($o) = @_; return $o->db->query('select number, event, aggregateid, type, reason, text from pawl.outbox_dead order by number') }
sub status_of { my ($o) = @_; return JSON::PP->new->utf8->decode(run_program('pawlctl', 'status', '-c', $o->config(0), '--json')->{out})->{relay}{outboxes}[0] }
sub bodies { my ($o) = @_; return [ map { $_->{body} } $o->take ] }

# The queue "all" takes type "good" only.
sub outbox
{
	my (%option) = @_;
	my $o = Pawl::Outbox->new(bind => undef, %option);
	$o->vhost->amqp->declare_queue('all');
	$o->vhost->amqp->bind('all', 'events', 'good');
	return $o;
}

# Park: the others of the aggregate go on, in order; what cannot be a message goes, too.
{
	my $o = outbox(outbox => 'unroutable = "park"; refused = "park"; max_body = "100KiB";');
	$o->emit('a', 1, type => 'good');
	$o->emit('a', 2, type => 'bad');
	$o->emit('a', 3, type => 'good');
	$o->emit(undef, 4, type => 'bad');
	$o->emit('b', 5, type => 'good', payload => '{"x": "' . 'y' x 200_000 . '"}');
	$o->emit('b', 6, type => 'good');
	my $relay = $o->relay->allow_log(qr{pawl\.outbox_dead|was dropped| waits[:,] |could not park});
	$o->wait_empty('all of them left the table');
	my ($all, $of) = first_seen($o->take);
	is_deeply([ sort { $a <=> $b } @$all ], [ 1, 3, 6 ], 'what can be published is');
	is_deeply($of->{a}, [ 1, 3 ], 'in order');
	my @dead = dead($o);
	is_deeply([ sort map { "$_->[3] $_->[4]" } @dead ], [ 'bad unroutable', 'bad unroutable', 'good refused' ], 'the others are parked, with the reason');
	my ($bad) = grep { $_->[3] eq 'bad' } @dead;
	like($bad->[5], qr/^no queue is bound to exchange "events" for routing key "bad"$/, 'in words');
	$relay->wait_log(qr/level=warning .*event \d+ was put into pawl\.outbox_dead: .*; see pawlctl outbox list --dead/);
	is(status_of($o)->{parked}, 3, 'they are counted');
	my $text = ctl($o, 'list', '--dead')->{out};
	like($text, qr/OUTBOX +NUMBER +EVENT.*^ +orders +\d+ +\d+ +order\/a +bad +unroutable/ms, 'and listed') or diag($text);
	is(scalar @{ listed($o, '--dead') }, 3, 'as JSON, too');
	my $overview;
	wait_for { ($overview = ctl($o, 'list')->{out}) =~ /orders +pawl\.outbox +leading +0 +0 +3/ } 'the overview counts them' or diag($overview);

	# Put back: as they were, behind what went meanwhile.
	$o->vhost->amqp->bind('all', 'events', 'bad');
	my ($number) = map { $_->[0] } grep { defined $_->[2] && $_->[2] eq 'a' } @dead;
	my $id = $o->db->value("select original->>'id' from pawl.outbox_dead where number = $number");
	$o->emit('a', 7, type => 'good');
	my $run = ctl($o, 'retry', '--dead', 'orders', $number);
	is("$run->{status} $run->{out}$run->{err}", "0 1 put back\n", 'retry of one');
	$o->wait_empty('is published');
	my @messages = $o->take;
	is_deeply((first_seen(@messages))[1]{a}, [ 7, 2 ], 'behind the others');
	is($messages[1]{message_id}, $id, 'with its id');
	$run = ctl($o, 'retry', '--dead', 'orders', $number);
	is($run->{status}, 65, 'a second time: it is not there: 65');
	like($run->{err}, qr/1 of 1 are not there/, 'and said');
	is(ctl($o, 'drop', '--dead', '--all', 'orders')->{out}, "2 dropped\n", 'drop of all');
	is(ctl($o, 'list', '--dead')->{out}, "nothing was put aside\n", 'they are gone');
	is(ctl($o, 'drop', '--dead', '--all', 'orders')->{out}, "0 dropped\n", 'again: nothing');

	# Nothing behind a parked event goes before that is committed.
	$o->vhost->amqp->unbind('all', 'events', 'bad');
	my $locker = $o->db->session;
	$locker->query('begin; lock table pawl.outbox_dead in share mode');
	$o->emit('c', 8, type => 'bad');
	$o->emit('c', 9, type => 'good');
	$relay->wait_log(qr/level=warning .*could not park 1 events that cannot be published, trying again: .*lock timeout/);
	is($o->count, 0, 'while it cannot be parked, its successor waits');
	$locker->close;
	$o->wait_empty('then it goes');
	is_deeply((first_seen($o->take))[0], [9], 'and the successor is out');

	# Many at once.
	$o->db->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload) select 'order', 'm' || i % 100, case when i % 2 = 0 then 'good' else 'bad' end,"
	    . " jsonb_build_object('n', i, 'a', 'm' || i % 100) from generate_series(1, 2000) i");
	$o->wait_empty('two thousand, every other one unroutable', 30);
	is($o->db->value('select count(*) from pawl.outbox_dead'), 1001, 'a thousand and one parked');
	is_deeply([ order_errors($o->take) ], [], 'the others in order');
	$relay->stop;
	ok(!-e tmp_dir() . '/relay1.relay.blocked', 'and leaves no list');
}

# One that cannot be parked holds up few of the others.
{
	my $o = outbox(outbox => 'unroutable = "park";');
	$o->db->do(q{create function picky() returns trigger language plpgsql as $$ begin if new.aggregateid = 'm60' then raise 'no'; end if; return new; end $$});
	$o->db->do('create trigger picky before insert on pawl.outbox_dead for each row execute function picky()');
	$o->db->do("insert into pawl.outbox (aggregatetype, aggregateid, type) select 'order', 'm' || i, 'bad' from generate_series(1, 120) i");
	my $relay = $o->relay->allow_log(qr{pawl\.outbox_dead|could not park});
	$o->db->do(q{insert into pawl.outbox (aggregatetype, aggregateid, type) values ('order', E'a\\u009b\\u001bb', 'bad')});
	wait_for { $o->left == 1 } 'all but one are parked', 30;
	like(ctl($o, 'list', '--dead')->{out}, qr{ order/a\?\??\?b }, 'no control characters are printed');
}

# The aggregate goes on when a row is out, so that is on disk whatever the database's setting is.
for my $policy ('park', 'drop') {
	my $o = outbox(outbox => qq{unroutable = "$policy";});
	$o->db->do('alter database ' . $o->db->name . ' set synchronous_commit = off; create table said (how text)');
	$o->db->do(q{create function say() returns trigger language plpgsql as $$ begin insert into said values (current_setting('synchronous_commit')); return null; end $$});
	$o->db->do('create constraint trigger say after delete on pawl.outbox deferrable initially deferred for each row execute function say()');
	$o->emit('a', 1, type => 'bad');
	my $relay = $o->relay->allow_log(qr{pawl\.outbox_dead|was dropped});
	$o->wait_empty($policy);
	is_deeply([ $o->db->column('select how from said') ], ['on'], 'its commit is waited for');
}

# What is to be parked is mended meanwhile, by a delete and an insert of the same number. It was not published: it must not be deleted.
{
	my $o = outbox(outbox => 'unroutable = "park";');
	my $relay = $o->relay->allow_log(qr{pawl\.outbox_dead|could not (?:park|be parked)});
	$relay->wait_log(qr/leading: publishing/);
	my $locker = $o->db->session;
	$locker->query('begin; lock table pawl.outbox_dead in share mode');
	my $seq = $o->emit('a', 1, type => 'bad');
	$o->emit('a', 2, type => 'good');
	$relay->wait_log(qr/could not park/);
	my $mender = $o->db->session;
	$mender->query("begin; delete from pawl.outbox where seq = $seq");
	$mender->query("insert into pawl.outbox (seq, aggregatetype, aggregateid, type, payload) overriding system value values ($seq, 'order', 'a', 'good', '{\"n\": 1, \"a\": \"a\"}')");
	$locker->query('rollback');
	wait_for { $o->db->value('select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())'
	    . " or not granted and locktype = 'transactionid'") } 'the relay waits for the row';
	$mender->query('commit');
	$relay->wait_log(qr/could not be parked: somebody has deleted them/);
	$o->wait_empty('it is looked at again');
	is_deeply((first_seen($o->take))[1]{a}, [ 1, 2 ], 'and published, in its place');
	is($o->db->value('select count(*) from pawl.outbox_dead'), 0, 'and not parked');
}

# What is to be parked and stays in the table waits, each by itself, and is listed with its own reason.
{
	my $o = outbox(outbox => 'unroutable = "park"; refused = "park"; max_body = "100KiB";');
	$o->db->do(q{create function keep() returns trigger language plpgsql as $$ begin return null; end $$});
	$o->db->do('create trigger keep before delete on pawl.outbox for each row execute function keep()');
	my %is = map { $_ => 'unroutable' } $o->emit('a', 1, type => 'bad'), $o->emit('b', 2, type => 'bad'), $o->emit(undef, 3, type => 'bad');
	$is{ $o->emit('c', 4, type => 'good', payload => '{"x": "' . 'y' x 200_000 . '"}') } = 'refused';
	my $relay = $o->relay->allow_log(qr{could not be parked|was put into pawl\.outbox_dead});
	$relay->wait_log(qr/could not be parked: .*a trigger or rule keeps them in table pawl\.outbox/);
	my %listed;
	wait_for { %listed = map { $_->{event} => $_->{reason} } @{ listed($o, '--blocked') }; keys %listed == 4 } 'all that cannot be parked wait';
	is_deeply(\%listed, \%is, 'each for its own reason');
	$o->db->do('drop trigger keep on pawl.outbox');
	$o->wait_empty('nothing keeps them any more');
	is_deeply([ sort map { $_->[4] } dead($o) ], [ 'refused', ('unroutable') x 3 ], 'they are parked');
}

# Who starts while a table is locked waits, and says for which.
{
	my $o = outbox(outbox => 'unroutable = "park";');
	my $locker = $o->db->session;
	my $relay;
	for my $table ('pawl.outbox_dead', 'pawl.outbox') {
		$locker->query("begin; lock table $table in access exclusive mode");
		$relay = $o->relay->allow_log(qr{cannot relay: });
		$relay->wait_log(qr/cannot relay: table \Q$table\E is locked by another session .*: .*lock timeout/);
		$relay->stop if $table eq 'pawl.outbox_dead';
		$locker->query('rollback');
	}
	$relay->wait_log(qr/table pawl\.outbox can be relayed now/);
}

# The relay ends while rows without aggregate that waited for their exchange are being parked: nothing of them stays behind (with --asan).
{
	my $o = outbox(outbox => 'unroutable = "park";');
	$o->vhost->amqp->delete_exchange('events');
	$o->emit(undef, $_, type => 'bad') for 1 .. 2;
	my $relay = $o->relay->allow_log(qr{ waits[:,] |could not park});
	$relay->wait_log(qr/waits, with all/);
	my $locker = $o->db->session;
	$locker->query('begin; lock table pawl.outbox_dead in share mode');
	$o->vhost->amqp->declare_exchange('events');
	$relay->wait_log(qr/could not park/);
	$relay->stop;
	is($o->left, 2, 'what was not parked is in the table');
}

# A statement that the server refuses, whatever is looked at afresh: that is not done over and over, each time with the event published again.
{
	my $o = outbox();
	$o->db->do(q{create function refuse() returns trigger language plpgsql as $$ begin raise 'no' using errcode = 'insufficient_privilege'; end $$});
	$o->db->do('create trigger refuse before delete on pawl.outbox for each row execute function refuse()');
	my $relay = $o->relay->allow_log(qr{could not delete});
	$o->emit('a', 1, type => 'good');
	wait_for { 3 == (() = $relay->log =~ /looking at table pawl\.outbox afresh/g) } 'it is looked at three times';
	my @times = $relay->log =~ /^time=\S+T(\S+)Z .*looking at table/mg;
	my ($first, $last) = map { my ($h, $m, $s) = split /:/; ($h * 60 + $m) * 60 + $s } @times[ 0, 2 ];
	cmp_ok($last - $first + ($last < $first ? 86400 : 0), '>=', 0.7, 'with a pause');
	$o->db->do('drop trigger refuse on pawl.outbox');
	$o->wait_empty('and then it is well');
}

# Drop.
{
	my $o = outbox(outbox => 'unroutable = "drop";');
	$o->emit('a', $_, type => $_ % 2 ? 'good' : 'bad') for 1 .. 6;
	my $relay = $o->relay->allow_log(qr{pawl\.outbox_dead|was dropped| waits[:,] |could not park});
	$o->wait_empty('all of them left the table');
	is_deeply((first_seen($o->take))[0], [ 1, 3, 5 ], 'what can be published is, in order');
	is($o->db->value('select count(*) from pawl.outbox_dead'), 0, 'nothing is parked');
	$relay->wait_log(qr/level=warning .*event \d+ was dropped: no queue is bound/);
	is(status_of($o)->{dropped}, 3, 'they are counted');

	# A missing exchange is no reason to drop, what cannot be a message neither.
	$o->vhost->amqp->delete_exchange('events');
	$o->emit('a', 7, type => 'bad');
	$relay->wait_log(qr/waits, with all that goes to that exchange: exchange \\"events\\" does not exist/);
	is($o->left, 1, 'a missing exchange drops nothing');
}

# Hold, listed; tried when told; dropped by hand.
{
	my $o = outbox(outbox => 'max_body = "100KiB";');
	my ($name) = $o->config(0) =~ m{([^/]+)\.conf$};
	mkdir tmp_dir() . "/$name.relay.blocked.tmp" or die;
	my $relay = $o->relay->allow_log(qr{pawl\.outbox_dead|was dropped| waits[:,] |could not park|cannot list});
	my $bad = $o->emit('a', 1, type => 'bad');
	$o->emit('a', 2, type => 'good');
	my $large = $o->emit('b', 3, type => 'good', payload => '{"x": "' . 'y' x 200_000 . '"}');
	$o->emit('b', 4, type => 'good');
	my $alone = $o->emit(undef, 5, type => 'bad');
	$relay->wait_log(qr/pawlctl outbox cannot list what waits: could not write/);
	rmdir tmp_dir() . "/$name.relay.blocked.tmp" or die;
	my $list;
	wait_for { @{ $list = listed($o, '--blocked') } == 3 } 'what waits is listed';
	my %by = map { $_->{event} => $_ } @$list;
	is_deeply([ map { $_->{reason} } @by{ $bad, $large, $alone } ], [ 'unroutable', 'refused', 'unroutable' ], 'with its reason');
	is("$by{$bad}{outbox} $by{$bad}{aggregatetype} $by{$bad}{aggregateid}", 'orders order a', 'outbox and aggregate');
	ok(!exists $by{$alone}{aggregateid}, 'one has none');
	like($by{$large}{text}, qr/the payload is 200009 bytes long/, 'and the text');
	like($by{$bad}{since}, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'since when');
	my $text = ctl($o, 'list', '--blocked')->{out};
	like($text, qr{ orders +$bad +order/a +unroutable +20\S+ +no queue is bound to exchange "events" for routing key "bad"$}m, 'as a table') or diag($text);
	wait_for { status_of($o)->{pending} == 5 } 'what is held counts as pending';
	is(status_of($o)->{confirmed}, 0, 'and not as confirmed');

	my $run = ctl($o, 'drop', '--blocked', 'orders', 999_999);
	is($run->{status}, 65, 'an event that does not wait is not dropped: 65');
	like($run->{err}, qr/event "999999" does not wait/, 'and said');
	is(ctl($o, 'drop', '--blocked', 'orders', $large)->{out}, "1 dropped\n", 'drop of one that waits');
	wait_for { $o->count == 1 } 'its successor goes';
	is_deeply((first_seen($o->take))[0], [4], 'that one');

	$o->vhost->amqp->bind('all', 'events', 'bad');
	$run = ctl($o, 'retry', '--blocked');
	is("$run->{status} $run->{out}", "0 pawl-relay tries what waits now\n", 'retry');
	$relay->wait_log(qr/told to try what waits now/);
	$o->wait_empty('all goes on');
	is_deeply((first_seen($o->take))[1]{a}, [ 1, 2 ], 'in order');
	wait_for { !@{ listed($o, '--blocked') } } 'the list is empty';
	is(ctl($o, 'list', '--blocked')->{out}, "nothing waits\n", 'and says so');

	# The first of a thousand of one aggregate: all of them are pending, one is listed.
	$o->vhost->amqp->unbind('all', 'events', 'bad');
	$o->db->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload) select 'order', 'm', 'bad', '{}' from generate_series(1, 1000)");
	wait_for { my $l = listed($o, '--blocked'); @$l == 1 && $l->[0]{aggregateid} eq 'm' } 'one of a thousand is listed';
	wait_for { status_of($o)->{pending} == 1000 } 'a thousand are pending', 20;
	is(ctl($o, 'drop', '--blocked', '--all', 'orders')->{out}, "1 dropped\n", 'drop of all that wait: not of those behind');
	wait_for { my $l = listed($o, '--blocked'); @$l == 1 && $o->left == 999 } 'the next one waits';
	$relay->kill('KILL');
	$relay->wait(10);
	$run = ctl($o, 'retry', '--blocked');
	is($run->{status}, 69, 'without a relay: 69');
	like($run->{err}, qr/pawl-relay does not run here: process \d+ is gone/, 'and said');
	$run = ctl($o, 'list', '--blocked');
	is("$run->{status} $run->{out}", '69 ', 'a list of a relay that is gone is not shown');
	like(ctl($o, 'list')->{out}, qr/orders +pawl\.outbox +down +999 +- +0/, 'the overview says so');
}

# Two relays: who does not lead says so.
{
	my $o = outbox();
	my $first = $o->relay;
	$first->wait_log(qr/leading: publishing/);
	my $second = $o->relay;
	$second->wait_log(qr/standing by/);
	my $run = run_program('pawlctl', 'outbox', 'list', '--blocked', '-c', $o->config(1));
	is($run->{status}, 69, 'a relay that stands by: 69');
	like($run->{err}, qr/outbox orders: this relay does not lead it \(standby\); ask on the host of the one that does/, 'and said');
}

# Other tables: parked as they are, put back as they were.
for my $case (
	[ 'bytes', 'id bigint generated always as identity primary key, topic text, payload bytea, created_at timestamptz default now()', '', q{'\x00ff5c22'::bytea} ],
	[ 'json', 'id uuid primary key default gen_random_uuid(), topic text, payload json, created_at timestamp default now(), size int generated always as (length(topic)) stored', '',
		q{'{"a":  1,"a":2 }'::json} ],
	[ 'null of JSON', 'id uuid primary key default gen_random_uuid(), topic text, payload jsonb, created_at timestamptz default now(), "a\'b\\" json default \'null\', more json', '', q{'null'::jsonb} ],
	[ 'marked', 'id bigserial primary key, topic text, payload text, created_at timestamptz default now(), sent boolean not null default false', 'sent = "sent";', q{E'"a"\\\\\n'} ],
	[ 'marked when', 'id uuid primary key default gen_random_uuid(), topic text, payload jsonb, created_at timestamptz default now(), gone timestamptz', 'sent = "gone";', q{'[1]'::jsonb} ],
) {
	my ($name, $columns, $more, $payload) = @$case;
	my $db = migrated_db();
	$db->do(qq{create schema "S 1"; create table "S 1"."Out box" ($columns)});
	my $o = outbox(db => $db, outbox => qq{table = "S 1.Out box"; $more routing_key = "{topic}"; unroutable = "park"; columns: { aggregateid = "topic"; };});
	my $check = run_program('pawlctl', 'check', '-c', $o->config(0));
	is($check->{status}, 0, "$name: checked") or diag($check->{err});
	$db->do(qq{insert into "S 1"."Out box" (topic, payload) values ('bad', $payload)});
	my $before = $db->value(q{select md5((to_jsonb(t) - array['sent', 'gone', 'id'])::text) || payload::text from "S 1"."Out box" t});
	my $relay = $o->relay->allow_log(qr{pawl\.outbox_dead|was dropped| waits[:,] |could not park});
	wait_for { scalar dead($o) } "$name: parked";
	my $published = $more ? $more =~ /gone/ ? 'gone is not null' : 'sent' : 'true';
	my $rows = qq{select count(*) from "S 1"."Out box" where $published};
	is($db->value($rows), $more ? 1 : 0, "$name: out of the way");
	$relay->stop;
	$db->do(q{delete from "S 1"."Out box"}) if $name eq 'marked when';	# as its retention does
	my $run = ctl($o, 'retry', '--dead', '--all', 'orders');
	is("$run->{status} $run->{out}$run->{err}", "0 1 put back\n", "$name: put back");
	is($db->value(q{select md5((to_jsonb(t) - array['sent', 'gone', 'id'])::text) || payload::text from "S 1"."Out box" t}), $before, "$name: the row is as it was");
	is($db->value($rows), $more ? 0 : 1, "$name: to be published");
	is($db->value(q{select payload::text || "a'b\\"::text || (more is null) from "S 1"."Out box"}), 'nullnulltrue', 'null of JSON is not null of SQL') if $name eq 'null of JSON';
	$o->vhost->amqp->bind('all', 'events', 'bad');
	$relay = $o->relay;
	wait_for { $o->count == 1 } "$name: published";
	is(bodies($o)->[0], $name eq 'bytes' ? "\x00\xff\x5c\x22" : $db->value("select ($payload)::text"), "$name: byte for byte");
}

# A database in which a text may be anything: told.
{
	my $name = 'ascii_' . $$;
	postgres()->db('postgres')->do("create database $name encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'");
	my $db = postgres()->db($name);
	$db->do('create table events (seq bigint generated always as identity primary key, type text, payload text)');
	my $run = run_program('pawlctl', 'check', '-c', outbox(db => $db, outbox => 'table = "events";')->config(0));
	is($run->{status}, 0, 'SQL_ASCII: no error');
	like($run->{err}, qr/outboxes\.orders: the database has the encoding SQL_ASCII: a row of public\.events that is no UTF-8 stops this outbox/, 'but told');
	postgres()->db('postgres')->do("drop database $name");
}

# A table that takes nothing back loses nothing.
{
	my $o = outbox();
	$o->db->do(q{insert into pawl.outbox_dead (outbox, event, reason, text, original) select 'orders', i, 'x', 'y', json_build_object('type', 'T' || i, 'id', gen_random_uuid(), 'created_at', now()) from generate_series(1, 2) i;
		create function keep_out() returns trigger language plpgsql as 'begin return case when new.type = ''T1'' then new end; end';
		create trigger keep_out before insert on pawl.outbox for each row execute function keep_out()});
	my $run = ctl($o, 'retry', '--dead', '--all', 'orders');
	is("$run->{status} $run->{out}", '65 ', 'a trigger keeps one of two out: 65');
	like($run->{err}, qr/table pawl\.outbox takes 1 of 2: a trigger or rule keeps them out; nothing was changed/, 'and said');
	is(scalar dead($o) . ' ' . $o->left, '2 0', 'all are where they were');
}

# Without the table to park into: said before anything is lost.
{
	my $db = new_db();
	$db->do('create table events (id bigint generated always as identity primary key, topic text, payload text)');
	my $o = outbox(db => $db, outbox => 'table = "events"; routing_key = "{topic}"; unroutable = "park";');
	my $run = run_program('pawlctl', 'check', '-c', $o->config(0));
	is($run->{status}, 78, 'no pawl.outbox_dead: 78');
	like($run->{err}, qr/outboxes\.orders\.unroutable: "park" needs the table pawl\.outbox_dead in the same database; run: pawlctl migrate/, 'and what to do');
	$run = ctl($o, 'list');
	like($run->{err}, qr/outboxes\.orders\.unroutable: "park" needs/, 'list says so, too');
	my $role = 'norights_' . $db->name;
	run_program('pawlctl', 'migrate', $db->conninfo);
	$db->do("create role $role login; grant usage on schema pawl to $role; grant select, delete on events to $role");
	my $poor = outbox(db => $db, conninfo => $db->conninfo(user => $role), outbox => 'table = "events"; routing_key = "{topic}"; refused = "park";');
	$run = run_program('pawlctl', 'check', '-c', $poor->config(0));
	like($run->{err}, qr/outboxes\.orders\.refused: no right to insert into pawl\.outbox_dead; run as its owner: grant /, 'nor without the right to') or diag($run->{err});
}

# Pending: counted every five seconds, but gone when all are.
{
	my $o = outbox();
	$o->emit("h$_", $_, type => 'later') for 1 .. 20;
	my $relay = $o->relay->allow_log(qr/ waits[:,] /);
	$relay->wait_log(qr/ waits[:,] /);
	wait_for { status_of($o)->{pending} == 20 } 'what waits is pending';
	$o->vhost->amqp->bind('all', 'events', 'later');
	$relay->signal('USR1');
	$o->wait_empty('all are published');
	ok(poll(sub { status_of($o)->{pending} == 0 }, 3), 'then nothing is pending, before it is counted again');
}

# Command lines.
{
	my $o = outbox();
	for my $case (
		[ [], 'usage: pawlctl outbox list' ], [ ['nosuch'], 'there is no "nosuch"' ], [ [ 'list', '--dead', '--blocked' ], 'do not go together' ],
		[ [ 'retry', 'orders' ], 'say --blocked' ], [ [ 'retry', '--blocked', 'orders' ], 'all that waits is tried' ], [ [ 'retry', '--dead' ], 'name the outbox' ],
		[ [ 'drop', '--dead', 'orders' ], 'name events, or say --all' ], [ [ 'drop', '--dead', '--all', 'orders', '1' ], 'do not go together' ],
		[ [ 'drop', '--dead', '-c', $o->config(0), 'nosuch', '1' ], 'has no outbox "nosuch"' ], [ [ 'drop', '--dead', '-c', $o->config(0), 'orders', "1'" ], 'is no number' ],
	) {
		my $run = run_program('pawlctl', 'outbox', @{ $case->[0] });
		is($run->{status}, 64, "outbox @{ $case->[0] }: 64");
		like($run->{err}, qr/\Q$case->[1]\E/, "$case->[1]");
	}
	is(run_program('pawlctl', 'outbox', '--help')->{status}, 0, '--help');
}

done_testing;
