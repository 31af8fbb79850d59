# A staged make install, and an environment in which its programs are used.
#
#   my $install = Pawl::Install->new;         # under tmp_dir(); one for each test file
#   $install->find('pawl.pc')                 # the path of an installed file
#   local %ENV = (%ENV, $install->env);       # PATH, pkg-config, and where the programs find their own files
package Pawl::Install;
use strict;
use warnings;
use Pawl::Program ();
use Pawl::Test ();
use Test::More ();

sub new
{
	my ($class) = @_;
	my $self = bless { root => Pawl::Test::tmp_dir() . '/root' }, $class;
	# A make above this one must not tell ours what to do.
	delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
	my $log = `make -s -C @{[ Pawl::Program::build_dir() ]} install DESTDIR=$self->{root} 2>&1`;
	Test::More::is($?, 0, 'make install') or Test::More::diag($log);
	return $self;
}

sub root { return $_[0]{root} }

sub find
{
	my ($self, $name, $type) = @_;
	my ($path) = split(/\n/, `find $self->{root} -name '$name' -type @{[ $type // 'f' ]}`);
	return $path // die "$name is not installed\n";
}

sub dir_of { my ($self, $name) = @_; return $self->find($name) =~ s{/[^/]*$}{}r }

sub pkg_config { my ($self) = @_; return (PKG_CONFIG_PATH => $self->dir_of('pawl.pc'), PKG_CONFIG_SYSROOT_DIR => $self->{root}) }

sub env
{
	my ($self) = @_;
	return ($self->pkg_config, PATH => $self->dir_of('pawlctl') . ":$ENV{PATH}", ACLOCAL_PATH => $self->dir_of('pawl.m4'),
		PAWL_LIBEXECDIR => $self->dir_of('pawl-slot'), PAWL_HANDLERDIR => $self->find('handlers', 'd'));
}

1;
