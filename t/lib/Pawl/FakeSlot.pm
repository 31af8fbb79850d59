# For tests of runner and master without handlers and databases: pawl-slot is t/lib/fake-slot, which does what a message's body says.
#
#   my $fake = Pawl::FakeSlot->new;                    # its directory goes away with the test's
#   start_program({ env => { $fake->env } }, 'pawl-worker', ...);
#   $fake->handled                                     # [ { pid, batch, flags, id, body } ... ], in the order in which slots got them
#   $fake->database_down; $fake->database_up; $fake->refuse(1)
package Pawl::FakeSlot;
use strict;
use warnings;
use File::Basename ();
use Pawl::Test ();

my $serial = 0;

sub new
{
	my ($class) = @_;
	my $dir = Pawl::Test::tmp_dir() . '/fake' . ++$serial;
	mkdir($dir) or die "could not make $dir: $!\n";
	symlink(File::Basename::dirname(__FILE__) . '/../fake-slot', "$dir/pawl-slot") or die "could not make $dir/pawl-slot: $!\n";
	Pawl::Test::write_file('any.so', '');
	return bless { dir => $dir }, $class;
}

sub env
{
	my ($self) = @_;
	return (PAWL_LIBEXECDIR => $self->{dir}, FAKE_LOG => "$self->{dir}/log", FAKE_DOWN => "$self->{dir}/down",
		FAKE_REFUSE => "$self->{dir}/refuse");
}

# The configuration of one queue for it; further settings of the queue and of the whole file can be given.
sub config
{
	my ($self, $vhost, %set) = @_;
	my $uri = $vhost->uri;
	my $run = Pawl::Test::tmp_dir();
	my $queues = $set{queues} // $self->queue('work', $set{queue} // '');
	return "run_dir = \"$run\";\n" . ($set{top} // '') . "broker: { uri = \"$uri\"; };\ndatabase: { conninfo = \"dbname=none\"; };\n"
	    . "queues: {\n$queues};\n";
}

sub queue
{
	my ($self, $name, $settings, $handlers) = @_;
	return "  $name: {\n    $settings\n    handlers: {\n"
	    . ($handlers // "      some: { type = \"Some\";  use = \"./any.so\"; };\n      no: { type = \"Ignored\";  use = \"ignore\"; };\n")
	    . "    };\n  };\n";
}

sub handled
{
	my ($self, $id) = @_;
	my @all;
	return wantarray ? () : 0 if !-e "$self->{dir}/log";
	for (split(/\n/, Pawl::Test::read_file("$self->{dir}/log"))) {
		my %one;
		@one{qw(pid batch flags id body)} = split(/ /, $_, 5);
		push @all, \%one if !defined $id || $one{id} eq $id;
	}
	return wantarray ? @all : scalar @all;
}

sub forget { my ($self) = @_; truncate("$self->{dir}/log", 0); return }
sub database_down { my ($self) = @_; Pawl::Test::write_file("$self->{dir}/down", ''); return }
sub database_up { my ($self) = @_; unlink "$self->{dir}/down"; return }
sub refuse { my ($self, $yes) = @_; $yes ? Pawl::Test::write_file("$self->{dir}/refuse", '') : unlink("$self->{dir}/refuse"); return }

1;
