#!/usr/bin/perl
# The README's promise: the demonstration runs, proves what it says, and leaves nothing running, also when it is interrupted.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my $build = Pawl::Program::build_dir();
my $demo = "$FindBin::Bin/../examples/shop/demo";

sub start_demo
{
	my ($name, @arguments) = @_;
	return Pawl::Process->new(name => $name, log => log_dir() . "/$name.log", env => { RUNTIME_DIRECTORY => undef },
		command => [ $^X, $demo, '--build', $build, '--var', tmp_dir() . "/$name", @arguments ]);
}

# Whatever it started: servers and programs name the directory in their arguments, environment or working directory.
sub left_by
{
	my ($name) = @_;
	my $dir = tmp_dir() . "/$name/";
	my @left;
	for my $process (glob('/proc/[0-9]*')) {
		my $all = (readlink("$process/cwd") // '') . '/';
		$all .= eval { read_file("$process/$_") } // '' for qw(cmdline environ);
		push @left, $process if index($all, $dir) >= 0;
	}
	return @left;
}

my $whole = start_demo('whole', '--orders', 400, '--rate', 400);
my $status = $whole->wait(120);
is(Pawl::Process::describe_status($status), 'exit status 0', 'the demonstration succeeds') or diag($whole->log);
like($whole->log, qr/killed a slot of .*\(process \d+\).*killed a runner of .*\(process \d+\).*killed the relay of .*\(process \d+\)/s, 'it killed all three');
like($whole->log, qr/^ *lost +0$/m, 'none lost');
like($whole->log, qr/^ *doubled +0$/m, 'none doubled');
like($whole->log, qr/^ *orders placed +400$/m, 'all placed');
is_deeply([ left_by('whole') ], [], 'it leaves nothing running');

my $broken = start_demo('broken', '--orders', 100_000, '--rate', 200);
wait_for { $broken->log =~ / [1-9]\d* placed/ } 'another one places orders';
ok(scalar left_by('broken'), 'and runs much');
$broken->signal('INT');
is(Pawl::Process::describe_status($broken->wait(30)), 'exit status 130', 'it can be interrupted');
is_deeply([ left_by('broken') ], [], 'and leaves nothing running');
done_testing;
