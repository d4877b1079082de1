"""The simulator's output and that of the real `rocks` have the same shapes, and both are read."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.large_site import Size, fill
from lab.simulator import Simulator
from nucleus.backends import rocks as commands
from nucleus.backends.executor import Answer
from nucleus.backends.rocks import Rocks, SiteError
from tests.system.commands.conftest import Ended, Site, rocks, silent_hosts, site

__all__ = ["rocks", "silent_hosts", "site"]


class _Real:
    """The real commands, in this process."""

    def __init__(self, run: Callable[..., Ended]) -> None:
        self._run = run

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        ended = self._run(*arguments)
        return Answer(ended.status, ended.out, ended.err)


def _keys(text: str) -> tuple[set[str], set[str]]:
    (first, *_) = content = json.loads(text)
    rows: list[dict[str, Any]] = next(value for value in first.values() if isinstance(value, list))
    return set(first), set().union(*(row.keys() for row in rows)) if content else set()


@pytest.mark.usefixtures("silent_hosts")
def test_what_rocks_prints_is_what_the_simulator_prints(site: Site, tmp_path: Path) -> None:
    disk, iso = tmp_path / "disk", tmp_path / "iso"
    disk.write_bytes(b"boot" + bytes(1 << 20))
    iso.write_bytes(bytes(0x8001) + b"CD001")
    site.done("set", "attr", "image_library", str(tmp_path / "library"))
    site.done("add", "image", "debian", f"file={disk}")
    site.done("add", "image", "medium", f"file={iso}")
    site.change("DELETE FROM subnets")
    fill(site.database, Size(hosts=24, clusters=2, vms_per_cluster=6), seed=7)
    real, simulated = _Real(site.rocks), Simulator()
    simulated.library["medium"] = iso.stat().st_size
    for source in (*commands.SOURCES, commands.LIBRARY):
        if source is commands.STORAGEMAP:
            continue  # its NAS does not run; tests/system/imgstorage/test_storage_listings.py has its columns
        answer = real.run(source.arguments, 60)
        assert answer.status in (0, 3), answer
        found = Rocks(real, 60).read(source).content
        assert Rocks(simulated, 60).read(source).content
        assert found
        owner, columns = _keys(simulated.run(source.arguments, 60).out)
        real_owner, real_columns = _keys(answer.out)
        assert owner == real_owner and columns <= real_columns, source.name
    assert list(Rocks(real, 60).read(commands.LIBRARY).content) == ["medium"], "a disk is no ISO"
    members = Rocks(real, 60).read(commands.CLUSTER).content
    machines = Rocks(real, 60).read(commands.VM).content
    assert {member.name for member in members} == set(machines) and len(machines) == 12
    assert all(machine.state == "nostate-error" and machine.memory_mb for machine in machines.values())
    assert len({machine.uuid for machine in machines.values()} - {None}) == 12
    assert {member.name: member.uuid for member in members} == {
        name: machine.uuid for name, machine in machines.items()
    }
    name = min(machines)
    by_uuid = Rocks(real, 60).read_state(str(machines[name].uuid))
    assert by_uuid == Rocks(real, 60).read_state(name) and by_uuid.state == "nostate-error"
    assert set(Rocks(real, 60).read(commands.INTERFACE).content) >= set(machines)
    _causes(site, Rocks(real, 60), min(machines), tmp_path)


def _causes(site: Site, real: Rocks, machine: str, folder: Path) -> None:
    """Refused changes state family and code, which decide what owners read; the library has the ISO `medium`."""
    digest = hashlib.sha256((folder / "iso").read_bytes()).hexdigest()
    disk_digest = hashlib.sha256((folder / "disk").read_bytes()).hexdigest()

    def cause(change: Callable[..., None], *arguments: Any) -> tuple[str, str]:
        with pytest.raises(SiteError) as refused:
            change(*arguments)
        return refused.value.reported_family, refused.value.reported_code

    assert cause(real.add_image, "medium", str(folder / "iso"), digest) == ("state", "library_image_exists")
    assert cause(real.add_image, "x.iso", str(folder / "disk"), disk_digest) == ("user", "file_rejected")
    assert cause(real.remove_image, "none.iso") == ("state", "library_image_unknown")
    assert cause(real.set_cdrom, machine, "image=none.iso") == ("state", "library_image_unknown")
    real.set_cdrom(machine, "image=medium")
    assert cause(real.remove_image, "medium") == ("state", "library_image_in_use")
    assert cause(real.reinstall, machine, "none") == ("state", "library_image_unknown")
    assert cause(real.reinstall, machine, "medium") == ("state", ""), "an ISO"
    assert cause(real.clone, machine, machine) == ("state", ""), "its disk is on no NAS"
    site.done("set", "attr", "vm_cdrom", "medium")
    assert cause(real.set_cdrom, machine, None) == ("state", "medium_overridden")
    assert cause(real.remove_cluster, "nobody") == ("user", "")
    unknown = "00000000-0000-4000-8000-000000000000"
    assert (
        cause(real.set_cdrom, unknown, None) == cause(real.read_state, unknown) == ("user", "machine_unknown")
    )
    started = real.start(unknown).error
    assert isinstance(started, SiteError) and started.reported_code == "machine_unknown"
    assert cause(real.place, machine, "nobody") == ("user", "")
