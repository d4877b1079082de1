"""PRAGMA's clusters on real hosts: one from volumes of the NAS, and two sites whose clusters share the network ENT.

A cluster's machines are the lab's small Linux guest.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab.machines.checkout import CHECKOUT
from lab.machines.frontend import IMAGE_FOLDER, Frontend
from lab.machines.lab import Lab, together
from lab.machines.login import KEY_FILE
from lab.machines.profile import run_profile
from lab.machines.roster import VMH1, VMH2, Description
from lab.nucleus import OWNER, USER_ID
from rocks.core.process import run_checked
from tests.contract.ssh_hosts import ssh_server
from tests.lab.image_site import NAS, ImageSite
from tests.lab.lab_site import LabSite
from tests.lab.long import pragma_site
from tests.lab.long.pragma_site import ENT, ROLL, Rocks, console, run_agent, type_line
from tests.lab.long.second_frontend import SecondFrontend
from tests.lab.nucleus_site import URL, NucleusSite
from tests.patience import patience
from tests.waiting import wait_until

SUBJECTS = (
    "src/nucleus",
    "src/owners",
    "roll/pragma/owners",
    "src/comet",
    "src/rocks/commands",
    "src/rocks/storage",
    "src/rocks/library",
)

_MINUTES, _STOP_MINUTES = 17, 10
"""How long the sites are reserved, and how long before that their clusters are stopped."""

_OPERATOR_COMMANDS = (
    ("setup",),
    ("project", "add", "demo"),
    ("user", "add", OWNER, f"--email={OWNER}@example.org", "--project=demo"),
    ("user", "acknowledge", OWNER),
    ("site", "add", "here", "--cpus=1", "--memory-gb=1", "--ent"),
    ("site", "add", "away", "--cpus=1", "--memory-gb=1", "--ent", "--address=root@127.0.0.1"),
    ("token", "create", OWNER, "--days=1", "--note=lab"),
)
_OWN_FOLDER = "/var/opt/rocks/nucleus"
_REMOTE = """\
#!/bin/sh
export PATH={rocks}:{programs}:/usr/sbin:/usr/bin:/sbin:/bin ROCKS_STATE={folder}
exec {inside} sh -c "cd /var/lib/rocks && $SSH_ORIGINAL_COMMAND"
"""


class Sites(NamedTuple):
    """Two sites: the lab's frontend with vmh1, another one with vmh2."""

    here: LabSite
    other: SecondFrontend


@pytest.fixture
def sites(lab: Lab, frontend: Frontend, tmp_path: Path) -> Iterator[Sites]:
    """Both with the roll, and a repository; their hosts are in the network ENT."""
    frontend.begin_anew()
    frontend.describe_site([VMH1])
    frontend.share_keys([VMH1])
    other = SecondFrontend(lab.folder / "second", lab.keys / KEY_FILE)
    shutil.rmtree(other.folder, ignore_errors=True)
    try:
        other.start([VMH2])
        found = Sites(LabSite(lab, frontend), other)
        _couple(found, lab, frontend, tmp_path)
        with pragma_site.public_address():
            yield found
    finally:
        other.stop()
        shutil.rmtree(other.folder, ignore_errors=True)


def _couple(sites: Sites, lab: Lab, frontend: Frontend, folder: Path) -> None:
    """What the guide has operators do, at each site."""
    keys = {one.name: pragma_site.wireguard_keys(folder, one.name) for one in (VMH1, VMH2)}
    hosts = " ".join(f"{one.address}={keys[one.name][1]}" for one in (VMH1, VMH2))
    for number, (done, host) in enumerate(((sites.here.done, VMH1), (sites.other.done, VMH2))):
        pragma_site.add_roll(done, folder / f"roll-{number}")
        for arguments in _lines(number, host, keys[host.name][0], hosts):
            done(*arguments)
        pragma_site.copy_nft(lab[host.name])
    print(run_profile(lab["vmh1"], frontend))
    print(lab["vmh2"].run_script(sites.other.done("report", "host", "profile", "vmh2"), 300))
    together(lambda machine: machine.reboot(), [lab["vmh1"], lab["vmh2"]])
    disk = pragma_site.make_guest(folder / "only.img", "only")
    for number, done in enumerate((sites.here.done, sites.other.done)):
        host = ("vmh1", "vmh2")[number]
        pragma_site.make_room(lab[host])
        pragma_site.public_devices(lab[host])
        done("add", "host", "interface", host, pragma_site.PUBLIC_DEVICE, "subnet=public")
        repository = (Path("/var/lib/rocks"), sites.other.folder / "frontend/var/lib/rocks")[
            number
        ] / "pragma"
        pragma_site.write_repository(repository, "dock", "file", *["file='only.img'"] * 2)
        shutil.copyfile(disk, repository / "dock/only.img")
        print(done("pragma", "sync", "repository"))


def _lines(number: int, host: Description, key: Path, hosts: str) -> Iterator[tuple[str, ...]]:
    yield ("set", "attr", "vm_vlan_pool", f"{number + 2}00-{number + 2}09")
    yield ("set", "host", "interface", "options", host.name, "storage0", "novtap")
    yield ("set", "attr", "vm_mac_base_addr", f"0a:7{number + 2}:00:00:00:00")
    yield ("set", "attr", "image_library", "/var/lib/rocks/library")
    yield ("set", "attr", "pragma_log_folder", "/var/lib/rocks/logs")
    yield ("set", "attr", "pragma_public_addresses", f"203.0.113.2{number}=dock{number}")
    yield ("add", "network", "ent", ENT, "255.255.255.0", "mtu=1350")
    yield ("set", "attr", "pragma_additional_interfaces", f"ent:eth2:10.102.0.{number * 128}/25")
    yield ("add", "host", "interface", host.name, "ent", "subnet=ent")
    yield ("set", "host", "attr", host.name, "ent_address", host.address)
    yield ("set", "host", "sec_attr", host.name, "ent_key", f"file={key}")
    yield ("set", "attr", "ent_hosts", hosts)
    yield ("sync", "host", "sec_attr", host.name)


@pytest.fixture
def nucleus(sites: Sites, tmp_path: Path) -> Iterator[NucleusSite]:
    """Nucleus at the lab's frontend, which reaches the other site by SSH as its own user."""
    key, folder, own = tmp_path / "id", tmp_path / "far", Path(_OWN_FOLDER)
    run_checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], deadline_seconds=30)
    with ssh_server(folder, key.with_suffix(".pub").read_text().strip(), f"ForceCommand {folder}/remote") as (
        server,
        _,
    ):
        inside = " ".join(sites.other.inside([]))
        (folder / "remote").write_text(
            _REMOTE.format(
                rocks=CHECKOUT / "bin", programs=ROLL / "include", folder=sites.other.folder, inside=inside
            )
        )
        (folder / "remote").chmod(0o755)
        path = f"{own}/ssh-program:/usr/sbin:/usr/bin:/sbin:/bin"
        made = NucleusSite(sites.here, tmp_path, {"hosts": ["vmh1"]}, {"PATH": path})
        try:
            (own / "ssh-program").mkdir(parents=True, exist_ok=True)
            (own / "known").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
            shutil.copyfile(key, own / "id")
            (own / "id").chmod(0o600)
            os.chown(own / "id", USER_ID, USER_ID)
            (own / "ssh-config").write_text(
                f"Port {server.port}\nIdentityFile {own}/id\nUserKnownHostsFile {own}/known\n"
            )
            (own / "ssh-program/ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {own}/ssh-config "$@"\n')
            (own / "ssh-program/ssh").chmod(0o755)
            (tmp_path / "token").write_text(made.set_up(_OPERATOR_COMMANDS), encoding="ascii")
            made.start_server()
            made.does(
                f"init --endpoint=lab --url={URL} --user={OWNER} --token-file={tmp_path}/token", "is written"
            )
            yield made
        finally:
            made.stop()


def test_two_sites_in_one_network(sites: Sites, nucleus: NucleusSite, lab: Lab, tmp_path: Path) -> None:
    """Reserved at once; the boot at the other site is killed; both run, see each other by ENT, and end in time."""
    _check_tunnel(lab)
    begin = datetime.now(UTC).replace(microsecond=0)
    times = f"--begin={begin.isoformat()} --end={(begin + timedelta(minutes=_MINUTES)).isoformat()}"
    key = _public_key(tmp_path)
    for site in ("here", "away"):
        nucleus.does(f"reservation create {site} dock {times} --cpus=1 --memory=1 --ent --key={key}")
    _kill_the_boot(sites.other)
    machines = {"dock0": lab["vmh1"], "dock1": lab["vmh2"]}
    for name, machine in machines.items():
        run_agent(machine, name)
    _until_states(nucleus, {"here": "running", "away": "running"})

    addresses = [_ent_address(done, name) for name, done in _sites_of(sites)]
    assert addresses == ["10.102.0.127", "10.102.0.254"]
    before = _sent(lab)
    for (name, machine), address in zip(machines.items(), reversed(addresses), strict=True):
        type_line(machine, name, f"ping -c 3 -s 1300 {address}; echo pinged-$((1+1))")
        printed = console(machine, name, "pinged-2", 120)
        assert "3 packets received" in printed, printed[-1000:]
    assert _sent(lab) - before >= 6 * 1300, "it went another way"

    _until_states(nucleus, {"here": "stopped", "away": "stopped"})
    assert datetime.now(UTC) >= begin + timedelta(minutes=_MINUTES - _STOP_MINUTES)
    for _, done in _sites_of(sites):
        assert "dock" not in done("list", "host")
    for host in ("vmh1", "vmh2"):
        assert _left_on(lab, host) == []


def _sites_of(sites: Sites) -> tuple[tuple[str, Rocks], ...]:
    return ("dock0", sites.here.done), ("dock1", sites.other.done)


def _kill_the_boot(other: SecondFrontend) -> None:
    """End `pragma boot` at that site as soon as its cluster is there: its machines are still to be started."""
    wait_until(lambda: other.rocks("list", "host", "dock1").exit_status == 0, "no cluster there", 300)
    killed = other.kill(("pragma", "boot"))
    print(f"killed at the other site: {killed} processes of the boot")
    assert killed


def _ent_address(done: Rocks, name: str) -> str:
    rows = json.loads(done("list", "host", "interface", name, "json=yes"))[0]["interface"]
    (address,) = [str(row["ip"]) for row in rows if row["subnet"] == "ent"]
    return address


def _sent(lab: Lab) -> int:
    """Bytes that vmh1 has sent by WireGuard."""
    return int(lab["vmh1"].read_file("/sys/class/net/ent-wg/statistics/tx_bytes"))


def _until_states(nucleus: NucleusSite, expected: dict[str, str]) -> None:
    """Until the reservations of the sites have these states."""

    def states() -> dict[str, tuple[str, Any]]:
        found = json.loads(nucleus.does("reservation list --format=json"))
        return {one["site"]: (one["state"], one["reason"]) for one in found}

    end_at = time.monotonic() + patience(60 * _MINUTES)
    while {site: state for site, (state, _) in states().items()} != expected:
        assert time.monotonic() < end_at, f"{states()}, not {expected}"
        time.sleep(2)


def _check_tunnel(lab: Lab) -> None:
    """The kernel's own WireGuard carries what hosts send each other in ENT."""
    for host, peer in (("vmh1", VMH2), ("vmh2", VMH1)):
        machine = lab[host]
        machine.wait_for(["ip", "-d", "link", "show", "ent-wg"], "wireguard", 60)
        machine.wait_for(["ip", "-o", "link", "show", "master", "ent"], "ent-vxlan", 60)
        machine.wait_for(["ping", "-c", "2", f"fd65:6e74::{peer.address}"], " 0% packet loss", 120)
        assert "rocks_ent" in machine.run(["nft", "list", "tables"]).text


def test_a_cluster_from_volumes_of_the_nas(images: ImageSite, tmp_path: Path) -> None:
    """Its disks are clones; they are removed with it, and the volumes stay."""
    site = images.site
    for machine in site.lab.machines.values():  # a cluster's disks have 36 GB; of that, little is written
        pool = machine.description.pool
        machine.shell(f"truncate --size=40G /root/more\nzpool add -f {pool} /root/more\n", 60)
    pragma_site.add_roll(site.done, tmp_path / "roll")
    for name in ("dock-fe", "dock-compute"):
        disk = pragma_site.make_guest(tmp_path / name, name)
        site.done("add", "host", "storageimg", NAS, "tank", name, f"file={disk}", "format=raw")
    source = f"volume='{{}}' pool='tank' host='{NAS}'"
    places = [source.format(name) for name in ("dock-fe", "dock-compute")]
    pragma_site.write_repository(Path("/var/lib/rocks/pragma"), "talk", "volume", *places)
    for host in ("vmh1", "vmh2"):
        pragma_site.public_devices(site.lab[host])
        site.done("add", "host", "interface", host, pragma_site.PUBLIC_DEVICE, "subnet=public")
        site.done("set", "host", "interface", "options", host, "storage0", "novtap")
    site.done("set", "attr", "vm_vlan_pool", "200-209")
    site.done("set", "attr", "pragma_public_addresses", "203.0.113.20=dock")
    site.done("set", "attr", "pragma_log_folder", str(tmp_path))
    before = images.nas.shell("zfs list -H -o name -t volume,snapshot -r tank\n", 60).split()

    print(site.done("pragma", "sync", "repository"))
    booted = site.rocks("pragma", "boot", "talk", "2", f"key={_public_key(tmp_path)}")
    assert "Allocated cluster dock" in booted.text, booted.error_text
    # as its error says, where an emulated host has answered too late
    wait_until(lambda: site.rocks("start", "cluster", "dock").exit_status == 0, booted.error_text, 600)
    names = ("dock", "vm-dock-0", "vm-dock-1")
    places_of = {name: _host_of(site, name) for name in names}
    for name, host in places_of.items():
        console(site.lab[host], name, f"guest ready: name=dock-{'fe' if name == 'dock' else 'compute'}", 300)
    assert set(places_of.values()) == {"vmh1", "vmh2"}
    _until_listed(site, dict.fromkeys(names, "active"))
    origins = images.nas.shell("zfs list -H -o name,origin -t volume -r tank\n", 60)
    for name in names:
        origin = "dock-fe" if name == "dock" else "dock-compute"
        assert any(line.startswith(f"tank/{name}-vol\ttank/{origin}@") for line in origins.splitlines()), (
            origins
        )

    print(site.done("pragma", "shutdown", "dock"))
    _until_listed(site, dict.fromkeys(names, "nostate"))
    wait_until(lambda: site.rocks("pragma", "clean", "dock").exit_status == 0, "it is not removed", 240)
    assert not {"dock", *names} & {str(one["host"]) for one in site.ask("list", "host")}
    after = images.nas.shell("zfs list -H -o name -t volume -r tank\n", 60).split()
    assert sorted(after) == sorted(one for one in before if "@" not in one), after
    for host in ("vmh1", "vmh2"):
        assert _left_on(site.lab, host) == []
        assert images.leftovers(host) == []
        print(host, site.lab[host].shell("zfs list -H -o name -t volume -r vmpool\n", 60).split())


def _public_key(folder: Path) -> Path:
    run_checked(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "owner")], deadline_seconds=30
    )
    return folder / "owner.pub"


def _host_of(site: LabSite, name: str) -> str:
    (row, *_) = site.ask("list", "host", "vm", name)[0]["vm"]
    return str(row["host"])


def _until_listed(site: LabSite, expected: dict[str, str]) -> None:
    """Until `pragma list cluster` has these states."""

    def listed() -> dict[str, str]:
        answer = site.rocks("pragma", "list", "cluster", "dock", "json=yes")
        rows = [row for one in json.loads(answer.text or "[]") for row in one["cluster"]]
        return {str(row["compute nodes"] or "dock"): str(row["status"]) for row in rows}

    wait_until(lambda: listed() == expected, lambda: f"{listed()} is not {expected}", 240)


def _left_on(lab: Lab, host: str) -> list[str]:
    """What a host has of a cluster: domains, and disks that are files."""
    script = f"virsh --quiet list --all --name; ls {IMAGE_FOLDER} 2>/dev/null | grep dock || true\n"
    return [line for line in lab[host].shell(script, 60).split() if "dock" in line]
