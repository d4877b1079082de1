"""A file under a passphrase is read back as it was, or refused with what is wrong with it."""

import pytest

from rocks.core.errors import UserError
from rocks.trust import encrypted_file
from rocks.trust.encrypted_file import decrypt, encrypt

DATA = b"the key of the authority " * 40
PASSPHRASE = b"correct horse battery"
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(encrypted_file, "_COST", 1 << 10)
    CONTENT = encrypt(DATA, PASSPHRASE)


def test_it_is_read_back_and_shows_nothing() -> None:
    first, second = encrypt(DATA, PASSPHRASE), encrypt(DATA, PASSPHRASE)
    assert decrypt(first, PASSPHRASE) == DATA
    assert b"authority" not in first and b'"scrypt": 65536' in first
    assert len(first) == len(second) and first != second, "the same salt or nonce twice"


@pytest.mark.parametrize("place", [0, 3, 11, 40, 90, 150, 260, -1, -17, -500])
def test_one_changed_byte_is_refused(place: int) -> None:
    changed = bytearray(CONTENT)
    changed[place] ^= 1
    with pytest.raises(UserError):
        decrypt(bytes(changed), PASSPHRASE)


@pytest.mark.parametrize("length", [0, 1, 12, 13, 60, 300, len(CONTENT) - 1])
def test_a_file_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(UserError):
        decrypt(CONTENT[:length], PASSPHRASE)


def test_each_kind_of_fault_is_named() -> None:
    for content, passphrase, reason in (
        (CONTENT, b"another", "passphrase is wrong"),
        (CONTENT[:-1], PASSPHRASE, "not whole"),
        (CONTENT + b"x", PASSPHRASE, "not whole"),
        (CONTENT.replace(b"rocks-site 1", b"rocks-site 2"), PASSPHRASE, "newer programs"),
        (b"\x1f\x8b" + bytes(500), PASSPHRASE, "no file of rocks save site"),
        (CONTENT.replace(b'"scrypt": 1024', b'"scrypt": 1073741824'), PASSPHRASE, "damaged"),
        (b"rocks-site 1\n" + b"[" * 4000 + b"\n", PASSPHRASE, "damaged"),
    ):
        with pytest.raises(UserError, match=reason):
            decrypt(content, passphrase)
