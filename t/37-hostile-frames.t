#!/usr/bin/perl
# Frames that are not as they should be: the slot says so and ends with 70, it does not crash. (They come from the runner, which is of the same build;
# this is what a bug there, or two versions, look like.)
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Slot;

my ($SETUP, $BATCH, $SHUTDOWN, $READY) = (1, 2, 3, 4);
my $db = migrated_db();
my $driver = Pawl::Slot->new(conninfo => $db->conninfo)->handler(script => Pawl::Slot::script_handler())->handler(ignored => '-');
$driver->allow_log(qr/cannot understand the runner/);
sub text { my ($t) = @_; return pack('L', length $t) . "$t\0" }
sub u64 { return pack('Q*', @_) }

sub ends
{
	my ($name, $slot, $type, $payload, @more) = @_;
	$driver->command('frame', $slot, $type, length $payload ? unpack('H*', $payload) : '-', @more);
	$driver->command('close', $slot);
	my $answer = $driver->wait($slot);
	$answer = $driver->wait($slot) while $answer->{is} =~ /^(ready|waiting)$/;
	is("$answer->{is}: $answer->{text}", 'closed: exited with ' . (@more > 1 ? 0 : 70), $name);
	$driver->{ended}{$slot} = 1;
	return;
}

# Instead of a SETUP
ends('another magic', $driver->spawn('raw'), $SETUP, '', 1);
ends('a frame that breaks off', $driver->spawn('raw'), $SETUP, 'abc', '0x5057', 1000);
ends('an empty SETUP', $driver->spawn('raw'), $SETUP, '');
ends('a BATCH first', $driver->spawn('raw'), $BATCH, u64(1) . pack('LL', 0, 0));
my $setup = text('host') . text('c') . text('q') . text($db->conninfo) . text('message_id') . u64(0, 0, 0, 0, 30000, 1000, 0, 0, 0);
for my $cut (1, 4, 8, 20, length($setup) - 1) {
	ends("a SETUP cut to $cut bytes", $driver->spawn('raw'), $SETUP, substr($setup, 0, $cut));
}
ends('a SETUP with more behind it', $driver->spawn('raw'), $SETUP, $setup . 'x');
ends('a text with a NUL', $driver->spawn('raw'), $SETUP, text("h\0st") . substr($setup, length text('host')));
ends('a text without its NUL', $driver->spawn('raw'), $SETUP, pack('L', 4) . 'hostx' . substr($setup, length text('host')));
ends('a text longer than the frame', $driver->spawn('raw'), $SETUP, pack('L', 0xffffffff) . substr($setup, 4));
ends('more handlers than bytes', $driver->spawn('raw'), $SETUP, substr($setup, 0, -8) . u64(1 << 60));
ends('a log level that is none', $driver->spawn('raw'), $SETUP, text('host') . text('c') . text('q') . text('') . text('message_id') . u64(77, 0, 0, 0, 30000, 1000, 0, 0, 0));
ends('a key that is none', $driver->spawn('raw'), $SETUP, text('host') . text('c') . text('q') . text('') . text('nonsense') . u64(0, 0, 0, 0, 30000, 1000, 0, 0, 0));

# After it
sub message
{
	my (%change) = @_;
	my %m = (handler => 0, header_count => 0, id => [ 96, 1 ], texts => [ 98, 0 ], headers_off => 0, body_off => 98, body_size => 0, size => 104, %change);
	# size handler header_count attempt attempts timestamp id type content_type correlation_id reply_to exchange routing_key headers_off body_off body_size pad
	return pack('L S S L L x![8] q (LL)7 L L L x4', $m{size}, $m{handler}, $m{header_count}, 1, 6, 0, @{ $m{id} }, (@{ $m{texts} }) x 6, $m{headers_off}, $m{body_off}, $m{body_size})
	    . ($m{tail} // "i\0\0\0\0\0\0\0");
}
is(length message(), 104, 'a message as the slot wants it') or BAIL_OUT('the layout has changed');
sub batch { my ($count, @messages) = @_; return u64(1) . pack('LL', $count, 0) . join('', @messages) }
{
	my $slot = $driver->ready;
	$driver->command('frame', $slot, $BATCH, unpack('H*', batch(1, message())));
	is($driver->wait_until($slot, 'result')->{outcomes}[0]{outcome}, 'done', 'which works');
	$driver->command('frame', $slot, $BATCH, unpack('H*', batch(0)));
	is_deeply($driver->wait_until($slot, 'result')->{outcomes}, [], 'as does an empty batch');
}
my %bad = (
	'a batch without a header' => 'abc',
	'fewer messages than it says' => batch(2, message()),
	'many more messages than it says' => batch(1, message(), message()),
	'a count beyond reason' => batch(0xffffffff, message()),
	'bytes behind the messages' => batch(1, message()) . 'x',
	'a message that is larger than the frame' => batch(1, message(size => 4096)),
	'a message that is smaller than its head' => batch(1, message(size => 8)),
	'a message of size 0' => batch(1, message(size => 0)),
	'a message of an odd size' => batch(1, message(size => 103)),
	'a handler that is not there' => batch(1, message(handler => 9)),
	'a handler that is not one' => batch(1, message(handler => 1)),
	'a text outside of the message' => batch(1, message(id => [ 5000, 1 ])),
	'a text in the head of the message' => batch(1, message(id => [ 8, 1 ])),
	'a text that is too long' => batch(1, message(id => [ 96, 0xfffffff0 ])),
	'a text without a NUL' => batch(1, message(id => [ 96, 2 ], tail => 'iiiiiii' . "\0")),
	'a body outside of the message' => batch(1, message(body_off => 104)),
	'a body that is too long' => batch(1, message(body_size => 1 << 30)),
	'headers outside of the message' => batch(1, message(header_count => 1, headers_off => 4000)),
	'more headers than bytes' => batch(1, message(header_count => 0xffff, headers_off => 96)),
);
ends($_, $driver->ready, $BATCH, $bad{$_}) for sort keys %bad;
ends('a frame for a runner', $driver->ready, $READY, '');
ends('a frame of an unknown type', $driver->ready, 99, 'x' x 100);
ends('a second SETUP', $driver->ready, $SETUP, $setup);
{
	my $slot = $driver->ready;
	$driver->command('close', $slot);
	is($driver->wait($slot)->{text}, 'exited with 0', 'a runner that is gone ends the slot in order');
	$driver->{ended}{$slot} = 1;
}
my $run = run_program('pawl-slot');
is($run->{status}, 64, 'run by hand it says');
like($run->{err}, qr/pawl-slot is started by pawl-worker/, 'what it is for');
like(run_program('pawl-slot', '--version')->{out}, qr/^pawl-slot \d/, 'and its version');

$driver->finish;
done_testing;
