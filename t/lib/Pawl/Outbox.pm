# An outbox, where it is published to, and relays for it.
#
#   my $o = Pawl::Outbox->new(%option);       # database, vhost, exchange "events" (topic), queue "all" bound with "#"
#       outbox => 'window = 10; ...'            more keys of the outbox
#       db => ..., vhost => ...                 others than new ones;  bind => undef: no queue
#   my $relay = $o->relay(@arguments);        # started; first argument may be the options of start_program
#   $o->emit($aggregate, $n [, payload])      # one event of type "T", payload {"n": $n, "a": aggregate}
#   my @messages = $o->take;                  # all that is in the queue "all" now
#   $o->wait_empty('what');                   # until the table is empty
package Pawl::Outbox;
use strict;
use warnings;
use Exporter ();
use JSON::PP ();
use Test::More ();
use Pawl::Test ();

our @ISA = ('Exporter');
our @EXPORT = qw(first_seen order_errors);

sub new
{
	my ($class, %option) = @_;
	my $self = bless { exchange => 'events', db => $option{db} // Pawl::Test::migrated_db(), vhost => $option{vhost} // Pawl::Test::new_vhost() }, $class;
	my $amqp = $self->{vhost}->amqp;
	$amqp->declare_exchange('events');
	if (!exists $option{bind}) {
		$amqp->declare_queue('all');
		$amqp->bind('all', 'events', '#');
	}
	$self->{config} = Pawl::Test::write_config('relay' . ++$Pawl::Outbox::serial . '.conf', <<'END',
run_dir = "{run}";
broker: { uri = "{uri}"; };
database: { conninfo = "{conninfo}"; };
outboxes: { {outboxes} };
END
		run => Pawl::Test::tmp_dir(), uri => $self->{vhost}->uri, conninfo => $option{conninfo} // $self->{db}->conninfo,
		outboxes => $option{outboxes} // sprintf('orders: { exchange = "%s"; %s };', $option{exchange} // 'events', $option{outbox} // ''));
	return $self;
}

sub relay
{
	my ($self, @arguments) = @_;
	my @option = ref $arguments[0] ? shift @arguments : ();
	my $place = 0;
	$place++ while $self->{relays}[$place] && $self->{relays}[$place]->running;
	return $self->{relays}[$place] = Pawl::Test::start_program(@option, 'pawl-relay', '-c', $self->config($place), @arguments);
}

# Relays that run beside each other have names of their own.
sub config
{
	my ($self, $place) = @_;
	return $self->{config} if $place == 0;
	return Pawl::Test::write_file("$self->{config}.$place", "name = \"pawl-$place\";\n" . Pawl::Test::read_file($self->{config}));
}

sub db { return $_[0]{db} }
sub vhost { return $_[0]{vhost} }

sub quote { my ($text) = @_; return 'null' if !defined $text; $text =~ s/'/''/g; return "'$text'" }

sub emit_sql
{
	my ($aggregate, $n, %more) = @_;
	my $id = defined $aggregate ? quote($aggregate) : 'null';
	my $payload = $more{payload} // '{"a": ' . (defined $aggregate ? "\"$aggregate\"" : 'null') . ", \"n\": $n}";
	return sprintf("insert into pawl.outbox (aggregatetype, aggregateid, type, payload, headers) values ('order', %s, %s, %s, %s) returning seq",
		$id, quote($more{type} // 'T'), quote($payload), quote($more{headers} // '{}'));
}

sub emit { my ($self, @event) = @_; return $self->{db}->value(emit_sql(@event)) }

# Events 1 .. $count, spread over $aggregates.
sub emit_many
{
	my ($self, $count, $aggregates, $from) = @_;
	$from //= 1;
	$self->{db}->do("insert into pawl.outbox (aggregatetype, aggregateid, type, payload)"
	    . " select 'order', 'a' || i % $aggregates, 'T', jsonb_build_object('n', i, 'a', 'a' || i % $aggregates, 'x', repeat('x', 400))"
	    . " from generate_series($from, $from + $count - 1) i");
	return;
}

sub left { my ($self) = @_; return $self->{db}->value('select count(*) from pawl.outbox') }
sub take { my ($self, $queue) = @_; return $self->{vhost}->drain($queue // 'all') }
sub count { my ($self, $queue) = @_; return $self->{vhost}->count($queue // 'all') }

sub wait_empty
{
	my ($self, $what, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return Pawl::Test::wait_for(sub { $self->left == 0 }, $what // 'the outbox is empty', $seconds);
}

# The "n" of each message, first time each; and per aggregate.
sub first_seen
{
	my (@messages) = @_;
	my (%seen, @all, %of);
	for my $message (@messages) {
		next if $seen{ $message->{message_id} }++;
		my $payload = JSON::PP::decode_json($message->{body});
		push @all, $payload->{n};
		push @{ $of{ $payload->{a} // '' } }, $payload->{n};
	}
	return (\@all, \%of);
}

# Aggregates whose events, first time each, do not come in growing order of "n".
sub order_errors
{
	my (undef, $of) = first_seen(@_);
	my @errors;
	for my $aggregate (sort keys %$of) {
		my @n = @{ $of->{$aggregate} };
		push @errors, "$aggregate: @n" if grep { $n[$_] <= $n[ $_ - 1 ] } 1 .. $#n;
	}
	return @errors;
}

1;
