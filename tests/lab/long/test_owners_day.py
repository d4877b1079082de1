"""An owner's day with a virtual cluster, by `comet`, on real hosts: guests that run, disks that travel to and fro.

The numbers are those of the steps of the day that the interface's specification describes. The day of the demo
(`tools/owner-day`) has all of them, with hosts that are simulated.
"""

import json
import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from lab.machines.frontend import put_counting_guest
from lab.machines.sample_cluster import CLUSTER, disk_of
from lab.nucleus import OPERATOR_COMMANDS, OWNER
from rocks.core.process import end_group, start_with_pipes
from tests.lab.image_site import GUEST, NAS, VOLUME, ImageSite
from tests.lab.lab_site import LabSite
from tests.lab.nucleus_site import COMET, URL, NucleusSite
from tests.patience import patience

SUBJECTS = (
    "src/nucleus",
    "src/owners",
    "roll/pragma/owners",
    "src/comet",
    "src/rocks/commands",
    "src/rocks/storage",
)

OTHER = "vm-vc1-1"
"""A compute without image storage: its disk is a file of vmh2."""

WAIT = "--wait=900"
_ISO = bytes(0x8001) + b"CD001" + bytes(4096)
_FIRST_MB, _DATA_MB = 24, 40
_SECONDS = 900.0


@pytest.fixture
def day(site: LabSite, tmp_path: Path) -> Iterator[NucleusSite]:
    """The site with image storage and Nucleus; the disk of one compute is on the NAS, those of the others are files."""
    images = ImageSite(site)
    images.set_up()
    # data that no compression shortens: its way to the host can be seen
    images.nas.shell(
        f"dd if=/dev/urandom of=/dev/zvol/tank/{VOLUME} bs=1M seek={_FIRST_MB} count={_DATA_MB} "
        "conv=notrunc,fsync status=none",
        120,
    )
    put_counting_guest(site.lab["vmh1"], site.lab.counting_guest, disk_of(CLUSTER))
    site.done("set", "host", "image", "vmh1", disk_of(CLUSTER), f"vm={CLUSTER}")
    site.done("set", "host", "vm", CLUSTER, "mem=64")
    site.done("set", "host", "boot", CLUSTER, "action=os")
    made = NucleusSite(site, tmp_path)
    try:
        token = made.set_up(OPERATOR_COMMANDS)
        (tmp_path / "token").write_text(token, encoding="ascii")
        (tmp_path / "inst.iso").write_bytes(_ISO)
        made.start_server()
        yield made
    finally:
        made.stop()


def test_an_owners_day(day: NucleusSite) -> None:
    """Each step is a command with its exit status and what it prints, and what the hosts and the NAS have then."""
    images = ImageSite(day.site)
    _sign_in_and_look(day)
    _frontend_from_an_image(day)
    _start_once(day, images)
    _while_it_runs(day)
    _without_the_server(day)
    _end(day, images)
    _killed_while_a_set_with_a_short_walltime_starts(day, images)
    _strangers_and_operators(day)


def _sign_in_and_look(day: NucleusSite) -> None:
    """Steps 1 to 3."""
    day.does(f"init --endpoint=lab --url={URL} --user={OWNER} --token-file={day.folder}/token", "is written")
    assert stat.S_IMODE((day.folder / "config.toml").stat().st_mode) == 0o600
    day.does("ll", "| vc1 ", "vm-vc1-[0-1]")
    day.does("ll vc9", "there is no cluster 'vc9' of yours", status=4)
    nodes = _nodes(day)
    assert list(nodes) == [CLUSTER, GUEST, OTHER]
    assert {(it["power"], it["admin_state"], it["stale"]) for it in nodes.values()} == {
        ("off", "ready", False)
    }
    for name, node in nodes.items():
        listed = day.site.ask("list", "host", "interface", name)[0]["interface"]
        assert set(node["mac"].split(";")) == {one["mac"] for one in listed if one["mac"]}


def _frontend_from_an_image(day: NucleusSite) -> None:
    """Steps 4 to 8: the image is in the real drive, the console is that of the real machine."""
    site = day.site
    upload = f"iso upload {day.folder}/inst.iso"
    day.does(f"{upload} {WAIT}", "inst.iso is in the library")
    day.does("iso list", "inst.iso")
    day.does(upload, status=5)
    day.does(f"{upload} --isoname=../x.iso", status=2)
    day.does(f"iso attach inst.iso vc1 {WAIT}", "from the next power-on")
    day.does(f"power on vc1 {WAIT}", "vc1: is on")
    assert _info(day)["iso_active"].endswith("inst.iso")
    assert site.domain_state("vmh1", CLUSTER) == "running"
    drives = site.lab["vmh1"].run(["virsh", "--quiet", "domblklist", CLUSTER]).text
    (medium,) = [path for path in drives.split() if "/library/" in path]
    assert site.lab["vmh1"].read_file(medium).startswith(_ISO)

    link = day.does("console --link vc1", "/console/vnc/").strip()
    address = link.replace("http://", "ws://").replace("/console/vnc/", "/ws/console/")
    with connect(address, proxy=None, open_timeout=60) as console:
        assert bytes(console.recv(timeout=60)).startswith(b"RFB 003.")  # type: ignore[arg-type] # VNC sends bytes
    with pytest.raises(InvalidStatus):
        connect(address, proxy=None, open_timeout=60)

    day.does(f"iso detach vc1 {WAIT}", "no image from the next power-on")
    day.does(f"power off vc1 {WAIT}", "vc1: is off")
    day.does(f"power on vc1 {WAIT}", "vc1: is on")
    assert not _info(day)["iso_active"]
    site.wait_for_count("vmh1", CLUSTER, beyond=0, deadline_seconds=120)
    _serial_console(day)
    day.does(f"power off vc1 {WAIT}", "vc1: is off")
    assert site.domain_state("vmh1", CLUSTER) in ("absent", "shut off")


def _start_once(day: NucleusSite, images: ImageSite) -> None:
    """Steps 9 to 11, 13, 18 and 20: the guest counts while its disk goes from the NAS to its host."""
    site = day.site
    day.does(f"start vc1 {GUEST} --walltime=6", "one of the units", status=2)
    day.does(f"start vc1 {GUEST} --walltime=6h", "computeset 1 is accepted")
    day.does(f"start vc1 {GUEST}", f"{GUEST} is in the computeset 1", status=5)
    day.does("start vc1 --count=2", "1 is available", status=5)
    day.does(f"computeset 1 {WAIT}", "State: running")
    seen = _until(lambda: _nodes(day)[GUEST]["admin_state"], "synced")
    assert "NAS->VM" in _ways(day), seen
    images.wait_until_local("vmh1")
    site.wait_for_count("vmh1", GUEST, beyond=0)

    asked = "from comet import Client\nfor attempt in 1, 2:\n"
    asked += f"    print(Client().start('vc1', ['{OTHER}'], None, idempotency_key='same').computeset)"
    twice = start_with_pipes(["/usr/bin/python3", "-S", "-c", asked], day.owner_environment())
    try:
        printed, error = twice.communicate(timeout=_SECONDS)
    finally:
        end_group(twice)
    assert printed.split() == [b"2", b"2"], error
    day.does(f"computeset 2 {WAIT}", "State: running")
    site.wait_for_count("vmh2", OTHER, beyond=0)
    day.does(f"terminate 2 {WAIT}", "computeset 2 is cancelled")
    assert site.domain_state("vmh2", OTHER) in ("absent", "shut off")


def _while_it_runs(day: NucleusSite) -> None:
    """Steps 14 to 16."""
    site = day.site
    day.does(f"power off vc1 {GUEST} {WAIT}", f"{GUEST}: is off")
    assert site.domain_state("vmh1", GUEST) in ("absent", "shut off")
    day.does("computeset 1", "State: running")
    day.does(f"power on vc1 {GUEST} {WAIT}", f"{GUEST}: is on")
    assert site.domain_state("vmh1", GUEST) == "running"
    day.does(f"power reboot vc1 1 {WAIT}", "computeset 1: was asked to reboot")
    mac = _nodes(day)[GUEST]["mac"]
    day.does("node rename vc1 vm-vc1-[0-1] n[1,0] --yes", "2 renamed")
    day.does("node rename vc1 n[0-1] n[1,0] --yes", "2 renamed")
    day.does("cluster vc1 --status", "n0", "n1")
    assert _nodes(day)["n0"]["mac"] == mac
    assert site.domain_state("vmh1", GUEST) == "running", "the site's names are as before"


def _without_the_server(day: NucleusSite) -> None:
    """Step 19."""
    day.kill_server()
    day.does("cluster vc1", "from the cache", status=6)
    day.does("start vc1 n1", status=6)
    day.start_server()
    day.does("computeset 1", "State: running")


def _end(day: NucleusSite, images: ImageSite) -> None:
    """Step 21: the guest is deaf, so it is switched off; its nodes are free when its disk is on the NAS."""
    day.does(f"terminate 1 {WAIT}", "computeset 1 is cancelled")
    assert images.state() == "unmapped"
    images.count_on_nas(day.site.count("vmh1", GUEST))
    assert images.leftovers("vmh1") == []
    _until(lambda: _nodes(day)["n0"]["admin_state"], "ready")


def _killed_while_a_set_with_a_short_walltime_starts(day: NucleusSite, images: ImageSite) -> None:
    """Steps 17 and 22: no command is lost, and the set ends by itself when its time is over.

    The walltime is longer than the start, which begins again a while after the server was killed.
    """
    before = day.site.count("vmh1", GUEST)
    asked = [*COMET, "start", "vc1", "n0", "--walltime=6m", WAIT]
    comet = start_with_pipes(asked, day.owner_environment())
    try:
        _until(lambda: str(len(_sets(day))), "3")
        day.kill_server()
        day.start_server()
        _, error = comet.communicate(timeout=_SECONDS)
    finally:
        end_group(comet)
    assert comet.returncode == 0, error
    day.site.wait_for_count("vmh1", GUEST, beyond=before)
    _until(lambda: str(next(one for one in _sets(day) if one["id"] == 3)["state"]), "completed")
    assert images.state() == "unmapped"
    images.count_on_nas(day.site.count("vmh1", GUEST))
    listed = json.loads(day.does("operation list --format=json"))
    assert {it["state"] for it in listed} == {"succeeded"}


def _strangers_and_operators(day: NucleusSite) -> None:
    """Steps 23 and 24: a stranger finds nothing; what the operator sees agrees with the day."""
    day.operator("project", "add", "beta")
    day.operator("user", "add", "bob", "--project=beta")
    bob = {
        "COMET_CONFIG": str(day.folder / "none.toml"),
        "COMET_ENDPOINT": URL,
        "COMET_TOKEN": day.operator("token", "create", "bob", "--days=1").strip(),
    }
    for line in ("cluster vc1", "start vc1 n0", "power off vc1 n0", "terminate 1"):
        day.does(line, status=4, **bob)
    (row,) = [row for host in day.site.ask("list", "host", "storagemap", NAS) for row in host["storagemap"]]
    assert (row["zvol"], row["state"], bool(row["locked"])) == (VOLUME, "unmapped", False), row
    for host, guest in (("vmh1", CLUSTER), ("vmh1", GUEST), ("vmh2", OTHER)):
        assert day.site.domain_state(host, guest) in ("absent", "shut off")
    day.operator("status")
    listed = day.operator("audit", "list")
    assert "bob" in listed
    day.operator("audit", "verify")


def _nodes(day: NucleusSite) -> dict[str, dict[str, Any]]:
    """The owner's nodes by their names."""
    ended = day.comet("cluster vc1 --format=json")
    assert ended.exit_status in (0, 6), ended.error_text
    return {node["name"]: node for node in json.loads(ended.text)}


def _info(day: NucleusSite) -> dict[str, Any]:
    """All that the owner can know of the frontend."""
    (info,) = json.loads(day.comet("node info vc1 --format=json").text)
    return dict(info)


def _sets(day: NucleusSite) -> list[dict[str, Any]]:
    return list(json.loads(day.comet("computeset --state=all --format=json").text or "[]"))


def _ways(day: NucleusSite) -> list[str]:
    """States of the guest's disk that the owner's events have, in their order."""
    lines = day.comet("events --types=node.image --format=json").text.splitlines()
    return [str(json.loads(line)["new"]) for line in lines]


def _serial_console(day: NucleusSite) -> None:
    """The frontend's serial console, as far as its next count; Ctrl-] leaves it."""
    comet = start_with_pipes([*COMET, "console", "--serial", CLUSTER], day.owner_environment())
    assert comet.stdout is not None
    assert comet.stdin is not None
    try:
        seen, end_at = b"", time.monotonic() + patience(120)
        while b"count 0" not in seen:
            ready = select.select([comet.stdout], [], [], end_at - time.monotonic())[0]
            assert ready, f"no count on the console: {seen!r}"
            read = os.read(comet.stdout.fileno(), 4096)
            assert read, f"the console was closed: {seen!r}"
            seen += read
        comet.stdin.write(b"\x1d")
        comet.stdin.flush()
        assert comet.wait(60) == 0
    finally:
        end_group(comet)


def _until(look: Callable[[], str], expected: str) -> list[str]:
    """Look until it is so; what was seen on the way, each change once."""
    seen: list[str] = []
    end_at = time.monotonic() + patience(_SECONDS)
    while not seen or seen[-1] != expected:
        assert time.monotonic() < end_at, f"never {expected}: {seen}"
        found = look()
        if not seen or seen[-1] != found:
            seen.append(found)
        time.sleep(0.5)
    return seen
