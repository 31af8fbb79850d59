#!/usr/bin/perl
# Passwords from files and credentials, ${NAME}, and where the statistics files are looked for.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my $vhost = new_vhost();
$vhost->amqp->declare_queue('q');
my $dir = tmp_dir();
my ($user, $password) = ("user$$", "sesame$$");
$vhost->broker->api('PUT', "/api/users/$user", { password => $password, tags => '' });
$vhost->broker->api('PUT', '/api/permissions/' . $vhost->name . "/$user", { map { $_ => '.*' } qw(configure write read) });
my $bare = $vhost->uri =~ s{//\w+:\w+@}{//$user@}r;
my $full = $vhost->uri =~ s{//\w+:\w+@}{//$user:$password@}r;

sub secret_file
{
	my ($name, $text, $mode) = @_;
	my $path = write_file($name, $text);
	chmod($mode // 0600, $path);
	return $path;
}
sub try_secret
{
	my ($password_file, %env) = @_;
	write_file('s.conf', "broker: { uri = \"$bare\";\n password_file = \"$password_file\"; };");
	my $run = run_program({ env => { CREDENTIALS_DIRECTORY => undef, %env } }, 'pawlctl', 'publish', '-c', "$dir/s.conf", '-t', 'T', 'q', 'x');
	unlike($run->{err}, qr/\Q$password\E|geheim/, 'no password in an error');
	return "$run->{status} $run->{err}";
}

secret_file('good', "$password\n");
is(try_secret("$dir/good"), '0 ', 'a password from a file, a newline at its end');
is(try_secret('good'), '0 ', 'beside the configuration');
secret_file('bare', $password, 0640);
is(try_secret('./bare'), '0 ', 'without a newline, readable by the group');
secret_file('good', 'geheim-no');
like(try_secret('good'), qr/^78 .*(refused|ACCESS)/i, 'the wrong one is refused');

mkdir("$dir/credentials");
secret_file('credentials/good', $password, 0440);
is(try_secret('good', CREDENTIALS_DIRECTORY => "$dir/credentials"), '0 ', 'a credential of systemd goes first');
is(try_secret('bare', CREDENTIALS_DIRECTORY => "$dir/credentials"), '0 ', 'what is none is beside the configuration');
like(try_secret("$dir/good", CREDENTIALS_DIRECTORY => "$dir/credentials"), qr/^78 /, 'an absolute name is no credential');

write_file('tls.conf', "broker: { uri = \"amqps://h\"; ca_file = \"good\"; cert_file = \"nosuch\"; key_file = \"bare\"; };");
is((run_program({ env => { CREDENTIALS_DIRECTORY => "$dir/credentials" } }, 'pawlctl', 'check', '-c', "$dir/tls.conf"))->{err},
	"$dir/tls.conf:1: broker.cert_file: could not read \"$dir/nosuch\": No such file or directory\n", 'files of TLS are found in the same way');

symlink("$dir/bare", "$dir/link");
is(try_secret('link'), '0 ', 'a symbolic link');
mkdir("$dir/directory");
POSIX::mkfifo("$dir/fifo", 0600) or die;
for my $case (
	[ 'open', "geheim", 0644, "\"$dir/open\" can be read by everybody on this machine; run: chmod o= '$dir/open'" ],
	[ 'empty', "\n", 0600, "\"$dir/empty\" is empty; it must hold the password" ],
	[ 'nul', "gehe\0im", 0600, "\"$dir/nul\" has a NUL byte in it; it must hold the password as text" ],
	[ 'large', 'geheim' x 1000, 0600, "\"$dir/large\" is larger than 4096 bytes; it must hold the password and nothing else" ],
	[ 'directory', undef, undef, "\"$dir/directory\" is not a regular file" ],
	[ 'fifo', undef, undef, "\"$dir/fifo\" is not a regular file" ],
	[ 'nosuch', undef, undef, "could not open \"$dir/nosuch\": No such file or directory" ],
) {
	my ($name, $text, $mode, $error) = @$case;
	secret_file($name, $text, $mode) if defined $text;
	is(try_secret($name), "78 $dir/s.conf:2: broker.password_file: $error\n", "$name: refused");
}
{
	secret_file('most', 'x' x 4096 . "\n");
	like(try_secret('most'), qr/larger than 4096/, 'the newline counts for the size');
	secret_file('most', 'x' x 4095 . "\n");
	unlike(try_secret('most'), qr/larger/, '4 KiB are read');
}

# Those of a handler: settings called x_file, or in a group called x_files.
{
	require Pawl::Slot;
	my $script = Pawl::Slot::script_handler();
	my $try = sub {
		my ($settings, %env) = @_;
		my $path = write_file('h.conf', "broker: { uri = \"amqp://h\"; };\ndatabase: { conninfo = \"host=/nowhere\"; };\nqueues: { q: { handlers: {\n"
		    . "h: { type = \"*\"; use = \"$script\";\nconfig: { $settings }; }; }; }; };\n");
		my $run = run_program({ env => { CREDENTIALS_DIRECTORY => undef, %env } }, 'pawlctl', 'try', '--json', '-c', $path, '-q', 'q', 'members');
		unlike($run->{err}, qr/geheim|sesame/, 'no password in an error');
		return $run->{err} . ($run->{out} =~ /"((?:ca_file)=[^"]*)"/ ? $1 : '');
	};
	secret_file('token', "t0k3n\n");
	secret_file('ca.pem', 'public', 0644);
	is($try->('ca_file = "ca.pem";  password_file = "bare";  header_files: { Token = "${PAWL_T_DIR}/token"; };', PAWL_T_DIR => $dir),
		"ca_file=$dir/ca.pem;secret=$password;token=t0k3n;", 'of a handler: beside the configuration, with ${NAME}');
	is($try->('ca_file = "/ca.pem";  password_file = "good";  header_files: { Token = "token"; };', CREDENTIALS_DIRECTORY => "$dir/credentials"),
		"ca_file=/ca.pem;secret=geheim-no;token=t0k3n;" =~ s/geheim-no/read_file("$dir\/credentials\/good")/er, 'a credential goes first');
	my $where = "$dir/h.conf:5: queues.q.handlers.h.config";
	is($try->('ca_file = "x";  password_file = "open";  header_files: { Token = "nosuch"; };'), "$where.header_files.Token: could not open \"$dir/nosuch\": No such file or directory\n"
		. "$where.password_file: \"$dir/open\" can be read by everybody on this machine; run: chmod o= '$dir/open'\n", 'all that is wrong is told');
	is($try->('ca_file = "${PAWL_T_NONE}/x";'), "$where.ca_file: the environment variable PAWL_T_NONE is not set\n", 'a variable that is not set');
}

# ${NAME}.
sub try_uri
{
	my ($text, %env) = @_;
	write_file('e.conf', "broker: { uri = \"$text\"; };");
	my $run = run_program({ env => \%env }, 'pawlctl', 'publish', '-c', "$dir/e.conf", '-t', 'T', 'q', 'x');
	unlike($run->{err}, qr/geheim/, 'no password in an error');
	return "$run->{status} $run->{err}";
}
my $with = $full =~ s{:\Q$password\E@}{:\${PAWL_T_PW}@}r;
is(try_uri($with, PAWL_T_PW => $password), '0 ', 'a password from the environment');
like(try_uri($with, PAWL_T_PW => 'geheim'), qr/^78 .*(refused|ACCESS)/i, 'the wrong one is refused');
is(try_uri($with, PAWL_T_PW => undef), "78 $dir/e.conf:1: broker.uri: the environment variable PAWL_T_PW is not set\n", 'one that is not set');
is(try_uri('${PAWL_T_URI}', PAWL_T_URI => $full), '0 ', 'all of a value');
is(try_uri('amqp://h/${PAWL-T}'), "78 $dir/e.conf:1: broker.uri: between \"\${\" and \"}\" must be the name of an environment variable\n", 'no name');
is(try_uri('amqp://h/${X'), "78 $dir/e.conf:1: broker.uri: a \"\${\" has no \"}\"; write \"\$\${\" if no variable is meant\n", 'no end');
is(try_uri('${PAWL_T_URI}', PAWL_T_URI => 'geheim'), "78 $dir/e.conf:1: broker.uri: broker URI does not start with amqp:// or amqps://\n", 'expanded before it is checked');

# Where pawlctl status looks, for what is nowhere.
my $nowhere = "nowhere$$";
sub looks_in
{
	my ($config, %env) = @_;
	write_file("$nowhere.conf", "broker: { uri = \"amqp://h\"; };\n$config");
	my $run = run_program({ env => { RUNTIME_DIRECTORY => undef, XDG_RUNTIME_DIR => undef, %env } }, 'pawlctl', 'status', '--json', '-c', "$dir/$nowhere.conf");
	return $run->{out} =~ /no $nowhere\.worker\.stats in ([^"]+)"/ ? $1 : "$run->{status} $run->{err}";
}
my $private = "/tmp/pawl-$>";
my $system = -w '/run/pawl' ? '/run/pawl, ' : '';
looks_in('');	# makes the private one
is(looks_in('run_dir = "/a/b";', RUNTIME_DIRECTORY => '/c'), '/a/b', 'run_dir, and nowhere else');
like(looks_in('', RUNTIME_DIRECTORY => '/c:/d', XDG_RUNTIME_DIR => '/x'), qr{^/c, /run/pawl, /x, \Q$private\E$}, 'systemd first');
like(looks_in('', XDG_RUNTIME_DIR => '/x'), $system ? qr{^/run/pawl, /x, } : qr{^/x, /run/pawl, \Q$private\E$}, 'then that of the session');
like(looks_in(''), $system ? qr{^/run/pawl} : qr{^\Q$private\E, /run/pawl$}, 'then a private one');
is(looks_in('run_dir = "a";'), "78 $dir/$nowhere.conf:2: run_dir: \"a\": must be an absolute path\n", 'a relative one is refused');
SKIP: {
	skip('/run/pawl is in the way', 2) if $system;
	my @st = lstat($private);
	is(sprintf('%o %d', $st[2] & 07777, $st[4]), "700 $>", 'the private one is private');
	skip('only root can be somebody else', 1) if $> != 0;
	my $uid = 61234;
	my $private = "/tmp/pawl-$uid";
	chmod(0755, $dir);
	mkdir($private);		# of root, not of that user
	my $run = run_program({ env => { RUNTIME_DIRECTORY => undef, XDG_RUNTIME_DIR => undef } }, $^X, '-e', '($(, $)) = ($ARGV[0], "$ARGV[0] $ARGV[0]"); ($<, $>) = (shift, $<);
		$> = $<; exec(@ARGV) or exit 127', $uid, Pawl::Program::build_dir() . '/pawlctl', 'status', '-c', "$dir/$nowhere.conf");
	rmdir($private);
	skip('another user does not get to the build tree', 1) if $run->{status} == 127;
	like($run->{err}, qr/run_dir: is missing, and there is no good place: "\Q$private\E" is not a directory that only this user can write/, 'of another user: refused');
}
$vhost->broker->api('DELETE', "/api/users/$user");
done_testing;
