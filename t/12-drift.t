#!/usr/bin/perl
# What the programs know is what manual and sample say: configuration keys with their defaults, options, commands.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my $top = "$FindBin::Bin/..";

# The table: path => { type, values, default, meaning }.
my (%key, @paths);
for (split(/\n/, run_program('pawlctl', 'check', '--list-keys')->{out})) {
	my ($path, $type, $values, $default, $meaning, @rest) = split(/\t/, $_, -1);
	is_deeply(\@rest, [], "$path: five fields") if @rest || !defined $meaning;
	isnt($meaning, '', "$path says what it is");
	$key{$path} = { type => $type, values => $values, default => $default };
	push @paths, $path;
}
ok(@paths > 50, 'there are keys');

# pawl.conf(5): in a section for each group, an entry for each key, with type, values and default.
{
	my ($section, %entry);
	for (split(/\n/, read_file("$top/man/pawl.conf.5"))) {
		$section = undef if /^\.SH/;
		$section = $1 eq 'Top level' ? '' : "$1." if /^\.SS "([^"]+)"/;
		next if !defined $section || !/^\.BR (\S+) "\s*\((.*)\)"$/;
		my ($name, $text) = ($1, $2);
		$text =~ s/\\\(dq/"/g;
		ok(!$entry{"$section$name"}, "$section$name is in the manual once");
		$entry{"$section$name"} = $text;
	}
	is_deeply([ sort keys %entry ], [ sort @paths ], 'pawl.conf(5) has all keys and no other');
	for my $path (@paths) {
		my $k = $key{$path};
		my $text = $k->{type} . ($k->{values} eq '' ? '' : ": $k->{values}");
		$text .= $k->{default} eq 'required' ? '; required' : $k->{default} eq '' ? '' : "; default: $k->{default}";
		is($entry{$path} // '', $text, "the manual's entry of $path");
	}
}

# The sample with all that is commented out taken in: the same keys, with the defaults of the table.
{
	my $sample = read_file("$top/etc/pawl.conf");
	(my $all = $sample) =~ s/^(\s*)#(?=[a-z_]+ =)/$1/mg;
	my @tokens = $all =~ /\G(?:\s++|#[^\n]*+)*+("(?:\\.|[^"\\])*"|[A-Za-z][\w-]*(?=\s*[:=])|[\w.]+|[:={}()\[\];,])/g;
	my %value;	# path => values
	my ($group, $setting);
	$setting = sub {
		my ($path) = @_;
		my $token = shift(@tokens) // die "the sample ends in the middle\n";
		return $group->($path) if $token eq '{';
		if ($token =~ /^[\[(]$/) {
			while ($tokens[0] !~ /^[\])]$/) {
				$setting->($tokens[0] eq '{' ? "$path.[]" : $path);
				shift @tokens if $tokens[0] eq ',';
			}
			shift @tokens;
		}
		else {
			push @{ $value{$path} }, $token =~ s/^"(.*)"$/$1/r;
		}
		return;
	};
	$group = sub {
		my ($path) = @_;
		while (@tokens && $tokens[0] ne '}') {
			my $name = shift @tokens;
			my $own = ($path eq '' ? $name : "$path.$name") =~ s/^(queues|outboxes)\.[\w-]+/$1.*/r =~ s/^(queues\.\*\.handlers)\.[\w-]+/$1.*/r;
			like(shift @tokens, qr/^[:=]$/, "$own has a value");
			$value{$own} //= [] if $own !~ /\*$/;
			$setting->($own);
			shift @tokens if @tokens && $tokens[0] eq ';';
		}
		shift @tokens;
		return;
	};
	$group->('');
	is(scalar @tokens, 0, 'all of the sample was read');
	push @{ $value{"queues.*.$_"} }, @{ delete $value{"defaults.$_"} } for map { /^defaults\.(.*)/ } keys %value;
	my %seen = map { $_ => 1 } grep { !/^queues\.\*\.handlers\.\*\.config\./ } keys %value;
	my @expected = @paths;
	is_deeply([ sort keys %seen ], [ sort @expected ], 'the sample has all keys and no other');
	my $defaults = 0;
	for my $path (@expected) {
		my $k = $key{$path};
		next if $k->{default} =~ /^(required|none\b.*|)$/ && $k->{default} ne 'none' || $k->{type} =~ /group|list/;
		next if $k->{default} =~ / / && $k->{type} ne 'durations' || $k->{default} =~ /^(database\.conninfo|none)$/ && $k->{values} !~ /none/;
		my %shown = map { $_ => 1 } join(' ', @{ $value{$path} // [] }), $k->{type} eq 'durations' ? () : @{ $value{$path} // [] };
		ok($shown{ $k->{default} }, "the sample shows the default of $path") or diag(join(' ', keys %shown));
		$defaults++;
	}
	ok($defaults > 25, "$defaults defaults");

	# It is a good configuration, with and without what is commented out, but for the files that it names and "uris".
	for my $text ($sample, $all) {
		my $run = run_program('pawlctl', 'check', '-c', write_file('sample.conf', $text));
		my @wrong = grep { !/broker\.(\w+_file: could not|uris: uri is set as well)|queues\.view.*(could not start|connect)|table could not be checked/ } split(/\n/, $run->{err});
		is_deeply(\@wrong, [], 'the sample is good');
	}
}

# Options: those of --help are in the manual, and the other way round. A program has a manual if it is built here.
my %manual = ('pawlctl' => 'pawlctl.1', 'pawl-worker' => 'pawl-worker.8', 'pawl-relay' => 'pawl-relay.8');
sub options_of_help { my ($text) = @_; return map { "--$_" } $text =~ /^ +(?:-\w, )?--([\w-]+)/mg }
sub options_of_manual
{
	my ($text) = @_;
	$text =~ s/\\-/-/g;
	return map { /^\.BR? (?:-\w ", " )?"?(--[a-z][\w-]*)/ } split(/\n/, $text);
}
my @always = qw(--help --version);
for my $program (sort keys %manual) {
	my $help = run_program($program, '--help');
	is($help->{status}, 0, "$program --help");
	like(run_program($program, '--version')->{out}, qr/^$program \(Pawl\) \d+\.\d+\.\d+$/, "$program --version");
	my %in_help = map { $_ => 1 } options_of_help($help->{out});
	ok($in_help{$_}, "$program has $_") for @always;
	my @commands = $help->{out} =~ /^commands/m ? $help->{out} =~ /^  ([a-z][\w-]*)  /mg : ();
	ok(-e "$top/man/$manual{$program}", "there is $manual{$program}") or next;
	my $text = read_file("$top/man/$manual{$program}");
	for my $command (@commands) {
		my $own = run_program($program, $command, '--help');
		is($own->{status}, 0, "$program $command --help");
		$in_help{$_} = 1 for options_of_help($own->{out});
		my ($part) = $text =~ /^\.SS \Q$command\E\n(.*?)(?=^\.S[SH])/ms;
		is_deeply([ sort keys %{ { map { $_ => 1 } grep { !/^--(help|version)$/ } options_of_manual($part // '') } } ],
			[ sort grep { !/^--(help|version)$/ } options_of_help($own->{out}) ], "$manual{$program} and $program $command --help agree");
		is(run_program($program, $command, '--nosuch')->{status}, 64, "$program $command --nosuch: 64");
	}
	my %in_manual = map { $_ => 1 } options_of_manual($text);
	delete @in_help{@always};
	delete @in_manual{@always};
	is_deeply([ sort keys %in_manual ], [ sort keys %in_help ], "$manual{$program} has all options of $program and no other");
	my $unknown = run_program($program, '--nosuch');
	is($unknown->{status}, 64, "$program --nosuch: 64");
	like($unknown->{err}, qr/unrecognized option '--nosuch'\n.*--help/s, 'and where to look');
}
is(run_program('pawlctl')->{status}, 64, 'pawlctl alone: 64');
is(run_program('pawlctl', 'nosuch')->{status}, 64, 'pawlctl nosuch: 64');
is(run_program('/bin/sh', '-c', Pawl::Program::build_dir() . '/pawlctl --help >/dev/full')->{status}, 74, 'output that nobody gets: 74') if -e '/dev/full';

# What groff says of the manuals.
SKIP: {
	skip('groff is not here', 1) if system('command -v groff >/dev/null');
	for my $page (glob("$top/man/*.[1-9]")) {
		is(`groff -man -Tutf8 -ww -z '$page' 2>&1`, '', $page =~ s{.*/}{}r . ' is without warnings');
	}
}
# One spelling of what stands for run_dir.
is_deeply([ grep { read_file($_) =~ /\bRUNDIR\b/ } glob("$top/man/*.[1-8]"), glob("$top/{common,doc}/*") ], [], 'RUN_DIR is called that everywhere');
done_testing;
