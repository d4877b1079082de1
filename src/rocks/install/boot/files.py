"""What answers network boots: dnsmasq's configuration, scripts of iPXE, pxelinux files; which host gets which."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import signal
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import PUBLIC, draft, ensure_folders, has_content, remove_file, write_file, write_files
from rocks.core.names import misread
from rocks.install.installation.plan import check_arguments
from rocks.inventory.address_records import find_private_address
from rocks.inventory.attributes.known import value_in
from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.host_records import find_local_host
from rocks.inventory.loaded_host_records import load_boot_actions, physical_hosts
from rocks.inventory.records import is_bmc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import BootAction


# The boot file that answers a host's network boot, from its next boot and its boot actions. Pure.


DEFAULT_FILE = "default"
"""The file that pxelinux reads for a machine without its own file: an unknown machine, which is to be installed."""

_HOSTED, _OUR_ACTION = "hosted vm", "install"


class BootFacts(NamedTuple):
    """The database's facts about the boot of a host. `address` is the IPv4 address on the network private.

    `default_action` is the site's boot action `install`, which installs unknown machines. `macs` are those from which
    the host asks for the address (`is_bmc`: its BMC does), `install_name` the name of the boot action that installs it,
    which need not exist.
    """

    host: str
    membership: str
    next_boot: str | None
    run_action: BootAction | None
    install_action: BootAction | None
    default_action: BootAction | None
    address: str | None
    netmask: str | None
    attributes: Mapping[str, str]
    macs: tuple[str, ...] = ()
    install_name: str | None = None
    is_virtual: bool = False
    is_bmc: bool = False


class BootFile(NamedTuple):
    """A file in the folder of the boot service; without a recipe the file must not exist."""

    name: str
    host: str
    recipe: BootAction | None
    arguments: str


def boot_file(facts: BootFacts) -> BootFile | None:
    """The file of a host; None for a host that the site's boot service does not serve.

    It does not serve hosts without a private address and hosted VMs, which boot inside their own cluster.
    """
    if facts.address is None or facts.membership.lower() == _HOSTED:
        return None
    return BootFile(file_name(facts.address), facts.host, *next_recipe(facts))


def is_served(facts: BootFacts) -> bool:
    """Whether the boot service of this roll gives the host an address: a physical host with IP and MAC addresses."""
    return bool(facts.address and facts.macs) and not facts.is_virtual and facts.membership.lower() != _HOSTED


def is_for_our_installer(facts: BootFacts) -> bool:
    """Whether the host is to be installed next, by the roll's own installer.

    That is the boot action `install` of hosts with deb packages. Other actions are what `rocks list bootaction` shows.
    """
    action = (facts.install_name or _OUR_ACTION).lower()
    packaging = value_in(facts.attributes, "packaging")
    return facts.next_boot == "install" and action == _OUR_ACTION and packaging == "deb"


def next_recipe(facts: BootFacts) -> tuple[BootAction | None, str]:
    """The boot action of the next boot, and its arguments for this host."""
    recipe = facts.install_action if facts.next_boot == "install" else facts.run_action
    return recipe, _arguments(facts, recipe)


def default_file(facts: BootFacts) -> BootFile:
    """The file for machines without their own file; `facts` are those of the frontend, which installs them."""
    recipe = facts.default_action
    arguments = (recipe.arguments or "") if recipe is not None else ""
    return BootFile(DEFAULT_FILE, facts.host, recipe, arguments)


def file_name(address: str) -> str:
    """The name under which pxelinux requests the file of a machine: its IPv4 address in upper-case hexadecimal."""
    return f"{int(ipaddress.IPv4Address(address)):08X}"


def _arguments(facts: BootFacts, recipe: BootAction | None) -> str:
    arguments = (recipe.arguments or "") if recipe is not None else ""
    if "ksdevice=" not in arguments:
        return arguments
    # An installer with a given device does not use DHCP for the other settings.
    network = {
        "ip": facts.address,
        "gateway": facts.attributes.get("Kickstart_PrivateGateway"),
        "netmask": facts.netmask,
        "dns": facts.attributes.get("Kickstart_PrivateDNSServers", "").split(",")[0],
        "nextserver": facts.attributes.get("Kickstart_PrivateKickstartHost"),
    }
    return " ".join([arguments, *(f"{name}={value}" for name, value in network.items() if value)])


# The configuration of dnsmasq as the site's DHCP and TFTP server for network boots. Pure. Source: dnsmasq(8).


_LEASE = "12h"
_UEFI_ARCHITECTURES = (7, 9)
"""x86-64, of RFC 4578 and as firmware states it besides."""


class BootNetwork(NamedTuple):
    """The network private as the frontend is on it: its device and address there, and what its hosts learn.

    `gateway` may be '', `mtu_bytes` 0.
    """

    device: str
    address: str
    netmask: str
    gateway: str
    name_servers: Sequence[str]
    mtu_bytes: int


class ServedHost(NamedTuple):
    """A host that gets an address by DHCP. One that boots on a bond asks from any of the bond's adapters.

    A BMC has the name ''.
    """

    name: str
    macs: Sequence[str]
    address: str


class BootPlaces(NamedTuple):
    """Absolute paths: folder of the files for TFTP; files of the hosts and of the process number of dnsmasq."""

    tftp: str
    hosts: str
    process: str


def dnsmasq_configuration(network: BootNetwork, places: BootPlaces) -> str:
    """The configuration: DHCP for known hosts on one device, and TFTP; no DNS."""
    first = ipaddress.IPv4Interface(f"{network.address}/{network.netmask}").network.network_address
    return "\n".join(
        [
            "# The boot service of the site. `rocks start service boot` writes this file at each start.",
            "port=0",
            f"interface={network.device}",
            "except-interface=lo",
            "bind-interfaces",
            "user=dnsmasq",
            "group=nogroup",
            f"pid-file={places.process}",
            "log-facility=-",
            "leasefile-ro",
            "dhcp-authoritative",
            f"dhcp-range={first},static,{network.netmask},{_LEASE}",
            "dhcp-ignore=tag:!known",
            f"dhcp-hostsfile={places.hosts}",
            # without a value the option is not sent; dnsmasq would send its own address
            f"dhcp-option=option:router{_values([network.gateway] if network.gateway else [])}",
            f"dhcp-option=option:dns-server{_values(network.name_servers)}",
            *([f"dhcp-option=option:mtu,{network.mtu_bytes}"] if network.mtu_bytes else []),
            "enable-tftp",
            f"tftp-root={places.tftp}",
            *(f"dhcp-match=set:uefi,option:client-arch,{number}" for number in _UEFI_ARCHITECTURES),
            "dhcp-userclass=set:ipxe,iPXE",
            f"dhcp-boot=tag:!ipxe,tag:!uefi,{BIOS_PROGRAM}",
            f"dhcp-boot=tag:!ipxe,tag:uefi,{UEFI_PROGRAM}",
            f"dhcp-boot=tag:ipxe,{FIRST_SCRIPT}",
            "",
        ]
    )


BIOS_PROGRAM, UEFI_PROGRAM, FIRST_SCRIPT = "undionly.kpxe", "snponly.efi", "boot.ipxe"
"""Files for TFTP: iPXE for each kind of firmware, and the script that it executes."""


def dnsmasq_hosts(hosts: Iterable[ServedHost]) -> str:
    """The file of hosts: a line `MAC,…,ADDRESS,NAME` each, in the order of their addresses.

    A name that dnsmasq takes for something else, and '', is left out: the host would get no address, or another lease.
    """
    ordered = sorted(hosts, key=lambda host: int(ipaddress.IPv4Address(host.address)))
    names = [host.name if not misread(host.name, ["dnsmasq"]) else "" for host in ordered]
    return "".join(
        f"{','.join((*host.macs, host.address, *([name] if name else [])))}\n"
        for host, name in zip(ordered, names, strict=True)
    )


def _values(values: Sequence[str]) -> str:
    return "".join(f",{value}" for value in values)


# Scripts of iPXE that decide what a host boots. Pure. Source: the iPXE project's documentation of its commands.


_LOCAL = "localboot"
_MAC = "${netX/mac:hexhyp}"
"""The MAC address of the interface that was opened last, which booted."""

HOSTS, FIRST_STAGE_FOLDER = "hosts", "installer"
"""Folders for TFTP: the hosts' scripts; kernel and initial file systems of the installer."""

KERNEL, INSTALLER_IMAGE, SITE_IMAGE = FIRST_STAGE = ("vmlinuz", "installer.img", "site.img")
FIRST_STAGE_PATH = "/install/boot/"
"""Where plain HTTP has the three files."""


def first_script() -> str:
    """The script of every machine: it executes that of the machine, and else lets the firmware go on."""
    return _script(
        "every machine",
        f"chain --autofree {HOSTS}/{_MAC}.ipxe || echo There is no boot file for the address {_MAC}",
        "exit",
    )


def host_script_name(mac: str) -> str:
    """The file of a host's script, as its machine asks for it."""
    return f"{mac.lower().replace(':', '-')}.ipxe"


def local_script(host: str) -> str:
    """Boot from the first disk; UEFI goes on with the next entry of its own list."""
    return _script(
        f"{host}: local disk",
        "iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||",
        "exit",
    )


def installer_script(host: str, server: str, plan: str, arguments: str) -> str:
    """Start the roll's installer; a file that cannot be fetched is tried again until it is there.

    `server` is the frontend's address, `plan` the plan's, `arguments` those of the installed kernel, for the console.
    """
    given = (
        f" initrd={INSTALLER_IMAGE} initrd={SITE_IMAGE} rocks.plan={plan} BOOTIF=01-{_MAC}"
        f"{' ' + arguments if arguments else ''}"
    )
    return _script(
        f"{host}: installation",
        ":again",
        "imgfree",
        _fetch("kernel", server, KERNEL, given),
        _fetch("initrd", server, INSTALLER_IMAGE),
        _fetch("initrd", server, SITE_IMAGE),
        "boot || goto failed",
        ":failed",
        "echo The installer cannot be fetched or started. On the frontend: rocks sync config",
        "sleep 10",
        "goto again",
    )


def action_script(host: str, server: str, recipe: BootAction, arguments: str) -> str:
    """Boot what a boot action names; its kernel may be `localboot N`. Paths are those of the server's TFTP."""
    kernel = (recipe.kernel or "").strip()
    if not kernel or kernel.lower().startswith(_LOCAL):
        return local_script(host)
    ramdisk = (recipe.ramdisk or "").strip()
    parts = (
        f"kernel {_place(server, kernel)}",
        arguments,
        f"initrd={ramdisk.rpartition('/')[2]}" if ramdisk else "",
    )
    return _script(
        f"{host}: action {recipe.action}",
        " ".join(part for part in parts if part),
        *([f"initrd {_place(server, ramdisk)}"] if ramdisk else []),
        "boot",
    )


def _fetch(command: str, server: str, name: str, arguments: str = "") -> str:
    """By HTTP, which is fast, else by TFTP."""
    ways = (f"http://{server}{FIRST_STAGE_PATH}{name}", f"tftp://{server}/{FIRST_STAGE_FOLDER}/{name}")
    return " || ".join([*(f"{command} {way}{arguments}" for way in ways), "goto failed"])


def _place(server: str, path: str) -> str:
    return path if "://" in path else f"tftp://{server}/{path.lstrip('/')}"


def _script(title: str, *lines: str) -> str:
    return "\n".join(["#!ipxe", f"# {title}. The frontend rewrites this file.", *lines, ""])


# The facts that determine the network boots of hosts.


_INSTALL = "install"

MACS = (
    "(SELECT GROUP_CONCAT(LOWER(m.MAC) ORDER BY m.ID SEPARATOR ' ') FROM networks m WHERE m.Node = x.Node"
    " AND m.MAC <> '' AND (m.ID = x.ID OR (x.Module = 'bonding' AND m.Channel = x.Device)))"
)
"""The MAC addresses from which a machine asks on its interface x: its own, and of a bond those of its adapters."""


def boot_facts(database: Database, names: Sequence[str]) -> list[BootFacts]:
    """The facts for the network boots of the named hosts, a row for each of their private addresses."""
    rows = database.rows(
        "SELECT n.Name, m.Name, b.Action, n.RunAction, n.InstallAction, i.IP, i.Netmask, i.MACs,"
        " v.Node IS NOT NULL, COALESCE(i.Device, ''), COALESCE(i.Channel, '') FROM nodes n"
        " LEFT JOIN vm_nodes v ON v.Node = n.ID JOIN memberships m ON m.ID = n.Membership"
        " LEFT JOIN boot b ON b.Node = n.ID LEFT JOIN"
        f" (SELECT x.ID, x.Node, x.IP, IF(x.VlanID IS NULL, {MACS}, NULL) AS MACs, s.netmask AS Netmask,"
        " x.Device, x.Channel FROM networks x"
        "  JOIN subnets s ON s.ID = x.Subnet WHERE s.name = 'private' AND x.IP <> '') i ON i.Node = n.ID"
        " WHERE n.Name IN %s ORDER BY n.ID, i.ID",
        [names],
    )
    attributes = resolve_attributes(database, names)
    recipes = load_boot_actions(
        database, [str(action) for row in rows for action in row[3:5] if action] + [_INSTALL]
    )
    return [
        BootFacts(
            host=str(host),
            membership=str(membership),
            next_boot=None if action is None else str(action),
            run_action=recipes.get(str(run)),
            install_action=recipes.get(str(install)),
            default_action=recipes.get(_INSTALL),
            address=None if address is None else str(address),
            netmask=None if netmask is None else str(netmask),
            macs=tuple(str(macs or "").split()),
            install_name=None if install is None else str(install),
            is_virtual=bool(is_virtual),
            is_bmc=is_bmc(str(device), str(channel)),
            attributes={name: found.value for name, found in attributes.get(str(host), {}).items()},
        )
        for host, membership, action, run, install, address, netmask, macs, is_virtual, device, channel in rows
    ]


# What the boot service of this roll serves: the hosts' addresses and scripts, and the files of the first stage.
#
# The folder for TFTP exists where `rocks start service boot` was started once. Commands that change how hosts boot
# write the hosts' files when their transaction is committed; `rocks sync config` and each start of the service write
# all files.


TFTP_FOLDER = Path("/tftpboot/rocks")
"""The folder for TFTP on a frontend. Everything in it can be read by every machine of the network private."""

RUN_FOLDER = Path("/run/rocks-boot")
"""The configuration of dnsmasq, its hosts, and its process number."""

PLAN_URL = "https://{address}/install/plan"
LOCK = "boot files"
LOCK_SECONDS = 30.0
_READABLE = 0o755
_MAC_FORM = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)
_LONGEST_COMMAND_LINE = 4096


def tftp_folder() -> Path:
    """The folder for TFTP; the environment variable ROCKS_BOOT_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_BOOT_FOLDER") or TFTP_FOLDER)


def run_folder() -> Path:
    """The folder of the running service; the environment variable ROCKS_BOOT_RUN_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_BOOT_RUN_FOLDER") or RUN_FOLDER)


def places() -> BootPlaces:
    """The places of the service's files."""
    run = run_folder()
    return BootPlaces(str(tftp_folder()), str(run / "hosts"), str(run / "dnsmasq.pid"))


def has_boot_service() -> bool:
    """Whether the boot service was started on this machine."""
    return tftp_folder().is_dir()


def sync_after_commit(database: Database) -> None:
    """Write the hosts' files when the transaction is committed, if this machine has the boot service."""
    if has_boot_service():
        database.after_commit(MethodType(sync_host_files, database))  # equal for each call: once


def sync_host_files(database: Database) -> int:
    """Write the addresses and scripts of all served hosts, remove those of others, and inform dnsmasq.

    Returns the number of served hosts. Two commands at once do it one after the other, each with what is committed
    then. HostError when a file cannot be written, StateError as of `served_hosts`.
    """
    with database.locked(LOCK, LOCK_SECONDS):
        hosts, scripts = served_hosts(database)
        _write(hosts, scripts)
    return len(hosts)


def _write(hosts: Sequence[ServedHost], scripts: dict[str, str]) -> None:
    try:
        _write_scripts(scripts)
        ensure_folders(run_folder(), _READABLE)
        _write_hosts(Path(places().hosts), dnsmasq_hosts(hosts))
    except HostError as error:
        raise HostError(f"{error}; then: rocks sync config") from None
    except OSError as error:
        raise HostError(
            f"the files of the boot service cannot be written: {error.strerror} ({error.filename}); then: "
            "rocks sync config"
        ) from None


def unserved_hosts(database: Database, names: Sequence[str]) -> list[str]:
    """The physical hosts that the service does not answer, without an IP or MAC address; never this machine."""
    local = find_local_host(database)
    physical = [name for name in physical_hosts(database) if name in set(names) - {local}]
    facts = boot_facts(database, physical) if physical else []
    served = {one.host for one in facts if is_served(one) and not one.is_bmc}
    return [name for name in physical if name not in served]


def served_hosts(database: Database) -> tuple[list[ServedHost], dict[str, str]]:
    """The hosts that the service serves, and the name and text of each one's script.

    StateError while this machine has no address on the network private: the files of all hosts would go.
    """
    local = find_local_host(database)
    facts = boot_facts(database, physical_hosts(database))
    found = find_private_address(database, local) if local else None
    database.end_reading()
    if found is None:
        name = local or "FRONTEND"
        raise StateError(
            "the frontend has no address on the network private, so the files of the boot service were not "
            f"written; changes of the database are stored: rocks add host interface {name} DEVICE ip=ADDRESS "
            f"subnet=private (rocks set host interface ip {name} DEVICE ADDRESS for an interface that "
            "exists), then rocks sync config"
        )
    hosts: list[ServedHost] = []
    scripts: dict[str, str] = {}
    for one in facts:
        macs = tuple(mac for mac in one.macs if _MAC_FORM.fullmatch(mac))
        if one.host != local and is_served(one) and one.address and macs:
            hosts.append(ServedHost("" if one.is_bmc else one.host, macs, one.address))
            if not one.is_bmc:
                scripts |= dict.fromkeys(map(host_script_name, macs), _host_script(one, found.address))
    return hosts, scripts


def _host_script(facts: BootFacts, server: str) -> str:
    if is_for_our_installer(facts):
        try:
            arguments = check_arguments(facts.attributes.get("install_kernel_arguments", ""))
        except UserError:
            arguments = ""  # the plan is refused for it, with the reason
        return installer_script(facts.host, server, PLAN_URL.format(address=server), arguments)
    recipe, more = next_recipe(facts)
    return action_script(facts.host, server, recipe, more) if recipe else local_script(facts.host)


def _write_scripts(scripts: dict[str, str]) -> None:
    folder = tftp_folder() / HOSTS
    ensure_folders(folder, _READABLE)
    for old in folder.glob("*.ipxe"):
        if old.name not in scripts:
            remove_file(old)
    changed = {name: text for name, text in scripts.items() if not has_content(folder / name, text)}
    write_files(folder, changed, mode=PUBLIC)


def _write_hosts(path: Path, text: str) -> None:
    """Write the hosts, and inform dnsmasq of what was written since it was last informed; its user reads the file."""
    # exists from before the change until dnsmasq is informed: a kill leaves it
    unread = path.with_name("unread")
    if not has_content(path, text):
        write_file(unread, "", mode=PUBLIC)
        write_file(path, text, mode=PUBLIC)
    elif not unread.exists():
        return
    _inform_dnsmasq()
    remove_file(unread)


def _inform_dnsmasq() -> None:
    """Let the running dnsmasq of this service read its hosts again; nothing when it does not run."""
    number = dnsmasq_process()
    if number is not None and not dry_run.would(dry_run.HERE, "have dnsmasq read its hosts again"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGHUP)


def dnsmasq_process() -> int | None:
    """The process number of this service's dnsmasq; None when it does not run."""
    try:
        number = int(Path(places().process).read_text("ascii"))
        parts = Path(f"/proc/{number}/cmdline").read_bytes()[:_LONGEST_COMMAND_LINE].split(b"\0")
    except (OSError, ValueError):
        return None
    is_ours = b"dnsmasq" in parts[0] and f"--conf-file={run_folder()}/dnsmasq.conf".encode() in parts
    return number if is_ours else None


# The pxelinux files that answer the network boots of hosts.
#
# Files are written only where the folder of pxelinux exists: on a machine that serves no such boots
# nothing would read them. One file for each host, by its address: a second one by MAC address could disagree.


PXELINUX_FOLDER = Path("/tftpboot/pxelinux/pxelinux.cfg")
"""The folder of pxelinux files on a frontend. On a machine without it no such file is written."""


def boot_folder() -> Path:
    """The folder of pxelinux files; the environment variable ROCKS_PXE_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_PXE_FOLDER") or PXELINUX_FOLDER)


def write_boot_files(database: Database, names: Sequence[str]) -> None:
    """Write the boot files of these hosts for their next boot; three statements, whatever their number.

    The boot service of this roll gets those of all hosts, when the transaction is committed. No file
    of pxelinux is written for hosts that it does not serve, or on a machine without it.
    HostError for a file that cannot be written, which is then unchanged.
    """
    sync_after_commit(database)
    folder = boot_folder()
    if not names or not folder.is_dir():
        return
    local = (find_local_host(database) or "").lower()
    for facts in boot_facts(database, names):
        file = default_file(facts) if facts.host.lower() == local else boot_file(facts)
        if file is not None:
            _ensure(folder, file)


def remove_boot_files(database: Database, names: Sequence[str]) -> None:
    """Remove the boot files of hosts that are about to be removed, while their addresses are known."""
    sync_after_commit(database)
    folder = boot_folder()
    if names and folder.is_dir():
        for facts in boot_facts(database, names):
            if facts.address is not None:
                _ensure(folder, BootFile(file_name(facts.address), facts.host, None, ""))


def _ensure(folder: Path, file: BootFile) -> None:
    path = folder / file.name
    try:
        if file.recipe is None:
            remove_file(path)
            return
        text = pxelinux_file(file.host, file.recipe, file.arguments)
        # the boot service runs as another user, and may read the file at any moment
        with draft(path, mode=PUBLIC) as new:
            new.write(text)
    except OSError as error:
        raise HostError(f"the boot file {path} of {file.host} cannot be written: {error.strerror}") from None


def pxelinux_file(host: str, recipe: BootAction, arguments: str) -> str:
    """The file for a boot action, whose kernel may be `localboot N` instead of a file.

    Source: the Syslinux project's documentation of its configuration files.
    """
    kernel = (recipe.kernel or "").strip()
    if kernel.lower().startswith(_LOCAL):
        lines = [f"localboot {kernel[len(_LOCAL) :].strip() or '0'}"]
    else:
        ramdisk = f"initrd={recipe.ramdisk}" if recipe.ramdisk else ""
        append = " ".join(part for part in (arguments, ramdisk) if part)
        lines = [f"kernel {kernel}", *([f"append {append}"] if append else [])]
    return "\n".join(
        [
            f"# {host}: action {recipe.action}. `rocks set host boot` rewrites this file.",
            "default rocks",
            "prompt 0",
            "label rocks",
            *(f"  {line}" for line in lines),
            "",
        ]
    )
