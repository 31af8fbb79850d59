#!/usr/bin/perl
# The tree keeps its own rules: headers compile alone, includes point down, foreign libraries stay behind their module, no banned calls.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my $top = "$FindBin::Bin/..";
my $build = Pawl::Program::build_dir();
my %make = map { /^(\w+) = (.*)/ ? ($1 => $2) : () } split(/\n/, read_file("$build/Makefile"));
my @folders = qw(include/pawl util common runtime exporter outbox-relay ctl handlers);
my @files = map { s{^\Q$top\E/}{}r } grep { -f } map { glob("$top/$_/*.[ch] $top/$_/*/*.[ch]") } @folders;
my @headers = grep { /\.h$/ } @files;
ok(@headers > 20, 'there are headers') or diag("@headers");

# Each header alone, in the order of the tree. The public one in the languages that it promises.
my $flags = "-D_GNU_SOURCE -I$top -I$top/include -I$build -Wall -Wextra -Werror -fsyntax-only $make{RABBITMQ_CFLAGS} $make{LIBPQ_CFLAGS}";
for my $header (@headers) {
	my @ways = $header =~ m{^include/} ? ("$make{CC} -x c -std=c99 -pedantic", 'c++ -x c++ -std=c++11') : ("$make{CC} -x c -std=gnu11");
	for my $way (@ways) {
		next if $way =~ /^c\+\+/ && system('command -v c++ >/dev/null') != 0;
		my ($include) = $header =~ m{^(?:include/)?(.*)};
		my $source = write_file('alone.c', "#include \"$include\"\n");
		my $errors = `$way $flags $source 2>&1`;
		is($errors, '', "$header compiles alone ($way)");
	}
}

# Who may include whom; and the module behind which a library stands.
my %below = (util => [ 'util' ], common => [qw(util common)], map { $_ => [ qw(util common), $_ ] } qw(runtime exporter outbox-relay ctl));
my %library = ('amqp' => qr{^util/amqp_}, 'libpq-fe' => qr{^util/pg}, 'libconfig' => qr{^common/config_\w+\.[ch]$}, 'json' => qr{^util/json\.[ch]$},
	'curl' => qr{^handlers/http/http_client\.c$});
my (@turned, @leaked, @banned, @long);
for my $file (@files) {
	my ($folder) = $file =~ m{^([^/]+)};
	my $text = read_file("$top/$file");
	while ($text =~ /^[ \t]*#\s*include\s+([<"])([^>"]+)[>"]/mg) {
		my ($kind, $name) = ($1, $2);
		if ($kind eq '"' && $name =~ m{^([a-z-]+)/} && $below{$folder}) {
			my $of = $1;
			push @turned, "$file includes $name" if $of ne 'pawl' && !grep { $_ eq $of } @{ $below{$folder} };
		}
		# Handlers see the public header. util knows nothing of Pawl: exec reads JSON with it.
		push @turned, "$file includes $name" if $folder eq 'handlers' && $kind eq '"' && ($name =~ m{^(common|runtime|ctl|outbox-relay)/} || ($name =~ m{^util/} && $file !~ m{^handlers/exec/}));
		for my $library (keys %library) {
			push @leaked, "$file includes $name" if $kind eq '<' && $name =~ m{^(?:.*/)?\Q$library\E(_\w+)?\.h$} && $file !~ $library{$library};
		}
	}
	(my $code = $text) =~ s{/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"}{}gs;
	push @banned, "$file: $1" while $code =~ /\b(strcpy|strcat|strncpy|sprintf|vsprintf|strtok|atoi|atol|gmtime|localtime)\s*\(/g;
	my $lines = () = $text =~ /\n/g;
	push @long, "$file: $lines lines" if $lines > 1200;
}
is_deeply(\@turned, [], 'includes point down');
is_deeply(\@leaked, [], 'foreign libraries stay behind their module');
is_deeply(\@banned, [], 'no banned calls');
is_deeply(\@long, [], 'no file is over 1,200 lines');

# config.h is the build's: in common/ the quotes would find common/config.h.
is_deeply([ grep { read_file("$top/$_") =~ /^#include "config\.h"/m } grep { m{^common/} } @files ], [], 'common includes <config.h>');
done_testing;
