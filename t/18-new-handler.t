#!/usr/bin/perl
# pawlctl new-handler: what it makes builds against the installed Pawl, is tested, and runs; mistakes are told, and nothing is overwritten.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;
use Pawl::Install;

my $install = Pawl::Install->new;
my ($db, $vhost) = (migrated_db(), new_vhost());
my $server = $db->conninfo;
my ($host, $port, $user) = map { $server =~ /\b$_=(\S+)/ ? $1 : '' } qw(host port user);
local %ENV = (%ENV, $install->env, AMQP_URI => $vhost->uri, PGHOST => $host, PGPORT => $port, PGUSER => $user, PGDATABASE => $db->name,
	XDG_RUNTIME_DIR => tmp_dir());
sub sh { my ($dir, $command) = @_; my $out = `cd "$dir" && ( $command ) 2>&1`; return wantarray ? ($? >> 8, $out) : $out }
my $tmp = tmp_dir();

for my $variant ([ 'plain_view', '', 'make check' ], [ 'auto_view', '--automake', 'autoreconf -i >/dev/null && ./configure --quiet && make -s check' ]) {
	my ($name, $option, $check) = @$variant;
	my ($status, $out) = sh($tmp, "pawlctl new-handler $option $name");
	is($status, 0, "$name: made") or diag($out);
	like($out, qr/^made $name: .*cd $name/s, "$name: and what comes next");
	if ($option) {
		like($out, qr{ACLOCAL_PATH=\$\(pkg-config --variable=prefix pawl\)/share/aclocal autoreconf}, "$name: with where pawl.m4 is");
		my ($failed, $error) = sh("$tmp/$name", 'env -u ACLOCAL_PATH aclocal');
		like($error, qr/could not find the pawl\.m4 of the installed Pawl: let ACLOCAL_PATH name/, "$name: without it, that is told");
	}
	my $lines = () = read_file("$tmp/$name/README.md") =~ /\n/g;
	cmp_ok($lines, '<=', 14, "$name: a short README");
	unlike(join('', map { read_file($_) } glob("$tmp/$name/*")), qr/\@NAME\@|\@USE\@/, "$name: everything is filled in");
	($status, $out) = sh("$tmp/$name", $check);
	is($status, 0, "$name: builds, and its test passes") or diag($out);
	ok(-e "$tmp/$name/" . ($option ? '.libs/' : '') . "$name.so", "$name: the handler is there");

	# Its test can fail.
	my $source = read_file("$tmp/$name/$name.c");
	write_file("$tmp/$name/$name.c", $source =~ s/pawl_field_if/pawl_field/r);
	($status, $out) = sh("$tmp/$name", 'make -s check');
	isnt($status, 0, "$name: a changed handler fails its test");
	like($out . ($option ? read_file("$tmp/$name/check.sh.log") : ''), qr/^\+try-2 .*reject bad_field/m, "$name: and how it differs is shown");
	write_file("$tmp/$name/$name.c", $source);
	is(scalar(sh("$tmp/$name", 'make -s >/dev/null')), '', "$name: as it was");

	# It runs.
	($status, $out) = sh("$tmp/$name", 'psql -q -f schema.sql && pawlctl check --strict -c pawl.conf');
	is($status, 0, "$name: its table is made, all is checked") or diag($out);
	my $worker = start_program({ env => { map { $_ => $ENV{$_} } qw(AMQP_URI PGHOST PGPORT PGUSER PGDATABASE XDG_RUNTIME_DIR) } }, 'pawl-worker', '-c', "$tmp/$name/pawl.conf");
	wait_consumer($vhost, $name);
	($status, $out) = sh("$tmp/$name", q(pawlctl publish -c pawl.conf orders/order.placed --type OrderPlaced '{"id": "o1", "total": 12.50}'));
	is($status, 0, "$name: a message") or diag($out);
	wait_for { $db->value("select total from ${name}_orders where id = 'o1'") } "$name: and its row";
	$worker->stop;
}
like(sh("$tmp/plain_view", "make -s install DESTDIR=$tmp/dest && find $tmp/dest -name '*.so'"), qr{/pawl/handlers/plain_view\.so$}, 'make install puts it where use = "plain_view" finds it');

# Another directory, mistakes
is((sh($tmp, 'pawlctl new-handler other some-where'))[0], 0, 'a directory of another name');
ok(-e "$tmp/some-where/other.c", 'has it');
for my $case ([ 'some where', "'some where'" ], [ "it's", "'it'\\''s'" ], [ '-here', './-here' ]) {
	my ($dir, $shown) = @$case;
	my ($status, $out) = sh($tmp, "pawlctl new-handler -- other \"$dir\"");
	like($out, qr/^  cd \Q$shown\E && make check$/m, "its name as a shell takes it: $dir");
}
is((sh("$tmp/some where", 'make -s check'))[0], 0, 'it is good there');
is_deeply([ sh("$tmp/it's", 'env -u HANDLER ./check.sh') ], [ 64, qq(check.sh: say which handler: ./check.sh HANDLER.so, or run "make check"\n) ], 'check.sh says how it is called');
for my $case ([ 'Other', qr/cannot name a handler "Other": take a small letter/ ], [ '2nd', qr/cannot name/ ], [ 'a-b', qr/cannot name/ ], [ "''", qr/cannot name/ ],
    [ 'a' x 41, qr/40 at most/ ], [ '../up', qr/cannot name/ ], [ '', qr/say the handler's name/ ], [ 'a b c', qr/say the handler's name/ ],
    [ 'sql', qr/cannot name a handler "sql": use = "sql" has a meaning/ ], [ 'ignore some-other', qr/has a meaning/ ],
    [ 'other some-where', qr/could not make directory "some-where": File exists: nothing is overwritten/ ], [ 'other no/where', qr{could not make directory "no/where": No such file} ]) {
	my ($arguments, $error) = @$case;
	my ($status, $out) = sh($tmp, "pawlctl new-handler $arguments");
	isnt($status, 0, "refused: $arguments");
	like($out, $error, 'and why');
}
ok(!-e "$tmp/Other" && !-e "$tmp/a-b", 'nothing is left of these');
done_testing;
