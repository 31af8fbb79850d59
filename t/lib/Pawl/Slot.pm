# Slots without a worker: a test plays the runner, by t/helpers/slot-driver.
#
#   my $driver = Pawl::Slot->new(conninfo => $db->conninfo, consumer => 'view');
#   $driver->handler(script => script_handler());        # handler name and shared object; a hash of settings may follow
#   my $slot = $driver->spawn;                           # or spawn('check'); waits for nothing
#   my $answer = $driver->wait($slot);                   # { is => 'ready', text, handlers } or waiting, refused, closed, nothing
#   my @outcomes = $driver->batch($slot, { id => 'm1', body => '...' }, ...);       # sends them and waits: { outcome, code, text, ... }
#   my ($done) = $driver->script($slot, m1 => [ sql => 'insert ...', $a ], ...);     # one message for script-handler.c
#
# Everything that the slots log is in $driver->log; Pawl::Test fails on what is not allowed: $driver->allow_log(qr/.../).
package Pawl::Slot;
use strict;
use warnings;
use IPC::Open3 ();
use Pawl::Process;
use Pawl::Program;

my $serial = 0;
my @drivers;

sub helper { my ($name) = @_; return Pawl::Program::build_dir() . "/t/helpers/$name" }
sub script_handler { return Pawl::Program::build_dir() . '/t/helpers/.libs/script-handler.so' }
sub sql_handler { return Pawl::Program::build_dir() . '/handlers/.libs/sql.so' }

sub new
{
	my ($class, %queue) = @_;
	my $self = bless { log => Pawl::Test::log_dir() . '/slots-' . ++$serial . '.log', allowed => [], slots => 0 }, $class;
	my ($program, @arguments) = Pawl::Program::command(delete $queue{program} // 'pawl-slot');
	($program) = grep { -x } map { "$_/$program" } split(/:/, $ENV{PATH}) if $program !~ m{/};
	my %env = (Pawl::Program::environment(), %{ delete $queue{env} || {} });
	local %ENV = %ENV;
	for my $name (keys %env) {
		defined $env{$name} ? ($ENV{$name} = $env{$name}) : delete $ENV{$name};
	}
	open(my $log, '>', $self->{log}) or die "could not write $self->{log}: $!\n";
	$self->{pid} = IPC::Open3::open3($self->{to}, $self->{from}, '>&' . fileno($log), helper('slot-driver'), $program, @arguments);
	binmode($self->{$_}, ':raw') for qw(to from);
	$self->{to}->autoflush(1);
	push @drivers, $self;
	$self->set(%queue);
	return $self;
}

sub encode
{
	my ($text) = @_;
	utf8::encode($text) if utf8::is_utf8($text);
	$text =~ s/([^!-\$&-~])/sprintf('%%%02x', ord $1)/ge;
	return $text;
}

sub decode { my ($word) = @_; return '' if $word eq '%'; $word =~ s/%([0-9a-f]{2})/chr hex $1/ge; return $word }

# One command; its answer, a list of lists of words.
sub command
{
	my ($self, @words) = @_;
	local $SIG{PIPE} = 'IGNORE';
	print { $self->{to} } join(' ', @words) . "\n";
	my @answer;
	while (defined(my $line = readline($self->{from}))) {
		chomp $line;
		return @answer if $line eq '.';
		push @answer, [ split(/ /, $line) ];
	}
	die "slot-driver ended: " . $self->log . "\n";
}

sub set { my ($self, %queue) = @_; $self->command('queue', $_, encode($queue{$_})) for sort keys %queue; return $self }

sub handler
{
	my ($self, $name, $path, $settings) = @_;
	$self->command('handler', encode($name), encode($path));
	$self->command('pair', encode($_), encode($settings->{$_})) for sort keys %{ $settings || {} };
	return $self;
}

sub clear { my ($self) = @_; $self->command('clear'); return $self }

sub spawn
{
	my ($self, $how) = @_;
	my ($slot) = $self->command('spawn', $how // ());
	$self->{slot_pid}{ $slot->[1] } = $slot->[2];
	return $slot->[1];
}

sub pid { my ($self, $slot) = @_; return $self->{slot_pid}{$slot} }

sub wait
{
	my ($self, $slot, $seconds) = @_;
	my ($first, @rest) = $self->command('wait', $slot, int(1000 * ($seconds // 30) * Pawl::Process::slow_factor()));
	my ($is, @words) = @$first;
	return { is => $is, text => decode($words[0]), handlers => [ map { { name => decode($_->[1]), version => decode($_->[2]), kind => $_->[3] } } @rest ] }
	    if $is =~ /^(ready|waiting|refused|closed)$/;
	return { is => $is } if $is eq 'nothing';
	return { is => $is, id => $words[0], database_us => $words[2], deadlocks => $words[3], outcomes => [ map { {
		outcome => $_->[1], flags => $_->[2], delay_ms => $_->[3], handle_us => $_->[4], code => decode($_->[5]), text => decode($_->[6])
	} } @rest ] };
}

# A slot that is ready; dies with what it says instead.
sub ready
{
	my ($self) = @_;
	my $slot = $self->spawn;
	my $answer = $self->wait($slot);
	die "the slot is not ready: $answer->{is} " . ($answer->{text} // '') . "\n" . $self->log . "\n" if $answer->{is} ne 'ready';
	return $slot;
}

# Goes on until an answer of this kind comes; the others are dropped.
sub wait_until
{
	my ($self, $slot, $is, $seconds) = @_;
	my $deadline = Time::HiRes::time() + ($seconds // 60) * Pawl::Process::slow_factor();
	while (Time::HiRes::time() < $deadline) {
		my $answer = $self->wait($slot, 5);
		return $answer if $answer->{is} eq $is;
		die "the slot ended: $answer->{text}\n" . $self->log . "\n" if $answer->{is} eq 'closed';
	}
	die "the slot did not say '$is' in time\n" . $self->log . "\n";
}

sub send
{
	my ($self, $slot, $flags, @messages) = @_;
	for my $message (@messages) {
		$self->command('message', map { encode($_) . '=' . encode($message->{$_}) } grep { defined $message->{$_} } sort keys %$message);
	}
	my ($sent) = $self->command('send', $slot, $flags);
	return $sent->[1];
}

# The RESULT of a batch: { outcomes, deadlocks, ... }.
sub result
{
	my ($self, $slot, $flags, @messages) = @_;
	$self->send($slot, $flags, @messages);
	return $self->wait_until($slot, 'result');
}

sub batch { my ($self, $slot, @messages) = @_; return @{ $self->result($slot, 0, @messages)->{outcomes} } }

# A message for script-handler.c: id, then lines, each a list of fields.
sub script { my ($id, @lines) = @_; return { id => $id, body => join('', map { join("\t", map { $_ // '\N' } @$_) . "\n" } @lines) } }

sub shutdown { my ($self, $slot) = @_; $self->command('shutdown', $slot); return $self->wait_until($slot, 'closed') if !wantarray; return }
sub kill { my ($self, $slot, $signal) = @_; $self->command('kill', $slot, $signal); return }
sub desk { my ($self, $slot) = @_; my ($d) = $self->command('desk', $slot); return { phase => $d->[1], index => $d->[2], batch => $d->[3] } }

sub load
{
	my ($self, $slot, $batches, $size, $prefix, $body) = @_;
	my ($l) = $self->command('load', $slot, $batches, $size, $prefix, encode($body));
	return { seconds => $l->[1], done => $l->[2], duplicate => $l->[3], other => $l->[4], database_us => $l->[5] };
}

sub log { my ($self) = @_; return Pawl::Test::read_file($self->{log}) }
sub allow_log { my ($self, @patterns) = @_; push @{ $self->{allowed} }, @patterns; return $self }

# At the end of a test: every slot ends in order, and said nothing unexpected.
sub finish
{
	my ($self) = @_;
	for my $slot (sort keys %{ $self->{slot_pid} }) {
		next if $self->{ended}{$slot};
		$self->command('shutdown', $slot);
		my $answer = { is => '' };
		$answer = $self->wait($slot, 30) while $answer->{is} !~ /^(closed|nothing)$/;
		Test::More::is("$answer->{is} " . ($answer->{text} // ''), 'closed exited with 0', "slot $slot ends in order");
	}
	close($self->{to});
	waitpid($self->{pid}, 0);
	Test::More::is($?, 0, 'the driver as well');
	my @unexpected = grep { my $line = $_; /level=(warning|error)|runtime error:|ERROR: AddressSanitizer|LeakSanitizer|^==\d+==/ && !grep { $line =~ $_ } @{ $self->{allowed} } }
	    split(/\n/, $self->log);
	Test::More::is_deeply(\@unexpected, [], 'the slots logged nothing unexpected');
	return;
}

1;
