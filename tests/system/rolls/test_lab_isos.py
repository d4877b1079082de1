"""The ISOs from which the lab's machines are built: what is taken from them, and which ISOs are refused."""

from pathlib import Path

import pytest

from lab.build.iso_images import ROOTS, make_images
from lab.build.rolls import packages_of, take_rolls
from lab.namespace import CHECKOUT
from lab.progress import Progress
from rocks.core.errors import UserError
from rocks.core.process import run_checked
from tests.system.rolls.conftest import BuildRoll


def test_rolls_come_from_their_isos_and_from_that_of_a_frontend(
    build_roll: BuildRoll, tmp_path: Path
) -> None:
    """A roll that two of them have is refused."""
    hello, extra = build_roll("hello", "1.0"), build_roll("extra", "2.0")
    disc = tmp_path / "disc/rolls"
    disc.mkdir(parents=True)
    (disc / extra.name).hardlink_to(extra)
    frontend = tmp_path / "rocks-frontend.iso"
    write = ["xorriso", "-as", "mkisofs", "-quiet", "-r", "-o", str(frontend), str(disc.parent)]
    run_checked(write, deadline_seconds=60)
    folder = tmp_path / "rolls"
    folder.mkdir()
    taken = take_rolls(folder, [hello, frontend])
    assert [(roll.name, roll.version) for roll in taken] == [("hello", "1.0"), ("extra", "2.0")]
    assert (folder / "extra/2.0/noarch/roll-extra.xml").is_file()
    with pytest.raises(UserError, match="two of the ISOs have the roll extra 2.0"):
        take_rolls(folder, [extra])


def test_isos_that_make_no_machine_are_refused_with_the_reason(build_roll: BuildRoll, tmp_path: Path) -> None:
    whole = build_roll("hello", "1.0")
    cut, other = tmp_path / "cut.iso", tmp_path / "other.iso"
    cut.write_bytes(whole.read_bytes()[:100_000])
    other.write_bytes(bytes(100_000))
    for number, (iso, message) in enumerate(
        (
            (cut, "cut.iso is cut off: it states"),
            (other, "other.iso is not an ISO"),
            (whole, "no roll on the ISOs .hello,1.0. has a root archive: give the ISO of `make roll`"),
        )
    ):
        into = tmp_path / f"into-{number}"
        into.mkdir()
        with pytest.raises(UserError, match=f"^[^:]*{message}"):
            make_images(into, [iso], Progress(lambda line: None))


def test_a_machine_gets_the_packages_of_its_role(tmp_path: Path) -> None:
    """From the graph, for Debian; what only a NAS or only a host runs is on no other."""
    found: dict[str, set[str]] = {}
    for role, root in ROOTS.items():
        document = tmp_path / f"{role}.xml"
        listing = ["list", "node", "xml", root.node, f"basedir={CHECKOUT}", "eval=no"]
        command = ["env", f"ROCKS_STATE={tmp_path}", str(CHECKOUT / "bin/rocks"), *listing]
        document.write_bytes(
            run_checked([*command, f"attrs={dict(root.attributes)!r}"], deadline_seconds=60).output
        )
        found[role] = set(packages_of(document))
    assert {"rocks-agent", "rocks-imgstorage-host", "libvirt-daemon-system", "open-iscsi"} <= found["host"]
    assert {"rocks-imgstorage-nas", "python3-rtslib-fb", "iptables"} <= found["nas"]
    assert found["nas"] & found["host"] == {
        *("kmod", "openssh-server", "python3-amqp", "zfsutils-linux"),
    }
