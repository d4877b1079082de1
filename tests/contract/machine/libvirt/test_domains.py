"""What starts, pauses and stops domains, on libvirt in memory and on a real one with real QEMU processes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rocks.core.errors import StateError, ToolError
from rocks.fleet.wire.facts import Fence
from rocks.fleet.wire.requests import PauseDomain, ResumeDomain, StartDomain, StopDomain
from rocks.machine.host.libvirt.power import ensure_fenced
from tests.contract.machine.libvirt.world import (
    LOOPBACK,
    NAME,
    XML,
    World,
    run,
    start,
    xml_of,
)
from tests.contract.outcomes import changes_once, refused

UEFI = (
    "<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type>{}</os>",
    "<os><type arch='x86_64' machine='q35'>hvm</type>"
    "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>{}</os>",
)


@pytest.mark.parametrize("system", UEFI)
def test_libvirt_takes_the_file_of_firmware_variables_by_uuid(world: World, system: str) -> None:
    """As `rocks.machine.domain` names it; libvirt's own name would be that of the domain."""
    if not Path("/usr/share/OVMF/OVMF_CODE_4M.fd").exists():
        pytest.skip("the package ovmf is not installed")
    old = XML[XML.index("<os>") : XML.index("</os>") + len("</os>")]
    nvram = "/var/lib/libvirt/qemu/nvram/1-2_VARS.fd"
    world.domains.define(xml_of(world).replace(old, system.format(f"<nvram>{nvram}</nvram>")))
    assert world.domains.document(NAME).root.findtext("os/nvram") == nvram


def start_by_hand(world: World) -> None:
    """What an operator does with virsh."""
    world.domains.define(xml_of(world, token=None))
    world.domains.start_paused(NAME)
    world.domains.resume(NAME)


def state(world: World) -> str:
    fact = world.domains.find(NAME)
    return "absent" if fact is None else fact.state


class _Starting:
    """A domain whose start is in progress until its state was asked `asked` times."""

    def __init__(self, asked: int) -> None:
        self.left = asked

    def name(self) -> str:
        return NAME

    def state(self) -> tuple[int, int]:
        self.left -= 1
        return (3, 11) if self.left > 0 else (1, 1)  # paused since it is starting; running

    def XMLDesc(self) -> str:  # noqa: N802 - a method of libvirt
        return f"<domain><name>{NAME}</name><memory>65536</memory><vcpu>1</vcpu></domain>"


def test_the_facts_for_a_start_do_not_wait_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """All other facts wait: libvirt reports a domain that is being started as paused."""
    libvirt = pytest.importorskip("libvirt", reason="the distribution's libvirt bindings are not installed")
    from rocks.machine.host.libvirt.domains import Domains

    starting = _Starting(3)
    connection = SimpleNamespace(listAllDomains=lambda flags=0: [starting])
    monkeypatch.setattr(libvirt, "open", lambda where: connection)
    domains = Domains()
    assert [fact.state for fact in domains.facts_for_start("vm-t-1")] == ["paused"]
    assert [fact.state for fact in domains.facts_for_start(NAME)] == ["running"]
    starting.left = 3
    assert [fact.state for fact in domains.facts()] == ["running"]


@pytest.mark.slow
def test_start_from_nothing_and_again(world: World) -> None:
    """The second time nothing changes, and the facts are those of the XML."""
    assert start(world)
    assert not start(world)
    fact = world.domains.find(NAME)
    assert (fact.name, fact.token, fact.memory_mb, fact.cpus) == (NAME, 7, 64, 1)
    assert (fact.state, fact.persistent) == ("running", True)
    assert (fact.autostart, fact.has_managed_save) == (False, False)
    assert world.domains.facts() == (fact,)
    assert world.domains.facts_for_start(NAME) == world.domains.facts_for_start("vm-t-1") == (fact,)
    assert world.domains.find("vm-t-1") is None


def test_a_picture_of_the_screen_is_a_png_and_read_up_to_a_size(world: World) -> None:
    refused(StateError, f"there is no domain {NAME}", world.domains.screenshot, NAME, 1_000_000)
    start(world)
    picture = world.domains.screenshot(NAME, 1_000_000)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    part = world.domains.screenshot(NAME, 5)
    assert len(part) > 5 and picture[:6] == part[:6]


@pytest.mark.slow
def test_console_of_a_running_guest(world: World) -> None:
    """VNC on a unix socket of the host, the log of the serial line; nothing on the network."""
    start(world)
    console = world.domains.console(NAME)
    assert (console.vnc_socket or "").startswith("/var/lib/libvirt/qemu/domain-")
    assert console.log_path == f"/var/log/libvirt/qemu/{NAME}-serial.log"
    fact = world.domains.find(NAME)
    assert (fact.listeners, fact.disks) == ((), (str(world.image),))
    refused(StateError, "there is no domain vm-t-1", world.domains.console, "vm-t-1")


def test_a_guest_with_a_site_s_own_screen_listens_on_the_loopback(world: World) -> None:
    """The fact says what every user of the host reaches; it is no console of ours."""
    xml = xml_of(world, listen=LOOPBACK).replace("<graphics type='vnc'>", "<graphics type='vnc' port='5977'>")
    world.domains.define(xml)
    world.domains.start_paused(NAME)
    assert world.domains.console(NAME).vnc_socket is None
    assert world.domains.find(NAME).listeners == ("vnc 127.0.0.1 port 5977",)


@pytest.mark.slow
def test_a_start_that_was_killed_is_completed(world: World) -> None:
    """Defined, but not started, perhaps by an older lease: the next start begins again."""
    world.domains.define(xml_of(world, token=6))
    assert state(world) == "shutoff"
    assert start(world)
    assert world.domains.find(NAME).token == 7


def test_autostart_is_set_in_either_case(world: World) -> None:
    """A start that was killed before its last step is completed too."""
    for expected in (True, False, True):
        assert start(world, autostart=expected)
        assert world.domains.find(NAME).autostart is expected
    assert not start(world, autostart=True)


def test_a_start_that_fails_leaves_nothing(world: World) -> None:
    """No definition stays behind, and the error says why."""
    world.image.unlink()
    refused(ToolError, "did not start vm-t-0: .*No such file", start, world)
    assert state(world) == "absent"


def test_what_libvirt_cannot_define(world: World) -> None:
    """The message of libvirt; nothing changed."""
    request = StartDomain(NAME, 7, "")
    with pytest.raises(ToolError, match="did not define the domain"):
        run(world, replace(request, xml="<domain type='qemu'/>"))
    assert world.domains.facts() == ()


@pytest.mark.slow
def test_pause_and_resume(world: World) -> None:
    """Each twice; a start of a paused guest asks for resume, a shutdown of it too."""
    start(world)
    changes_once(world.do, PauseDomain(NAME, 7))
    assert state(world) == "paused"
    assert not world.domains.is_stopped_by_disk(NAME)
    refused(StateError, "is paused, not off; resume it with rocks resume host vm vm-t-0", start, world)
    with pytest.raises(StateError, match="cannot shut down; resume it"):
        world.do(StopDomain(NAME, 7, "shutdown", 1))
    changes_once(world.do, ResumeDomain(NAME, 7))
    assert state(world) == "running"


def test_reset_and_reboot_leave_it_running(world: World) -> None:
    """And defined."""
    start(world)
    for action in ("reset", "reboot"):
        assert world.do(StopDomain(NAME, 7, action)).changed
    assert state(world) == "running"


@pytest.mark.slow
def test_stop_undefines(world: World) -> None:
    """Twice; the disk stays."""
    start(world)
    assert world.do(StopDomain(NAME, 7)).changed
    assert state(world) == "absent"
    assert not world.do(StopDomain(NAME, 7)).changed
    assert world.image.exists()


@pytest.mark.slow
def test_a_guest_that_does_not_listen_is_powered_off(world: World) -> None:
    """A blank disk has nothing that looks at the power button."""
    start(world)
    change = world.do(StopDomain(NAME, 7, "shutdown", 1))
    assert change.changed
    assert change.notes == ("vm-t-0 did not shut down within 1 s and was powered off",)
    assert state(world) == "absent"


def test_managed_save(world: World) -> None:
    """Nothing goes on from it by chance, and only a request that says so drops it."""
    start(world)
    world.domains.save(NAME)
    fact = world.domains.find(NAME)
    assert (fact.state, fact.has_managed_save) == ("shutoff", True)
    world.domains.check_managed_save(NAME)
    refused(StateError, "does not belong to its lease; .* saved=remove", start, world)
    for action in ("shutdown", "poweroff"):
        with pytest.raises(StateError, match="is saved on this host: .*restore host vm vm-t-0"):
            world.do(StopDomain(NAME, 7, action, 1))
    change = world.do(StopDomain(NAME, 7, discards_save=True))
    assert change.notes == ("the saved memory of vm-t-0 is discarded",)
    assert state(world) == "absent"


def restore(world: World, token: int = 7) -> bool:
    """Continue the guest; whether anything changed."""
    request = StartDomain(NAME, token, "", restores=True)
    return run(world, replace(request, continues=True)).changed


@pytest.mark.slow
def test_a_saved_domain_continues_under_its_lease(world: World) -> None:
    """Also when the restore was interrupted before the guest ran; a failure leaves the save."""
    refused(StateError, "was saved, but this host does not have its memory any more", restore, world)
    start(world)
    assert not restore(world)
    world.domains.save(NAME)
    refused(StateError, "was saved, but this host does not have its memory any more", restore, world, token=8)
    assert restore(world) and state(world) == "running"
    world.domains.save(NAME)
    world.domains.start_paused(NAME)
    assert restore(world) and state(world) == "running"
    assert not world.domains.find(NAME).has_managed_save
    refused(ToolError, "managed save", world.domains.check_managed_save, NAME)


@pytest.mark.slow
def test_fences(world: World) -> None:
    """Lower leases go, the same and higher ones stay; so does a domain without lease, where the fence does not hold."""
    assert ensure_fenced(world.domains, Fence(NAME, 8))
    start(world, token=8)
    assert ensure_fenced(world.domains, Fence(NAME, 8))
    assert state(world) == "running"
    assert ensure_fenced(world.domains, Fence(NAME, 9))
    assert state(world) == "absent"
    start_by_hand(world)
    assert not ensure_fenced(world.domains, Fence(NAME, 9))
    assert state(world) == "running"


@pytest.mark.slow
def test_a_machine_that_ended_and_was_renamed_starts(world: World) -> None:
    """libvirt defines no second domain with its UUID; a machine that ends by itself leaves its definition."""
    uuid = "<uuid>5f1e0b56-0a53-4ac8-9a5c-5ad6a2a2a0aa</uuid>"
    former, renamed = (
        StartDomain(name, token, xml_of(world, name, token).replace("<memory>", f"{uuid}<memory>"))
        for name, token in (("vm-former", 6), (NAME, 7))
    )
    assert run(world, former).changed
    refused(ToolError, "'vm-former' is already defined with uuid", run, world, renamed)
    world.domains.destroy(former.name)
    assert run(world, renamed).changed
    assert [fact.name for fact in world.domains.facts()] == [NAME] and state(world) == "running"


def test_a_definition_of_another_origin_is_replaced_with_a_note(world: World) -> None:
    """As Rocks always did."""
    world.domains.define(xml_of(world, token=None))
    xml = xml_of(world)
    change = run(world, StartDomain(NAME, 7, xml), ("first",))
    assert change.notes == ("first", "replaced a definition of vm-t-0 not made by this system")


def test_steps_on_what_is_gone(world: World) -> None:
    """Taking away what is not there is no error; all else says that there is no such domain."""
    for step in (world.domains.destroy, world.domains.undefine, world.domains.erase):
        step(NAME)
    for other in (world.domains.start_paused, world.domains.suspend, world.domains.press_power_button):
        refused(StateError, "there is no domain vm-t-0", other, NAME)
    assert not world.domains.is_stopped_by_disk(NAME)
