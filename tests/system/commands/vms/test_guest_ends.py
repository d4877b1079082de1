"""A guest that ends by itself: the host's note, its request to the frontend, and what the frontend makes of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rocks.core.errors import HostError, UserError
from rocks.database.connection import Database
from rocks.fleet.wire.facts import HostFacts
from rocks.install.installation.service import create_service
from rocks.leases.lease import lock_vms
from rocks.machine import stop as ended_machines
from rocks.machine.host.end_reports import report_ends
from tests.servers import answering
from tests.system.commands.conftest import Site

FRONTEND, HOST, MAC = "127.0.0.2", "127.0.0.1", "02:aa:00:00:00:01"
"""A client on this machine has the address 127.0.0.1, whichever it connects to."""


@dataclass
class Guests:
    """The site with the machine `web`, which runs on vmc-0-0 by its lease; that host's folders; the service."""

    site: Site
    state: Path
    settings: Path
    network: Path
    terminated: list[str] = field(default_factory=list)
    ended: tuple[str, ...] = ()

    def note(self, name: str, token: int = 7) -> Path:
        """What the hook writes."""
        path = self.state / "ended" / name
        path.write_text(str(token))
        return path

    def report(self) -> list[str]:
        """`rocks-agent ended` on the host."""
        return report_ends(self.state, self.settings, self.network)

    def lease(self) -> str:
        """The state of the lease."""
        return str(self.site.rows("SELECT State FROM vm_leases WHERE Name = 'web'")[0][0])


@pytest.fixture
def guests(vm_site: Site, authority: Path, tmp_path: Path) -> Iterator[Guests]:
    """The service runs; vmc-0-0 reports as ended what the test says."""
    for name, address, mac in (("head", FRONTEND, "02:aa:00:00:00:02"), ("vmc-0-0", HOST, MAC)):
        vm_site.change(
            "UPDATE networks i JOIN nodes n ON n.ID = i.Node JOIN subnets s ON s.ID = i.Subnet"
            " SET i.IP = %s, i.MAC = %s WHERE n.Name = %s AND s.name = 'private'",
            (address, mac, name),
        )
    vm_site.done("set attr Kickstart_PrivateHostname head")
    vm_site.done("add host certificate head")
    vm_site.done("add host vm vmc-0-0 compute name=web")
    vm_site.take_lease("web", "vmc-0-0")
    found = Guests(vm_site, tmp_path / "state", tmp_path / "settings", tmp_path / "net")
    for folder in (found.state / "ended", found.settings, found.network / "eth0"):
        folder.mkdir(parents=True)
    (found.network / "eth0" / "address").write_text(f"{MAC}\n")
    (found.settings / "site-authority.pem").write_bytes((authority / "ca.crt").read_bytes())
    with answering(
        create_service(vm_site.database, FRONTEND, 0, lambda _: None, found.terminated.extend)
    ) as server:
        (found.settings / "frontend.conf").write_text(f"server = {FRONTEND}:{server.server_address[1]}\n")
        yield found


def answer(guests: Guests) -> None:
    """Have vmc-0-0 answer: these leases end there. What a real host answers is in tests/system/vms."""

    def ask(database: Database, fleet: object, hosts: list[str], **more: object) -> dict[str, HostFacts]:
        assert hosts == ["vmc-0-0"] and more == {"lease_ends": {"vmc-0-0": [("web", 7)]}}
        return {"vmc-0-0": HostFacts(1024, 1, True, True, (), (), (), ended=guests.ended)}

    guests.site.patch.setattr(ended_machines, "contact_hosts", ask)


def test_the_lease_of_a_guest_that_has_ended_is_released(guests: Guests) -> None:
    answer(guests)
    guests.ended = ("web",)
    note = guests.note("web")
    assert guests.report() == ["web has ended, and its lease is released"]
    assert (guests.lease(), guests.terminated, note.exists()) == ("released", ["web"], False)
    assert "it ended by itself on vmc-0-0" in guests.site.database.rows("SELECT Reason FROM vm_leases")[0]
    assert guests.report() == []


def test_a_guest_that_runs_again_keeps_its_lease(guests: Guests) -> None:
    """Also when the note is forged: the frontend believes the host's answer only."""
    answer(guests)
    note = guests.note("web")
    assert guests.report() == []
    assert (guests.lease(), guests.terminated, note.exists()) == ("running", [], False)


@pytest.mark.slow
def test_a_report_waits_for_the_start_that_is_at_work(guests: Guests) -> None:
    """The start decides about a guest that does not come up; one that ends before it is recorded is reported again."""
    guests.site.change("UPDATE vm_leases SET State = 'starting'")
    note = guests.note("web")
    with Database(guests.site.database.settings) as start:
        assert lock_vms(start, ["web"]) == {}
        with pytest.raises(HostError, match="takes no report of ended machines"):
            guests.report()
        assert note.exists() and guests.lease() == "starting"
    guests.site.change("UPDATE vm_leases SET State = 'running'")
    answer(guests)
    guests.ended = ("web",)
    assert guests.report() == ["web has ended, and its lease is released"]
    assert (guests.lease(), guests.terminated, note.exists()) == ("released", ["web"], False)


@pytest.mark.slow
def test_a_report_waits_for_the_stop_that_is_at_work(guests: Guests) -> None:
    """Asked of the host only when the stop is over; it keeps the reason of a stop by force, and the image."""
    guests.site.change("UPDATE vm_leases SET State = 'stopping', Reason = 'burnt'")
    note = guests.note("web")
    with Database(guests.site.database.settings) as stop:
        assert lock_vms(stop, ["web"]) == {}
        with pytest.raises(HostError, match="takes no report of ended machines"):
            guests.report()
        assert note.exists() and guests.lease() == "stopping"
    answer(guests)
    guests.ended = ("web",)
    assert guests.report() == ["web has ended, and its lease is released"]
    assert (guests.lease(), guests.terminated, note.exists()) == ("released", [], False)
    assert guests.site.database.rows("SELECT Reason FROM vm_leases") == [("burnt",)]


@pytest.mark.slow
def test_a_stop_at_work_holds_up_no_report_of_another_guest(guests: Guests) -> None:
    answer(guests)
    guests.ended = ("web",)
    guests.site.take_lease("db", "vmc-0-0", "stopping", token=8)
    for name in ("web", "db"):
        guests.note(name)
    with Database(guests.site.database.settings) as stop:
        assert lock_vms(stop, ["db"]) == {}
        with pytest.raises(HostError, match="takes no report of ended machines"):
            guests.report()
    assert (guests.lease(), guests.terminated) == ("released", ["web"])
    guests.site.change("UPDATE vm_leases SET State = 'released', Host = NULL")
    assert guests.report() == [] and list((guests.state / "ended").iterdir()) == []


def test_a_host_is_asked_once_at_a_time(guests: Guests) -> None:
    """Each question keeps a worker of the service, and a silent host would keep all of them from the others."""
    answer(guests)
    asked = ended_machines.contact_hosts

    def ask(*arguments: object, **more: object) -> object:
        with pytest.raises(HostError, match="takes no report of ended machines"):
            guests.report()
        return asked(*arguments, **more)

    guests.site.patch.setattr(ended_machines, "contact_hosts", ask)
    guests.ended = ("web",)
    guests.note("web")
    assert guests.report() == ["web has ended, and its lease is released"]
    guests.note("web")
    assert guests.report() == []


def test_a_host_reports_on_its_own_guests_only(guests: Guests) -> None:
    guests.site.change("UPDATE vm_leases SET Host = 'vmc-0-1'")
    for name in ("web", "other", "x' OR 1=1 --", "vmc-0-1"):
        guests.note(name)
    assert guests.report() == []
    assert guests.lease() == "running" and list((guests.state / "ended").iterdir()) == []


def test_a_note_stays_until_the_frontend_could_ask_the_host(guests: Guests) -> None:
    """No host answers here; a half-written note is left alone."""
    note, half = guests.note("web"), guests.note(".half")
    with pytest.raises(HostError, match="takes no report of ended machines"):
        guests.report()
    assert note.exists() and half.exists() and guests.lease() == "running"


def test_an_unknown_host_is_refused_and_does_not_ask_again(guests: Guests) -> None:
    (guests.network / "eth0" / "address").write_text("02:aa:00:00:00:77\n")
    note = guests.note("web")
    (line,) = guests.report()
    assert "refuses" in line and "another MAC address" in line
    assert not note.exists() and guests.lease() == "running"


def test_the_frontend_must_be_the_sites(guests: Guests) -> None:
    """Another authority; a service that is away; no settings."""
    note = guests.note("web")
    guests.site.done("add host certificate head replace=yes")
    good = (guests.settings / "site-authority.pem").read_text()
    (guests.settings / "site-authority.pem").write_text("")
    with pytest.raises(HostError, match="does not answer"):
        guests.report()
    (guests.settings / "site-authority.pem").write_text(good)
    (guests.settings / "frontend.conf").write_text(f"server = {FRONTEND}:1\n")
    with pytest.raises(HostError, match="does not answer"):
        guests.report()
    for text in ("", "other = 1\n", "server = 10.1.1.1:x\n"):
        (guests.settings / "frontend.conf").write_text(text)
        with pytest.raises(UserError):
            guests.report()
    assert note.exists()


def test_names_are_bounded() -> None:
    assert ended_machines.read_names(b"a\n\nb\na\n") == ["a", "b"]
    with pytest.raises(UserError, match="at most"):
        ended_machines.read_names(b"\n".join(b"%d" % number for number in range(1000)))
    with pytest.raises(UserError, match="UTF-8"):
        ended_machines.read_names(b"\xff")
