#!/usr/bin/perl
# doc/tutorial.md: its fenced blocks are typed as they stand, against an installed Pawl.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Install;
use Time::HiRes qw(time);

my $install = Pawl::Install->new;
my ($db, $vhost) = (new_db(), new_vhost());
my ($host, $port, $user) = map { $db->conninfo =~ /\b$_=(\S+)/ ? $1 : '' } qw(host port user);
my @blocks = read_file("$FindBin::Bin/../doc/tutorial.md") =~ /^```sh\n(.*?)^```$/msg;
cmp_ok(scalar @blocks, '>=', 7, 'the tutorial has blocks');

# Who types looks before he goes on; here the script waits for what he would see.
my %wait = (
	qr/"customer".*\npsql/ => q(until psql -Atc 'select id from orders_seen_orders' | grep -q o1; do sleep 0.05; done),
	qr/^grep 'dead letter'/m => q(until grep -q 'dead letter' worker.log; do sleep 0.05; done),
	qr/kill -HUP/ => q(until grep -q 'retiring' worker.log; do sleep 0.05; done),
);
my $script = "set -e\n";
for my $block (@blocks) {
	my @lines = split(/^/, $block);
	my ($wait) = map { $wait{$_} } grep { $block =~ /$_/ } keys %wait;
	if ($wait && $block =~ /^(psql -c|grep)/m) {
		my $last = (grep { $lines[$_] =~ /^(psql -c|grep)/ } 0 .. $#lines)[0];
		splice(@lines, $last, 0, "$wait\n");
	} elsif ($wait) {
		push @lines, "$wait\n";
	}
	$script .= join('', @lines);
}
my $begun = time;
my $file = write_file('tutorial.sh', $script);
my $out;
{
	local %ENV = (%ENV, $install->env, AMQP_URI => $vhost->uri, PGHOST => $host, PGPORT => $port, PGUSER => $user, PGDATABASE => $db->name,
		XDG_RUNTIME_DIR => tmp_dir());
	$out = `cd @{[ tmp_dir() ]} && timeout @{[ int(100 * ($ENV{PAWL_TEST_SLOW} || 1)) ]} bash tutorial.sh 2>&1`;
}
is($?, 0, 'every command of the tutorial works') or diag($out, -e tmp_dir() . '/orders_seen/worker.log' ? read_file(tmp_dir() . '/orders_seen/worker.log') : '');
note(sprintf('%.1f s, without reading', time - $begun));
like($out, qr/orders_seen 0\.1, EFFECTS\): done\n  sql   insert into orders_seen_orders/, 'try shows what it would do');
like($out, qr/^pawl\.conf: good: 1 queue, 1 handler/m, 'all is checked');
like($out, qr/ o1 +\| Ann +\| +12\.50/, 'the row is shown');
like($out, qr/orders_seen/, 'the status names the queue');
like($out, qr/becomes a dead letter in .*bad_field: \/id is missing/, 'the dead letter says why');
is($vhost->count('orders_seen.dead'), 1, 'and is there');
is($vhost->count('orders_seen'), 0, 'all is done');
done_testing;
