"""libvirt's hook: which domains may start."""

from pathlib import Path

import pytest

from rocks.core.errors import IncoherentError, StateError, UserError
from rocks.fleet.host.state_folder import Place
from rocks.fleet.wire.requests import LinkSpec, VfSpec
from rocks.leases.host.leases import Leases
from rocks.machine.host import host
from rocks.machine.host.hook import check_start, note_end
from rocks.network.host.stored_links import StoredLinks
from rocks.network.sriov.host.guests import AssignedVfs, VfRecords
from tests.fakes.links import FakeLinks
from tests.fakes.packet_filters import FakeFilters
from tests.fakes.virtual_functions import FakeVfs

BEFORE = ["a", "prepare", "begin", "-"]
DOMAIN = '<domain><name>a</name><metadata><l:lease xmlns:l="urn:rocks:lease" token="{}"/></metadata></domain>'


def test_an_overtaken_lease_may_not_start(tmp_path: Path) -> None:
    """The same and higher leases may start, and so may domains of others."""
    Leases(tmp_path).admit("a", 7)
    with pytest.raises(StateError, match="belongs to lease 6, but this host has seen lease 7"):
        check_start(BEFORE, DOMAIN.format(6), tmp_path)
    for text in (DOMAIN.format(7), DOMAIN.format(8), "<domain><name>a</name></domain>"):
        check_start(BEFORE, text, tmp_path)


def test_other_operations_are_ignored(tmp_path: Path) -> None:
    """The hook can prevent a start only before it."""
    Leases(tmp_path).admit("a", 7)
    for arguments in (["a", "release", "end", "-"], ["a", "started", "begin", "-"], ["a"], []):
        check_start(arguments, "no XML at all", tmp_path)


NETWORKED = """<domain><name>a</name><metadata><l:lease xmlns:l="urn:rocks:lease" token="7"/></metadata><devices>
<interface type='direct'><mac address='02:00:00:00:00:01'/><source dev='p.7'/><target dev='macvtap0'/></interface>
</devices></domain>"""


def test_no_start_without_devices_and_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before libvirt makes devices, the planned devices are made; before QEMU is executed, the filter is set."""
    links, filters = FakeLinks(), FakeFilters()
    monkeypatch.setattr(host, "_netlink", lambda: links)
    monkeypatch.setattr(host, "_filters", lambda: filters)
    StoredLinks(tmp_path).remember("a", (LinkSpec("p.7", "local_bridge", None, 7),))
    check_start(BEFORE, NETWORKED, tmp_path)
    assert "p.7" in links.links and filters.rules == {}
    execution = ["a", "start", "begin", "-"]
    check_start(execution, NETWORKED, tmp_path)
    assert {rule.reason for rule in filters.rules["macvtap0"]} == {"tagged", "mac", "control"}
    filters.missing.append("macvtap0")
    with pytest.raises(StateError, match="no network device macvtap0"):
        check_start(execution, NETWORKED, tmp_path)
    check_start(execution, NETWORKED.replace('token="7"', 'tokens="7"'), tmp_path)


def test_invalid_input_prevents_the_start(tmp_path: Path) -> None:
    """Invalid XML; an invalid stored lease."""
    with pytest.raises(UserError):
        check_start(BEFORE, "<domain", tmp_path)
    Leases(tmp_path).admit("a", 7)
    (tmp_path / "leases" / "a").write_text("?")
    with pytest.raises(IncoherentError):
        check_start(BEFORE, DOMAIN.format(9), tmp_path)


@pytest.mark.parametrize(
    ("place", "noted"), [(Place.RELEASED, {"a": "7", "b": "", "c": ""}), (Place.ENDED, {"a": "7"})]
)
def test_the_end_of_a_machine_is_noted_where_somebody_reads_it(
    tmp_path: Path, place: Place, noted: dict[str, str]
) -> None:
    """Only the end, never outside the folder; of a machine without a lease, also by invalid XML, for images alone."""
    end = ["release", "end", "-"]
    folder = place.below(tmp_path)
    note_end(["a", *end], DOMAIN.format(7), tmp_path)
    assert not folder.exists()
    folder.mkdir(parents=True)
    for arguments in (["d", "stopped", "end", "-"], ["../e", *end], ["f"], []):
        note_end(arguments, DOMAIN.format(7), tmp_path)
    assert list(folder.iterdir()) == []
    for name, xml in (
        ("a", DOMAIN.format(7)),
        ("b", "<domain><name>b</name></domain>"),
        ("c", "no XML at all"),
    ):
        note_end([name, *end], xml, tmp_path)
    assert {path.name: path.read_text() for path in folder.iterdir()} == noted


def test_vfs_of_a_guest_that_libvirt_starts_are_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it has any, and they were not configured since the boot."""
    functions = FakeVfs()
    functions.add("eth1")
    monkeypatch.setattr("rocks.machine.host.host._sriov", lambda: functions)
    expected = VfSpec("eth1", 2, 1, "52:54:00:aa:00:01", 100)
    VfRecords(tmp_path).write("a", AssignedVfs(7, "an earlier boot", (expected,)))
    interface = (
        "<devices><interface type='hostdev'><source><address type='pci' domain='0' bus='1' slot='0x10' function='2'/>"
        "</source><mac address='52:54:00:aa:00:01'/></interface></devices></domain>"
    )
    check_start(BEFORE, DOMAIN.format(7), tmp_path)
    assert functions.adapters["eth1"].vfs == ()
    text = DOMAIN.format(7).replace("</domain>", interface)
    check_start(BEFORE, text, tmp_path)
    assert functions.adapters["eth1"].vfs[1].mac == expected.mac
    functions.adapters.clear()
    check_start(BEFORE, text, tmp_path)
    VfRecords(tmp_path).write("a", AssignedVfs(7, "an earlier boot", (expected,)))
    with pytest.raises(StateError, match="this host has no network adapter eth1"):
        check_start(BEFORE, text, tmp_path)
