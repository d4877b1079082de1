"""What becomes an argument of `zfs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rocks.core.errors import StateError, ToolError, UserError
from rocks.storage.zfs.facts import (
    AUTOMATIC,
    BookmarkFact,
    History,
    SnapshotFact,
    TokenFact,
    VolumeFact,
    check_dataset,
    check_part,
    check_properties,
    check_size,
    check_snapshot,
    check_token,
    check_volume,
    held_names,
    parse_estimate,
    parse_history,
    parse_holds,
    parse_token,
    parse_volumes,
)
from rocks.storage.zfs.tool import zfs


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


# What the ZFS programs print, as recorded from OpenZFS 2.1.11.


VALUES = """\
tank/.seed\ttype\tfilesystem\t-
tank/b\ttype\tvolume\t-
tank/b\tused\t5971968\t-
tank/b\tvolsize\t0\tdefault
tank/b\tvolblocksize\t8192\tdefault
tank/b\trefreservation\tnone\tdefault
tank/b\tguid\t17512313252890822116\t-
tank/b\twritten\t5971968\t-
tank/b\treceive_resume_token\t1-111a837046-f8-789c\t-
tank/a\ttype\tvolume\t-
tank/a\tcreation\t1795172954\t-
tank/a\tused\t1048576\t-
tank/a\torigin\ttank/golden@base\t-
tank/a\tvolsize\t67108864\tlocal
tank/a\tvolblocksize\t16384\t-
tank/a\trefreservation\t1048576\tlocal
tank/a\tguid\t2432562452535213835\t-
tank/a\twritten\t57344\t-
tank/a\timgstore:owner\tvmh1\treceived
tank/a\timgstore:epoch\t7\tlocal
tank/a\timgstore:note\tof all below\tinherited from tank
tank/a\tcom.sun:auto\ton\tlocal
"""

HISTORY = """\
tank/a@two\t2506930631263665670\t82\t1795172997\t25419776\t8495104\t0\ttank/clone,tank/another\t-
tank/a@one\t760739575509469988\t48\t1795172957\t16924672\t16924672\t2\t-\ton
tank/a#late\t2506930631263665670\t82\t1795172997\t25419776\t-\t-\t-\t-
tank/a#early\t760739575509469988\t48\t1795172957\t16924672\t-\t-\t-\t-
"""

TOKEN = """\
resume token contents:
nvlist version: 0
\tfromguid = 0xa8eb09d04d2cb24
\tobject = 0x1
\toffset = 0x17b8000
\tbytes = 0x3ce6f0
\ttoguid = 0x22ca682079043e06
\ttoname = tank/explore/a@two
\tembedok = 1
\tcompressok = 1
"""


def test_volumes() -> None:
    """By name, without file systems; of the properties only ours, and only those set on the volume itself."""
    assert parse_volumes(VALUES) == (
        VolumeFact(
            "tank/a",
            "2432562452535213835",
            67108864,
            16384,
            1048576,
            57344,
            1048576,
            "tank/golden@base",
            None,
            (("imgstore:epoch", "7"), ("imgstore:owner", "vmh1")),
        ),
        VolumeFact(
            "tank/b", "17512313252890822116", 0, 8192, 5971968, 5971968, resume_token="1-111a837046-f8-789c"
        ),
    )
    assert parse_volumes(VALUES)[0].property_value("imgstore:epoch") == "7"
    assert parse_volumes(VALUES)[0].property_value("imgstore:note") is None
    assert parse_volumes("") == ()


def test_history() -> None:
    """Oldest first, with holds and clones."""
    holds = parse_holds("tank/a@one\tstep\tFri Nov 20 11:09 2026\ntank/a@one\tlast\tFri Nov 20 11:09 2026\n")
    assert held_names(HISTORY) == ("tank/a@one",)
    history = parse_history(HISTORY, holds)
    one = SnapshotFact(
        "one", "760739575509469988", 48, 1795172957, 16924672, 16924672, ("last", "step"), (), True
    )
    two = SnapshotFact(
        "two", "2506930631263665670", 82, 1795172997, 25419776, 8495104, clones=("tank/another", "tank/clone")
    )
    early = BookmarkFact("early", "760739575509469988", 48)
    assert history == History((one, two), (early, BookmarkFact("late", "2506930631263665670", 82)))
    assert history.newest == two and history.snapshot("one") == one and history.bookmark("early") == early
    assert history.snapshot("on") is None and history.bookmark("one") is None
    assert parse_history("", {}) == History() and History().newest is None


def test_tokens() -> None:
    """Their contents, even when the tool then says that it cannot send; an unsound one has none."""
    fact = TokenFact("2506930631263665670", "760739575509469988", "tank/explore/a@two", 3991280)
    assert parse_token(TOKEN, "") == fact
    assert parse_token("cannot resume send: Invalid cross-device link\n" + TOKEN, "cannot") == fact
    whole = TOKEN.replace("\tfromguid = 0xa8eb09d04d2cb24\n", "")
    assert parse_token(whole, "") == fact._replace(from_guid=None)
    message = "cannot resume send: resume token is corrupt (invalid format)"
    with pytest.raises(StateError, match=r"invalid: cannot resume send: resume token is corrupt"):
        parse_token(message, message)
    with pytest.raises(StateError, match="invalid: it is empty"):
        parse_token(TOKEN.replace("0x22ca682079043e06", "much"), "")
    assert parse_token(TOKEN + TOKEN, "") == fact


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\u2028"])
def test_a_name_in_a_token_cannot_hide_what_it_sends(end: str) -> None:
    """The receiver wrote the token: `zfs send` sends its toguid, whatever its toname contains."""
    lying = TOKEN.replace("toname = tank", f"toname = tank/{end}\ttoguid = 0x5{end}")
    with pytest.raises(StateError, match="it has the field toguid twice"):
        parse_token(lying, "")


def test_estimates() -> None:
    """The line with the size."""
    assert parse_estimate("incremental\ttank/a#bm\ttank/a@two\t8632000\nsize\t8632000\n") == 8632000
    assert parse_estimate(TOKEN + "full\ttank/explore/a@one\t11235568\nsize\t11235568\n") == 11235568
    assert parse_estimate(f"full\ttank/explore/a@one\t{2**64 - 4096}\nsize\t{2**64 - 4096}\n") == 0
    with pytest.raises(ToolError, match="printed no size"):
        parse_estimate("")


def test_a_line_that_is_no_row() -> None:
    """The error is reported, not guessed at."""
    with pytest.raises(ToolError, match="no row of 4 columns: 'warning"):
        parse_volumes("warning: something else\n")


def test_errors_begin_with_the_words_that_programs_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`zfs` that fails, and a machine without it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="^Command zfs failed: .*No such file or directory"):
        zfs("create", "tank/a")
    (tmp_path / "zfs").write_text("#!/bin/sh\necho cannot create >&2\nexit 1\n")
    (tmp_path / "zfs").chmod(0o755)
    with pytest.raises(ToolError, match="^Error executing zfs: create of tank/a failed: cannot create$"):
        zfs("create", "tank/a")
