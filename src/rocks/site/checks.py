"""Check whether the site is ready and, for each problem, name the command that fixes it: database, frontend, hosts."""

from __future__ import annotations

import platform
import shutil
from functools import partial
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from rocks.core.check_lines import MISSING, OK, WRONG, SiteCheck, run_checks
from rocks.core.clock import is_synchronised
from rocks.core.errors import RocksError, StateError
from rocks.core.names import first_few, misread, printable
from rocks.core.own_addresses import device_states
from rocks.core.systemd_units import read_units
from rocks.core.values import FALSE_VALUES, size_text
from rocks.core.version import ROLL_NAME
from rocks.database.migrate import read_version
from rocks.database.settings import EMBEDDED_SOCKET
from rocks.fleet.connection import FleetSettings
from rocks.fleet.wire.facts import HostFacts, ProbeFact, ProbeRequest
from rocks.install.boot.service import how_to_begin
from rocks.install.graph_files import check_site_files
from rocks.install.profile_values import DEFAULT_DISTRIBUTION
from rocks.install.rolls.content import DEBS, INSTALLER, NO_ARCHITECTURE
from rocks.install.rolls.folders import distribution_folder, roll_path, rolls_folder
from rocks.install.rolls.roll_records import load_rolls
from rocks.inventory import mac_pool
from rocks.inventory.address_records import host_addresses
from rocks.inventory.attributes.records import global_attributes, stored_names
from rocks.inventory.attributes.rules import near_miss
from rocks.inventory.host_records import expand_selectors, find_local_host, local_host
from rocks.inventory.host_requests import Limits, ask_each, open_fleet, run_on_hosts
from rocks.inventory.loaded_host_records import load_hosts, physical_hosts
from rocks.inventory.slurm_drains import has_slurm, nodes_drained_by_hooks
from rocks.leases import lease as leases
from rocks.leases.lease import lock_vms, read_epoch, read_record, unlock_vms
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import MOVING
from rocks.machine.record import doubts
from rocks.network.dns.changes import has_name_service, name_folder
from rocks.network.dns.service import named_process, outdated_files
from rocks.network.firewall.changes import firewall_texts
from rocks.network.host_network_plan import plan_network
from rocks.network.host_network_records import load_host_networks
from rocks.network.interfaces import list_interfaces
from rocks.site.certificates import NOT_ALLOWED, list_certificates
from rocks.site.overview_rules import doubt_concerns, host_concerns
from rocks.site.restore import unfinished_restore
from rocks.storage.broker.broker import check_broker
from rocks.storage.volumes.nodes import is_storage_used, storage_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from rocks.database.connection import Database

    _Check = Callable[[], Iterable[SiteCheck]]


CHECK_SECONDS = 15.0
HOST_SECONDS = 5.0
"""How long a check waits for each host's answer, all being asked at once; and how long an overview does."""
_PROBE_SECONDS = 60.0
"""How long a host may take for its first answer about KVM: it boots a guest to find out, which takes up to 40 s."""

# The checks that ask no host and take no time; a slurmctld that does not answer is waited for as long as a host.
AT_ONCE = (
    "names", "networks", "firewalls", "attributes", "key", "space", "clock", "certificates", "leases", "slurm",
)  # fmt: skip
_LEAST_FREE_BYTES = 1 << 30
_RENEW = "rocks add host certificate {host} replace=yes, then rocks sync host certificate {host}"
_REMEDIES = {
    "expired": _RENEW,
    "expires soon": _RENEW,
    "not deployed": "rocks sync host certificate {host}",
    NOT_ALLOWED: "rocks remove host certificate {host}",
}


def check_site(database: Database, only: Collection[str] | None = None) -> Iterator[SiteCheck]:
    """Check the site, or `only` that; each check is independent of the others, and an error in one is its result.

    Without a frontend in the database, only that is reported, since all else depends on it.
    """
    fleet = FleetSettings()
    frontend = find_local_host(database)
    if frontend is None:
        yield SiteCheck("frontend", MISSING, "this machine is not in the database: rocks create site")
        return
    has_key = Path(fleet.key_file).exists()
    checks: dict[str, _Check] = {
        "restore": partial(_restore, database),
        "interfaces": partial(_interfaces, database, frontend),
        "names": partial(_names, database),
        "networks": partial(_networks, database, frontend),
        "firewalls": partial(_firewalls, database),
        "attributes": partial(_attributes, database, frontend),
        "key": partial(_key, database, frontend, fleet),
        "space": partial(_space, database),
        "clock": partial(_unless_demo, database, partial(_clock, database)),
        "services": partial(_unless_demo, database, partial(check_services, database, frontend)),
        "rolls": partial(_unless_demo, database, partial(check_rolls, database)),
        "graph": partial(_graph, database),
        "broker": partial(check_broker, database, frontend),
        "certificates": partial(_certificates, database),
        "leases": partial(_leases, database, frontend),
        "slurm": partial(_slurm, database),
        "machines": partial(_machines, database),
        "former machines": partial(_former, database),
        "hosts": partial(_hosts, database, frontend, has_key),
    }
    yield from run_checks({subject: checks[subject] for subject in checks if only is None or subject in only})


def _unless_demo(database: Database, check: _Check) -> Iterator[SiteCheck]:
    """The lines of the check; on a demo's site, which installs no hosts, none of them is a fault."""
    is_demo = global_attributes(database).get("site_demo") == "yes"
    for line in check():
        yield SiteCheck(line.subject, OK, "not needed in a demo") if is_demo and line.result != OK else line


def _restore(database: Database) -> Iterator[SiteCheck]:
    """A line only where a restore was interrupted."""
    if found := unfinished_restore(database.settings):
        text = f"{found} was interrupted: repeat rocks restore site with that file"
        yield SiteCheck("restore", WRONG, text)


def _interfaces(database: Database, frontend: str) -> Iterator[SiteCheck]:
    listed = list_interfaces(database, [frontend])
    rows = [row for row in listed if row[4]]
    database.end_reading()
    with_device = {row[1] for row in listed if not str(row[2]).startswith("vlan")}
    for missing in dict.fromkeys(row[1] for row in listed if row[1] and row[1] not in with_device):
        add = f"rocks add host interface {frontend} DEVICE ip=ADDRESS subnet={missing}"
        yield SiteCheck(f"network {missing}", MISSING, f"no device on it, and VLANs that need one: {add}")
    if not rows:
        add = f"rocks add host interface {frontend} DEVICE ip=ADDRESS subnet=private"
        yield SiteCheck("frontend", MISSING, f"no address: {add}")
    for _, network, device, _, ip, netmask, *_ in rows:
        if not netmask:
            remedy = f"rocks set host interface subnet {frontend} {device} NETWORK"
            yield SiteCheck(f"interface {device}", WRONG, f"{ip} is on no network: {remedy}")
            continue
        text = f"{ip} on the network {network}"
        try:
            address = ip_interface(f"{ip}/{netmask}")
        except ValueError:  # of an earlier release, or of another program
            found = f"{printable(str(ip))} netmask {printable(str(netmask))} is no address"
            remedy = f"rocks set host interface ip {frontend} {device} ADDRESS, or rocks set network netmask"
            yield SiteCheck(f"interface {device}", WRONG, f"{found}: {remedy} {network} NETMASK")
            continue
        fault = _interface_fault(frontend, str(network), str(device), address)
        yield SiteCheck(f"interface {device}", WRONG if fault else OK, f"{text}: {fault}" if fault else text)


def _interface_fault(frontend: str, network: str, device: str, address: IPv4Interface | IPv6Interface) -> str:
    """What is wrong with the address of an interface on this machine, and the remedy; empty when nothing is."""
    ip = str(address.ip)
    devices = device_states(ip)
    if not devices:
        return (
            f"this machine does not have the address; ip address add {address} dev {device}, or correct the site: "
            f"rocks set host interface ip {frontend} {device} ADDRESS"
        )
    link = device.partition(":")[0]  # eth0:1 is a label of eth0
    if link in devices:
        return "" if devices[link] else f"the device is down: ip link set {link} up"
    other = next(iter(devices))
    return (
        f"the device {other} of this machine has the address; correct the site: rocks remove host interface "
        f"{frontend} {device}, then rocks add host interface {frontend} {other} ip={ip} subnet={network}, then "
        "rocks sync config"
    )


def _names(database: Database) -> Iterator[SiteCheck]:
    """A line for each host, also a virtual machine, whose name another program takes for something else."""
    for name in expand_selectors(database, []):
        if reason := misread(name):
            text = f"{reason}, and leaves it out, or cannot reach it: rocks set host name {name} NAME"
            yield SiteCheck(f"name {name}", WRONG, text)


def _networks(database: Database, frontend: str) -> Iterator[SiteCheck]:
    """A line for each thing that the network of a host leaves out.

    It is no fault where nothing says that the system sets up the host's network: no file and no attribute.
    """
    for host in load_host_networks(database, _other_hosts(database, frontend)):
        if host.attribute("host_network").lower() in FALSE_VALUES:
            continue
        devices, left_out = plan_network(host)
        is_ours = bool(devices) or host.is_true("host_network")
        for one in left_out:
            yield SiteCheck(f"network {host.name}", WRONG if is_ours else OK, one.text)


def _firewalls(database: Database) -> Iterator[SiteCheck]:
    """A line for each host that gets no rules, since one of them lacks the value of an attribute, or is not valid."""
    for name, found in firewall_texts(database, physical_hosts(database)).items():
        if isinstance(found, StateError):
            yield SiteCheck(f"firewall {name}", WRONG, str(found))


def _attributes(database: Database, frontend: str) -> Iterator[SiteCheck]:
    present = global_attributes(database)
    addresses = [str(row[4]) for row in list_interfaces(database, [frontend]) if row[4]]
    values = {
        "vm_mac_base_addr": mac_pool.base_from_address(addresses[-1]) if addresses else "BASE",
        "vm_mac_base_addr_mask": mac_pool.MASK,
    }
    for name, value in values.items():
        if not present.get(name):
            remedy = f"machines get no MAC addresses: rocks set attr {name} {value}"
            yield SiteCheck(f"attribute {name}", MISSING, remedy)
    try:
        base = mac_pool.full_mac(present.get("vm_mac_base_addr") or "")
        if base and base != (used := mac_pool.effective_base(base)):
            text = (
                f"machines get addresses after {used} and not {base}: rocks set attr vm_mac_base_addr {used}"
            )
            yield SiteCheck("attribute vm_mac_base_addr", WRONG, text)
    except StateError as error:
        yield SiteCheck("attribute vm_mac_base_addr", WRONG, str(error))
    for name in stored_names(database):
        if meant := near_miss(name):
            text = f"nothing reads it; if {meant} was meant, set that, and remove this one (rocks help remove attr)"
            yield SiteCheck(f"attribute {name}", WRONG, text)


def _key(database: Database, frontend: str, fleet: FleetSettings) -> Iterator[SiteCheck]:
    exists = Path(fleet.key_file).exists()
    others = [] if exists else _other_hosts(database, frontend)
    if not exists and not others:  # this machine reaches itself without SSH
        yield SiteCheck("key", OK, f"no other host needs {fleet.key_file} yet")
    elif not exists:
        # a host without an address may be no more than a record yet
        host = next(
            (one.name for one in host_addresses(database, others) if one.address != one.name), others[0]
        )
        make = f"rocks sync host sharedkey {host} makes one, and installs it on the host"
        yield SiteCheck("key", MISSING, f"no host can be reached without {fleet.key_file}: {make}")
    elif Path(fleet.key_file).stat().st_mode & 0o077:
        yield SiteCheck("key", WRONG, f"others may use {fleet.key_file}: chmod 600 {fleet.key_file}")
    else:
        yield SiteCheck("key", OK, fleet.key_file)


def _space(database: Database) -> Iterator[SiteCheck]:
    """The space of each file system that grows: state, database, distribution."""
    growing = [Path(database.settings.state_folder).absolute(), distribution_folder(database)]
    if database.settings.socket == EMBEDDED_SOCKET:
        growing.append(Path(EMBEDDED_SOCKET).parent)
    folders = [next(one for one in (path, *path.parents) if one.exists()) for path in growing]
    for folder in {path.stat().st_dev: path for path in reversed(folders)}.values():
        free = shutil.disk_usage(folder).free
        text = f"{size_text(free)} free in {folder}"
        if free >= _LEAST_FREE_BYTES:
            yield SiteCheck("space", OK, text)
        else:
            yield SiteCheck("space", WRONG, f"{text}: remove files there (du -xh {folder} | sort -h)")


def _clock(database: Database) -> Iterator[SiteCheck]:
    server = global_attributes(database).get("Kickstart_PublicNTPHost")
    if is_synchronised():
        yield SiteCheck("clock", OK, "follows a time server")
    elif not server:
        name_one = "rocks set attr Kickstart_PublicNTPHost SERVER"
        yield SiteCheck("clock", MISSING, f"follows no time server, and the site names none: {name_one}")
    else:
        remedy = "rocks report host profile localhost | bash; whether it answers: timedatectl timesync-status"
        if shutil.which("chronyc"):
            follow = (
                f"echo server {server} iburst >/etc/chrony/sources.d/rocks.sources && chronyc reload sources"
            )
            remedy = f"{follow}; whether it answers: chronyc sources"
        yield SiteCheck("clock", WRONG, f"does not follow {server}: {remedy}")


def _graph(database: Database) -> Iterator[SiteCheck]:
    """The site's own node and graph files, in one line."""
    found = check_site_files(database, None)
    wrong = [one for one in found if one.result != OK]
    if not found:
        yield SiteCheck("graph", OK, "the site has no node and graph files of its own")
    elif wrong:
        text = f"{len(wrong)} of the site's {len(found)} files have an error, first {wrong[0].file}: rocks check graph"
        yield SiteCheck("graph", WRONG, text)
    else:
        yield SiteCheck("graph", OK, f"files of the site: {len(found)}")


def _certificates(database: Database) -> Iterator[SiteCheck]:
    found_nodes = storage_nodes(database)
    nodes = {node.name for node in found_nodes} if is_storage_used(found_nodes) else set()
    known = {found.host: found for found in list_certificates(database, None)}
    for name in sorted(nodes - known.keys()):
        yield SiteCheck(f"certificate {name}", MISSING, f"rocks add host certificate {name}")
    for name, found in known.items():
        if found.state == "good":
            yield SiteCheck(f"certificate {name}", OK, f"until {found.expires}")
        else:
            remedy = _REMEDIES[found.state].format(host=name)
            yield SiteCheck(f"certificate {name}", WRONG, f"{found.state}: {remedy}")


def _leases(database: Database, frontend: str) -> Iterator[SiteCheck]:
    if read_epoch(database).follows(read_record(database)):
        yield SiteCheck("leases", OK, "the database is the one that granted the last lease")
    elif not _other_hosts(database, frontend):
        yield SiteCheck("leases", OK, "the site has no other hosts; the next start asks this machine")
    else:
        asks = "the next start, or rocks sync vm lease, asks the hosts"
        yield SiteCheck("leases", WRONG, f"the database is new here or was restored: {asks}")


def _slurm(database: Database) -> Iterator[SiteCheck]:
    """A line only where Slurm is: of nodes without jobs, those that hooks have drained.

    The others may be in service; which of them computesets wait for, Nucleus knows.
    """
    if not has_slurm():
        return
    database.end_reading()
    found = nodes_drained_by_hooks(HOST_SECONDS)
    if found:
        nodes = ", ".join(f"{name} ({reason})" for name, reason in found.items())
        yield SiteCheck("slurm", WRONG, f"gives no jobs to {nodes}: sinfo -R, then rocks list host vm lease")
    else:
        yield SiteCheck("slurm", OK, "no hook of a host has drained it")


def _machines(database: Database) -> Iterator[SiteCheck]:
    """Machines that wait for a person: a move that no command works on any more, and disks that are not decided."""
    moving = [lease for lease in leases.held_leases(database) if lease.state == MOVING]
    names = [lease.name for lease in moving]
    at_work = lock_vms(database, names, also_moving=True) if names else {}
    unlock_vms(database, names)
    hosts = sorted({host for lease in moving for host in (lease.host, lease.target) if host})
    with open_fleet(database, hosts) as fleet:
        answers = contact_hosts(database, fleet, hosts, limit_seconds=CHECK_SECONDS) if hosts else {}
    facts = {host: None if isinstance(found, RocksError) else found for host, found in answers.items()}
    left = [lease for lease in moving if lease.name not in at_work]
    for one in (*host_concerns({}, left, facts), *doubt_concerns(doubts(database))):
        yield SiteCheck(one.subject, WRONG, one.problem)


def _former(database: Database) -> Iterator[SiteCheck]:
    """A line for each name that a removed machine left; nothing can answer by it."""
    for name in _former_machines(database):
        text = f"it was a virtual machine, and its name stays in use; to remove it: rocks remove host {name}"
        yield SiteCheck(f"host {name}", OK, f"not asked: {text}")


def _hosts(database: Database, frontend: str, has_key: bool) -> Iterator[SiteCheck]:
    """Each physical host: those of virtual machines by their agent, which others do not have, the others by SSH.

    This machine reaches itself without the key, and has a line only where it runs virtual machines.
    """
    others = _other_hosts(database, frontend)
    hosts = load_hosts(database, [frontend, *(others if has_key else [])])
    containers = [host.name for host in hosts if host.is_true("kvm")]
    by_ssh = [host.name for host in hosts if not host.is_true("kvm") and host.name != frontend]
    found = [*_containers(database, containers), *_others(database, by_ssh)]
    if not has_key:  # the check of the key has the remedy
        found += [SiteCheck(f"host {name}", WRONG, "not asked: the key is missing") for name in others]
    yield from sorted(found, key=lambda check: check.subject)


def _other_hosts(database: Database, frontend: str) -> list[str]:
    return sorted(set(physical_hosts(database)) - {frontend, *_former_machines(database)})


def _former_machines(database: Database) -> list[str]:
    """The hosts that `rocks remove host vm` left: all their MAC addresses are of the pool for machines."""
    present = global_attributes(database)
    pool = present.get("vm_mac_base_addr", ""), present.get("vm_mac_base_addr_mask", "")
    of_pool: dict[str, list[bool]] = {}
    for name, _, _, mac, *_ in list_interfaces(database, physical_hosts(database)):
        if mac:
            of_pool.setdefault(str(name), []).append(mac_pool.is_of_pool(*pool, str(mac)))
    return [name for name, found in of_pool.items() if all(found)]


def _containers(database: Database, names: Sequence[str]) -> Iterator[SiteCheck]:
    """The facts come from libvirt, which the probe does not ask: its result is stored on the host."""
    with open_fleet(database, names) as fleet:
        answers = contact_hosts(database, fleet, names, limit_seconds=CHECK_SECONDS)
    able = {name: ProbeRequest() for name, answer in answers.items() if not isinstance(answer, RocksError)}
    probed = dict(ask_each(database, able, _PROBE_SECONDS)) if able else {}
    for name, answer in {**answers, **probed}.items():
        if isinstance(answer, RocksError):
            yield SiteCheck(f"host {name}", WRONG, str(answer))
        elif isinstance(answer, ProbeFact):
            found = f"guests run by {answer.accelerator}: {answer.reason}"
            wrong = _half_upgraded(name, answers[name])
            yield SiteCheck(f"host {name}", WRONG if wrong else OK, wrong or found)


def _half_upgraded(name: str, facts: HostFacts | RocksError) -> str:
    """What to do where an upgrade was not completed; machines go on while libvirtd is started again."""
    if isinstance(facts, RocksError) or facts.libvirt in ("", facts.libvirt_installed):
        return ""
    return (
        f"libvirt {facts.libvirt} runs there, and {facts.libvirt_installed} is installed: complete the upgrade of its "
        f'packages, then rocks run host {name} "systemctl try-restart libvirtd virtqemud"'
    )


def _others(database: Database, names: Sequence[str]) -> Iterator[SiteCheck]:
    for result in run_on_hosts(database, names, "true", Limits(timeout_seconds=round(CHECK_SECONDS))):
        is_done = result.state == "done" and result.exit_status == 0
        fault = (
            result.message
            or f"it does not run a command ({result.error_output.strip()[:200] or result.state}); to see why: ssh "
            f"{result.host} true"
        )
        yield SiteCheck(
            f"host {result.host}", OK if is_done else WRONG, "answers by SSH" if is_done else fault
        )


# What of this frontend is ready for the installation of hosts: rolls, the distribution made of them, services.


OS_ROLL = "os"
"""The roll with the distribution's own packages and the installer of hosts."""

_DATABASE_UNIT = "rocks-database.service"
_NAME_UNIT = "rocks-dns.service"
_UNITS = (_DATABASE_UNIT, "rocks-kickstart.service", "rocks-boot.service", _NAME_UNIT)


def check_rolls(database: Database) -> Iterator[SiteCheck]:
    """The two rolls without which no host is installed, and the distribution."""
    rows = load_rolls(database)
    enabled = [row.roll for row in rows if row.is_enabled]
    names, added = {name for name, _, _ in enabled}, {row.roll[0] for row in rows}
    remedies = {
        ROLL_NAME: f"hosts get no packages of ours: rocks add roll {ROLL_NAME}-VERSION.iso (on the frontend's ISO, in "
        f"rolls), then rocks enable roll {ROLL_NAME}",
        OS_ROLL: "hosts cannot be installed from nothing: rocks add roll os-VERSION.iso (make os-roll builds it), then "
        "rocks enable roll os",
    }
    for name, remedy in remedies.items():
        versions = ", ".join(f"{version} {arch}" for found, version, arch in enabled if found == name)
        if name in added - names:
            remedy = f"added, but not enabled: rocks enable roll {name}"
        yield SiteCheck(f"roll {name}", OK if name in names else MISSING, versions or remedy)
    yield _distribution(
        database, [roll for roll in enabled if roll[2] in (platform.machine(), NO_ARCHITECTURE)]
    )


def _distribution(database: Database, rolls: list[tuple[str, str, str]]) -> SiteCheck:
    place = distribution_folder(database)
    folder = place / DEFAULT_DISTRIBUTION / platform.machine()
    build = f"(cd {place} && rocks create distro)"
    if not folder.is_dir():
        return SiteCheck("distribution", MISSING, f"hosts have no source of packages: {build}")
    outdated = outdated_packages(folder, [roll_path(rolls_folder(database), roll) for roll in rolls])
    if outdated:
        return SiteCheck(
            "distribution",
            WRONG,
            f"other packages than in the enabled rolls ({first_few(outdated)}): {build}",
        )
    if any(name == OS_ROLL for name, _, _ in rolls) and not (folder / INSTALLER / "vmlinuz").is_file():
        return SiteCheck("distribution", WRONG, f"it has no installer, which the roll os brings: {build}")
    return SiteCheck("distribution", OK, str(folder))


def check_services(database: Database, frontend: str) -> Iterator[SiteCheck]:
    """The units of the frontend that are installed here; none where systemd does not manage the machine."""
    names = [name for name in _UNITS if name != _DATABASE_UNIT or database.settings.socket == EMBEDDED_SOCKET]
    for name, unit in read_units(names).items():
        fault = ""
        if name == _NAME_UNIT and not has_name_service():
            continue  # a site may have its names elsewhere
        if name not in (_DATABASE_UNIT, _NAME_UNIT) and unit.active == "inactive" and not unit.is_enabled:
            fault = f"no host is installed from the network: rocks add host certificate {frontend}, then "
            fault += how_to_begin(frontend)
        elif unit.active != "active":
            fault = f"{unit.active}: systemctl restart {name}; if it fails, journalctl -u {name} says why"
        elif not unit.is_enabled:
            fault = f"it does not start with this machine: systemctl enable {name}"
        yield SiteCheck(f"service {name}", WRONG if fault else OK, fault or unit.active)


def outdated_packages(folder: Path, rolls: Sequence[Path]) -> list[str]:
    """Names of the deb packages that the distribution in `folder` lacks, or has in another form than these rolls.

    By names, versions and sizes of files alone; empty for a distribution that was built of these rolls. OSError.
    """
    offered = {_file(path) for roll in rolls for path in (roll / DEBS).glob("*.deb")}
    there = {_file(path) for path in (folder / DEBS).rglob("*.deb")}
    missing = {one.package for one in offered} - {one.package for one in there}
    return sorted(missing | {one.package for one in there - offered})


class _File(NamedTuple):
    """What is known of a deb package without opening it; the version has no epoch, as in a distribution."""

    package: str
    version: str
    size_bytes: int


def _file(path: Path) -> _File:
    package, _, rest = path.name.partition("_")
    return _File(package, unquote(rest.partition("_")[0]).rpartition(":")[2], path.stat().st_size)


# Whether the frontend's services run and serve what the database has: `rocks check services`.


def check_all_services(database: Database) -> Iterator[SiteCheck]:
    """A line for each check; an error in one is its result. StateError when this machine is not in the database."""
    frontend = local_host(database)
    checks: dict[str, Callable[[], Iterable[SiteCheck]]] = {
        "database": lambda: [SiteCheck("database", OK, f"answers, schema {read_version(database.settings)}")],
        "services": lambda: check_services(database, frontend),
        "broker": lambda: check_broker(database, frontend),
        "names": lambda: _names_of_services(database, frontend),
    }
    yield from run_checks(checks)


def _names_of_services(database: Database, frontend: str) -> Iterator[SiteCheck]:
    """Whether the files of names are those of the database, and named runs."""
    outdated, serves = outdated_files(database), has_name_service()
    if outdated:
        yield SiteCheck("names", WRONG, f"not as in the database: {', '.join(outdated[:3])}: rocks sync dns")
    else:
        alone = "" if serves else ", in /etc/hosts alone: this machine has no name service"
        yield SiteCheck("names", OK, f"as in the database{alone}")
    if serves:
        process = named_process(name_folder() / "named.conf")
        down = "does not run: systemctl start rocks-dns; journalctl -u rocks-dns says why"
        yield SiteCheck("named", *((OK, f"runs as process {process}") if process else (WRONG, down)))
    elif load_hosts(database, [frontend])[0].is_true("dns_service"):
        yield SiteCheck("named", MISSING, "dns_service is yes: systemctl enable --now rocks-dns")
