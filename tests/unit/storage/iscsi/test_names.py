"""Names and secrets that one side of a session would take otherwise than the other are refused before."""

import pytest

from rocks.core.errors import UserError
from rocks.storage.iscsi.names import (
    ChapSecrets,
    backstore_name,
    check_chap,
    check_iscsi_name,
    check_portal,
    is_own_backstore,
)

SECRET, ANOTHER = "a-secret-of-the-host", "a-secret-of-the-nas"


@pytest.mark.parametrize(
    "name",
    ["iqn.2001-04.com.nas-0-0:vm-vc1-0-vol.7", "iqn.1993-08.org.debian:01:abcdef", "iqn.2024-01.org.x"],
)
def test_names_that_can_be(name: str) -> None:
    """Debian's own form among them."""
    check_iscsi_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vm1",
        "iqn.2001-04.com:vm1",
        "iqn.2001-04.com.nas:VM1",
        "iqn.2001-04.com.nas:vm_1",
        "iqn.2001-04.com.nas:vm 1",
        "iqn.2001-04.com.nas:../..",
        "iqn.2001-04.com.nas:vm\n",
        "iqn.2001-04.com.nas:" + "v" * 220,
    ],
)
def test_names_that_cannot(name: str) -> None:
    """Of one dot, of capitals, of other characters, too long."""
    with pytest.raises(UserError, match="is not a valid iSCSI name"):
        check_iscsi_name(name)


def test_the_backstore_is_known_by_its_target() -> None:
    """And for ours by its beginning."""
    assert backstore_name("iqn.2001-04.com.nas:vm1-vol.3") == "rocks-vm1-vol.3"
    assert is_own_backstore("rocks-vm1-vol.3") and not is_own_backstore("vm1-vol")


@pytest.mark.parametrize("port", [0, 65536])
def test_invalid_ports(port: int) -> None:
    """On an address that can."""
    check_portal("10.9.0.10", 3260)
    with pytest.raises(UserError, match="is not a TCP port"):
        check_portal("10.9.0.10", port)


@pytest.mark.parametrize(
    "chap",
    [
        ChapSecrets("vm1", "short", "nas", ANOTHER),
        ChapSecrets("vm1", SECRET, "nas", "with a blank in it"),
        ChapSecrets("vm1", SECRET + "\nnode.startup = automatic", "nas", ANOTHER),
        ChapSecrets("vm1", SECRET, "nas", SECRET),
        ChapSecrets("", SECRET, "nas", ANOTHER),
        ChapSecrets("vm1", SECRET, "nas = 1", ANOTHER),
    ],
)
def test_invalid_secrets(chap: ChapSecrets) -> None:
    """No message contains one."""
    with pytest.raises(UserError) as refusal:
        check_chap(chap)
    assert chap.password not in str(refusal.value) and chap.mutual_password not in str(refusal.value)


def test_secrets_are_not_part_of_a_record_s_text() -> None:
    """Records end up in logs and error reports."""
    chap = ChapSecrets("vm1", SECRET, "nas", ANOTHER)
    check_chap(chap)
    check_chap(None)
    assert SECRET not in repr(chap) and ANOTHER not in repr(chap)
