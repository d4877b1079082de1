"""What becomes an argument of `zfs`."""

import pytest

from rocks.core.errors import UserError
from rocks.storage.zfs.facts import (
    AUTOMATIC,
    check_dataset,
    check_part,
    check_properties,
    check_size,
    check_snapshot,
    check_token,
    check_volume,
)


@pytest.mark.parametrize("name", ["tank/vm-vc1-0-vol", "tank/.seed/a:b_c.d", "vmpool/a-vol-orphan-7"])
def test_good_volumes(name: str) -> None:
    """Ours, those beside their place, and those set aside."""
    check_volume(name)
    check_snapshot(f"{name}@img-1-1-20260101T000000Z")


@pytest.mark.parametrize(
    "name",
    [
        "tank",
        "",
        "/tank/a",
        "tank/",
        "tank//a",
        "tank/..",
        "tank/.",
        "tank/-r",
        "-r/a",
        "tank/a b",
        "tank/a@b",
        "tank/a#b",
        "tank/a,b",
        "tank/a%b",
        "tank/a\n",
        "tank/ä",
        "1tank/a",
        "tank/" + "a" * 202,
        "tank" + "/aaaaaaaaa" * 26,
    ],
)
def test_bad_volumes(name: str) -> None:
    """Another dataset, an option, two of them, or nothing that ZFS has."""
    with pytest.raises(UserError):
        check_volume(name)


def test_other_names() -> None:
    """Pools, parts, tokens."""
    check_dataset("tank")
    check_part("imgstore_CURSOR_G_00ff_H_vmh1")
    check_token("1-111a837046-f8-789c")
    for part in ("", "-d", "a@b", "a b", "a,b", "a/b", ".hidden"):
        with pytest.raises(UserError):
            check_part(part)
    for token in ("", "1 2", "-t\n", "a" * 5000):
        with pytest.raises(UserError):
            check_token(token)
    for snapshot in ("tank/a", "tank@b", "tank/a@", "tank/a@b@c", "tank/a@b,c"):
        with pytest.raises(UserError):
            check_snapshot(snapshot)


def test_properties() -> None:
    """Ours only, one line each; a volume does not bear what its snapshots would inherit."""
    check_properties({"imgstore:epoch": "7", "imgstore:base_guid": "1"})
    check_properties({AUTOMATIC: "on"}, of_snapshot=True)
    for key, value in (
        (AUTOMATIC, "on"),
        ("volsize", "1"),
        ("imgstore:A", "1"),
        ("imgstore:a=b", "1"),
        ("imgstore:a", ""),
        ("imgstore:a", "-"),
        ("imgstore:a", "x\ty"),
        ("imgstore:a", "x" * 1025),
    ):
        with pytest.raises(UserError):
            check_properties({key: value})


def test_sizes() -> None:
    """Whole blocks of a size that ZFS has."""
    check_size("tank/a", 32768, 16384)
    for size, block in (
        (0, 16384),
        (-16384, 16384),
        (16385, 16384),
        (30000, 10000),
        (1024, 256),
        (1 << 20, 1 << 18),
    ):
        with pytest.raises(UserError):
            check_size("tank/a", size, block)
