/* Unit tests of util/sha256: the examples of FIPS 180-4 and of NIST's CAVP (SHA256ShortMsg.rsp), and all lengths around a block. */
#include "util/sha256.h"

#include "t/unit/tap.h"
#include "util/arena.h"

static void
test(const void *data, size_t size, const char *wanted, const char *name)
{
	char hex[SHA256_HEX_SIZE];

	sha256_hex(data, size, hex);
	is_str(hex, wanted, "%s", name);
}

int
main(void)
{
	enum { MILLION = 1000000 };
	char *as = xmalloc(MILLION), all[SHA256_HEX_SIZE * 130];
	size_t len = 0;

	test("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "nothing");
	test("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "one block");
	test("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
	    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", "two blocks");
	test("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu", 112,
	    "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1", "112 bytes");
	test("\xd3", 1, "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1", "one byte");
	test("\x11\xaf", 2, "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98", "two bytes");
	memset(as, 'a', MILLION);
	test(as, MILLION, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", "a million bytes");

	/* Lengths 0 .. 129 of the letter a, their sums summed up: as sha256sum gives it. */
	for (size_t i = 0; i < 130; i++, len += SHA256_HEX_SIZE - 1)
		sha256_hex(as, i, all + len);
	test(all, len, "c665ed20ef30f158e90c7e921d8182bc0943c4b087a82f64a18d417bcdfadce7", "all lengths around one and two blocks");
	free(as);
	return done_testing();
}
