#!/usr/bin/perl
# pawl/handler.h in the languages that it promises: every macro compiles without a warning, and the object has one symbol.
use FindBin; use lib "$FindBin::Bin/lib"; use Pawl::Test;

my $top = "$FindBin::Bin/..";
my $warnings = '-Wall -Wextra -Wshadow -Werror';
my @ways = (
	(map { my $std = $_; map { [ $_, "-std=$std -pedantic -Wstrict-prototypes -Wmissing-prototypes", 'c' ] } qw(gcc clang) } qw(c99 c11 c17)),
	(map { my $std = $_; map { [ $_, "-std=$std", 'cc' ] } qw(g++ clang++) } qw(c++11 c++14 c++17 c++20)),
);
for my $way (@ways) {
	my ($compiler, $flags, $suffix) = @$way;
	SKIP: {
		my $missing = system("command -v $compiler >/dev/null") != 0;
		skip("no $compiler", 2) if $missing && !$ENV{PAWL_TEST_NO_SKIP};
		my $object = tmp_dir() . '/every.so';
		unlink $object;
		my $errors = `$compiler $flags $warnings -shared -fPIC -fvisibility=hidden -I$top/include -o $object $top/t/handlers/every-macro.$suffix 2>&1`;
		is($errors, '', "$compiler $flags");
		my @symbols = grep { !/^_/ } map { / [A-Z] (\w+)/ ? $1 : () } split(/\n/, `nm -D --defined-only $object`);
		is("@symbols", 'pawl_handler', 'one symbol');
	}
}

# The examples of pawl-handler(3).
my ($synopsis, @examples) = grep { /PAWL_HANDLER\(/ && !/AC_|LTLIBRARIES/ } read_file("$top/man/pawl-handler.3") =~ /^\.nf\n(.*?)^\.fi/msg;
ok(@examples >= 2, 'there are examples');
for my $example (@examples) {
	(my $text = $example) =~ s/\\(.)/$1/g;
	my $source = write_file('example.c', ($text =~ /#include/ ? '' : "#include <pawl/handler.h>\n") . $text);
	my $object = tmp_dir() . '/example.so';
	is(`gcc -std=c99 -pedantic $warnings -shared -fPIC -I$top/include -o $object $source 2>&1`, '', 'compiles: ' . ($text =~ /name = "(\w+)"/)[0]);
}
done_testing;
