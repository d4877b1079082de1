"""The name service of the frontend: its files from the database, BIND's programs, and the names in /etc/hosts."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import shutil
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import utc_now
from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import PUBLIC, ensure_folders, remove_file, text_if_readable, write_file
from rocks.core.names import printable
from rocks.core.process import replace_this_process, run
from rocks.fleet.host_files import FileChange
from rocks.inventory.addresses import AddressedInterface
from rocks.inventory.attributes.records import global_attributes
from rocks.inventory.host_records import local_host
from rocks.inventory.host_requests import sync_files
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network.dns.changes import BEGINS, HOSTS_FILE, has_name_service, hosts_file, name_folder
from rocks.network.dns.names import (
    Additions,
    NameService,
    SiteNames,
    hosts_lines,
    is_same_zone,
    name_addresses,
    named_configuration,
    numbered_after,
    resolver_configuration,
    served_zones,
    with_valid_zones,
    zone_text,
)
from rocks.network.network_rules import check_zone, read_addresses
from rocks.network.networks import load_networks, network_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database
    from rocks.inventory.records import Network
    from rocks.network.dns.names import NamedAddress


def load_site_names(database: Database) -> tuple[SiteNames, list[Network]]:
    """The names of all hosts, and all networks; four statements for any number of hosts."""
    networks, faults = with_valid_zones(load_networks(database, network_names(database)))
    rows = database.rows(
        "SELECT n.Name, COALESCE(i.Name, ''), i.IP, s.name, COALESCE(i.Device, ''), COALESCE(i.Channel, '')"
        " FROM networks i JOIN nodes n ON n.ID = i.Node"
        " JOIN subnets s ON s.ID = i.Subnet WHERE i.IP IS NOT NULL AND i.IP <> '' ORDER BY i.ID"
    )
    interfaces = [AddressedInterface(*map(str, row)) for row in rows]
    aliases = [
        (str(host), str(alias))
        for host, alias in database.rows(
            "SELECT n.Name, l.Name FROM aliases l JOIN nodes n ON n.ID = l.Node ORDER BY l.ID"
        )
    ]
    names = name_addresses(interfaces, networks, aliases)
    return names._replace(problems=(*faults, *names.problems)), networks


# The documents of the name service, from the database: named.conf, zones and resolv.conf.


RUN_FOLDER = Path("/run/named")
_PUBLIC_DOMAIN = "Kickstart_PublicDNSDomain"
_SITE = "site"
"""Folder of the operator's additions: named.conf, and a file for each zone that has some."""


class NameFiles(NamedTuple):
    """All files of the name service as they would be written: path → text; named.conf is first."""

    files: dict[Path, str]
    problems: tuple[str, ...]


def run_folder() -> Path:
    """The folder of named's process number; the environment variable ROCKS_DNS_RUN_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_DNS_RUN_FOLDER") or RUN_FOLDER)


def name_files(database: Database) -> NameFiles:
    """All files of the name service, without a look at those that exist but for the site's additions.

    StateError when this machine is not in the database or has no address with a name; HostError for additions that
    cannot be read.
    """
    names, networks = load_site_names(database)
    server = _server(names, local_host(database))
    attributes = global_attributes(database)
    folder = name_folder()
    serial = int(utc_now().timestamp())
    zones = served_zones(names.addresses, networks)
    files = {
        folder / "zones" / zone.name: zone_text(zone, server, serial, _site_additions(zone.name))
        for zone in zones
    }
    served = {network.name.lower() for network in served_networks(networks)}
    own = [
        str(one.address)
        for one in names.addresses
        if one.host == server.host and one.network.lower() in served
    ]
    service = NameService(
        tuple(dict.fromkeys(own)),
        tuple(_clients(served_networks(networks))),
        [
            one
            for one in _list_of(attributes.get("Kickstart_PublicDNSServers", ""))
            if _is_forwarder(one, own)
        ],
        [(zone.name, str(folder / "zones" / zone.name)) for zone in zones],
        _site_additions("named.conf"),
        str(run_folder() / "named.pid"),
    )
    return NameFiles({folder / "named.conf": named_configuration(service), **files}, names.problems)


def resolver(database: Database, private: bool) -> str:
    """resolv.conf of the frontend, or that of the hosts on the network private.

    StateError for a stored domain or address that is not one: the file would say something else.
    """
    attributes = global_attributes(database)
    networks = load_networks(database, network_names(database))
    zones = {network.name.lower(): network.dns_zone for network in networks if network.dns_zone}
    first = [_domain(zones[PRIVATE_NETWORK], PRIVATE_NETWORK)] if PRIVATE_NETWORK in zones else []
    public = attributes.get(_PUBLIC_DOMAIN) or zones.get("public", "")
    searched = list(dict.fromkeys([*first, *([_domain(public, "public")] if public else [])]))
    if private:
        servers = _servers(attributes, "Kickstart_PrivateDNSServers")
    else:
        servers = ["127.0.0.1"] if has_name_service() else _servers(attributes, "Kickstart_PublicDNSServers")
    return resolver_configuration(searched, servers)


def _domain(text: str, network: str) -> str:
    try:
        check_zone(text)
    except UserError:
        where = f"the attribute {_PUBLIC_DOMAIN} or the zone of" if network == "public" else "the zone of"
        raise StateError(
            f'"{printable(text)}" is not a domain ({where} the network {network}); rocks set network zone {network}, '
            f"rocks set attr {_PUBLIC_DOMAIN}"
        ) from None
    return text


def _servers(attributes: Mapping[str, str], name: str) -> list[str]:
    servers = _list_of(attributes.get(name, ""))
    for one in servers:
        address, percent, device = one.partition("%")
        try:
            ipaddress.ip_address(address)
            if percent and not (device.isascii() and device.isalnum()):
                raise ValueError
        except ValueError:
            raise StateError(
                f'the attribute {name} has "{printable(one)}", which is not an address: rocks set attr {name} '
                "ADDRESS,ADDRESS"
            ) from None
    return servers


def _server(names: SiteNames, frontend: str) -> NamedAddress:
    for one in names.addresses:
        if one.is_host and one.host.lower() == frontend.lower():
            return one
    raise StateError(
        f"{frontend} has no address on a network with a zone, so it cannot serve names: rocks list host interface "
        f"{frontend}; rocks set network zone"
    )


def served_networks(networks: Sequence[Network]) -> list[Network]:
    return [network for network in networks if network.serves_dns and network.dns_zone]


def _clients(networks: Sequence[Network]) -> list[str]:
    found = []
    for network in networks:
        with suppress(UserError):
            found.append(str(read_addresses(network.subnet, network.netmask)))
    return found


def _is_forwarder(server: str, own: Sequence[str]) -> bool:
    """Whether named may ask the server: an IPv4 address that is not its own, which would be asked for ever."""
    try:
        read = ipaddress.IPv4Address(server)
    except ValueError:
        return False
    return str(read) not in own and not read.is_loopback


def _site_additions(name: str) -> Additions | None:
    """The site's additions. HostError for a file that cannot be read."""
    path = name_folder() / _SITE / name
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return Additions(str(path), hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}") from None


def _list_of(text: str) -> list[str]:
    return text.replace(",", " ").split()


# BIND's programs on this machine: the running named, and the checks of its files before they are written.


_SECONDS = 60.0
_LONGEST_COMMAND_LINE = 4096
_PROGRAMS = "/usr/sbin:/usr/bin:/sbin"


def check_zone_file(name: str, text: str) -> None:
    """StateError when named would not serve the zone, with its message. Without the program nothing is checked."""
    _check("named-checkzone", ["-k", "ignore", name], text, f"the zone {name}")


def check_configuration(text: str) -> None:
    """StateError when named would not start with the configuration. Without the program nothing is checked."""
    _check("named-checkconf", [], text, "the configuration of named")


def named_process(configuration: Path) -> int | None:
    """The process number of the named that was started with this configuration; None when it does not run."""
    found = re.search(r'pid-file "([^"\n]+)"', text_if_readable(configuration))
    try:
        number = int(Path(found.group(1)).read_text("ascii")) if found else 0
        parts = Path(f"/proc/{number}/cmdline").read_bytes()[:_LONGEST_COMMAND_LINE].split(b"\0")
    except (OSError, ValueError):
        return None
    return number if b"named" in parts[0] and str(configuration).encode() in parts else None


def _check(program: str, arguments: list[str], text: str, what: str) -> None:
    path = shutil.which(program, path=_PROGRAMS)
    if path is None:
        return
    with dry_run.reading(), tempfile.NamedTemporaryFile("w", prefix="rocks-dns-") as draft:
        draft.write(text)
        draft.flush()
        done = run([path, *arguments, draft.name], deadline_seconds=_SECONDS)
    if done.exit_status != 0:
        reason = (done.error_text or done.text).replace(draft.name, what).strip().splitlines()
        raise StateError(
            f"{what} is not valid with the additions of the site, and was not written: "
            f"{'; '.join(reason[:3]) or 'no reason is given'}; correct the file in /etc/bind/rocks/site, then "
            "rocks sync dns"
        )


# The name service of a frontend: BIND's named for the networks that serve DNS, and the frontend's /etc/hosts.
#
# Its folder exists where `rocks start service dns` was started once. `rocks sync dns` and `rocks sync config` write
# what has changed, and let a running named read it again; so do commands that change names, when they are committed,
# where the folder or our part of /etc/hosts exists.


USER = "bind"
LOCK = "name service"
LOCK_SECONDS = 30.0
_READABLE = 0o755
BEGIN = "# begin of rocks: written by rocks sync config; changes between these lines are lost"
END = "# end of rocks"


class SyncedNames(NamedTuple):
    """What `rocks sync dns` did: whether /etc/hosts changed; the files of named that changed, and those removed.

    `serves` is whether this machine has the name service, `runs` whether named runs.
    """

    hosts_file: bool
    files: tuple[str, ...]
    serves: bool
    runs: bool
    problems: tuple[str, ...]


def start_name_service(database: Database, notify: Callable[[str], None]) -> None:
    """Write all files of the service and become named; does not return.

    StateError when named is not installed, or this machine has no name on a network that serves DNS; HostError when a
    file cannot be written.
    """
    program = shutil.which("named", path="/usr/sbin:/sbin:/usr/bin")
    if program is None:
        raise StateError("named is not installed: apt-get install bind9")
    if not served_networks(load_networks(database, network_names(database))):
        raise StateError(
            "no network serves DNS, so there are no names to serve: rocks set network servedns private yes"
        )
    name_files(database)  # its errors come before a folder is made
    try:
        ensure_folders(name_folder() / "zones", _READABLE)
    except OSError as error:
        raise HostError(f"cannot make {name_folder()}/zones: {error.strerror}") from None
    with _locked(database):
        synced = _sync_service(database)
    for problem in synced.problems:
        notify(problem)
    database.close()
    # the program itself prints nothing here: its messages go to the system log
    notify("named runs here until Ctrl-C; in the background: systemctl start rocks-dns")
    replace_this_process([program, "-f", "-u", USER, "-c", str(name_folder() / "named.conf")])


def sync_names(database: Database) -> SyncedNames:
    """Write our part of this machine's /etc/hosts, and what has changed of named's files, which it then reads again.

    StateError for a hosts file whose marks are damaged, and for additions of the site that named would reject; then
    named's files stay as they are. HostError for a file that cannot be written. Two commands at once do it one after
    the other.
    """
    with _locked(database):
        synced = _sync_service(database) if has_name_service() else None
        names, _ = load_site_names(database)
        database.end_reading()
        changed = _write_hosts(names)
    return (
        synced._replace(hosts_file=changed)
        if synced
        else SyncedNames(changed, (), False, False, names.problems)
    )


@contextmanager
def _locked(database: Database) -> Iterator[None]:
    """One command after the other writes names, each with what is committed then."""
    database.end_reading()
    with database.locked(LOCK, LOCK_SECONDS):
        yield


def _sync_service(database: Database) -> SyncedNames:
    """Write what has changed of named's files, and let a running named read it; the hosts file is left alone."""
    files, problems = name_files(database)
    database.end_reading()
    written = _write_all(files)
    runs = _inform_named(bool(written))
    return SyncedNames(hosts_file=False, files=written, serves=True, runs=runs, problems=problems)


def sync_names_of_hosts(database: Database, hosts: Sequence[str]) -> Iterator[tuple[str, bool | RocksError]]:
    """Write our part of the hosts' /etc/hosts; yields (host, whether it changed, or the error)."""
    names, _ = load_site_names(database)
    lines = hosts_lines(names.addresses)
    path = str(HOSTS_FILE)

    def plan(host: str, found: Mapping[str, bytes]) -> list[FileChange]:
        old = found.get(path, b"")
        new = with_part(old.decode("utf-8", "surrogateescape"), lines, path).encode(
            "utf-8", "surrogateescape"
        )
        return [FileChange(path, new)] if new != old else []

    yield from sync_files(database, hosts, [path], plan)


def outdated_files(database: Database) -> list[str]:
    """The paths of the files that `sync_names` would change."""
    names, _ = load_site_names(database)
    old, new = _hosts_texts(names)
    found = [str(hosts_file())] if old != new else []
    if has_name_service():
        changed, obsolete = _differences(name_files(database).files)
        found += [str(path) for path in (*changed, *obsolete)]
    database.end_reading()
    return found


def _hosts_texts(names: SiteNames) -> tuple[str, str]:
    """The hosts file as it is, and as it should be."""
    path = hosts_file()
    try:
        old = path.read_bytes().decode("utf-8", "surrogateescape")  # lines may end in any way
    except FileNotFoundError:
        old = ""
    return old, with_part(old, hosts_lines(names.addresses), str(path))


def _write_hosts(names: SiteNames) -> bool:
    """Whether the hosts file changed."""
    old, new = _hosts_texts(names)
    if new != old:
        write_file(hosts_file().resolve(), new.encode("utf-8", "surrogateescape"), mode=PUBLIC)
    return new != old


def _differences(files: dict[Path, str]) -> tuple[dict[Path, str], list[Path]]:
    """The files that are missing or have another text, with the new one; and the zones that are no longer served."""
    renewed = {path: _renewed(path, text) for path, text in files.items()}
    changed = {path: text for path, text in renewed.items() if text is not None}
    present = (name_folder() / "zones").iterdir()
    return changed, [path for path in present if path not in files and not path.name.startswith(".")]


def _write_all(files: dict[Path, str]) -> tuple[str, ...]:
    """Write what has changed, zones before the configuration that names them; returns the names of changed files."""
    configuration = next(iter(files))
    changed, obsolete = _differences(files)
    for path, text in changed.items():
        if path != configuration and "$INCLUDE" in text:
            check_zone_file(path.name, text)
    if configuration in changed:
        check_configuration(changed[configuration])
    if changed or obsolete:
        write_file(_unread(), "", mode=PUBLIC)
    for path in [*(one for one in changed if one != configuration), configuration]:
        if path in changed:
            write_file(path, changed[path], mode=PUBLIC)
    for path in obsolete:
        remove_file(path)
    return tuple(str(path) for path in (*changed, *obsolete))


def _inform_named(has_written: bool) -> bool:
    """Let the running named read what was written since it was last informed; whether it runs."""
    process = named_process(name_folder() / "named.conf")
    if has_written or _unread().exists():
        if process is not None and not dry_run.would(dry_run.HERE, "have named read its zones again"):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGHUP)
        remove_file(_unread())
    return process is not None


def _unread() -> Path:
    """A file that exists from before the first change until named is informed: a killed command leaves it."""
    return name_folder() / "unread"


def _renewed(path: Path, text: str) -> str | None:
    """The text to be written; None when the file has it already. The serial number of a zone only grows."""
    try:
        old = path.read_text("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return text
    return None if is_same_zone(old, text) else numbered_after(old, text)


def with_part(old: str, part: str, path: str) -> str:
    """The text of a file that others write as well, with `part`, whole lines, as our part; the rest stays as it is.

    A new part comes at the end; an empty one is removed with its marks. StateError when the marks in the file are not
    one of each, in their order. `path` is the file's, for the message.
    """
    lines = old.splitlines(keepends=True)
    begins = [place for place, line in enumerate(lines) if line.startswith(BEGINS)]
    ends = [place for place, line in enumerate(lines) if line.rstrip("\n") == END]
    if len(begins) > 1 or len(ends) != len(begins) or (begins and ends[0] < begins[0]):
        raise StateError(
            f'{path} does not have one line "{BEGINS} …" and one line "{END}" after it: remove these lines and what '
            "is between them, then: rocks sync config"
        )
    ours = [f"{BEGIN}\n", part, f"{END}\n"] if part else []
    if begins:
        return "".join([*lines[: begins[0]], *ours, *lines[ends[0] + 1 :]])
    gap = "\n" if ours and old and not old.endswith("\n") else ""
    return "".join([old, gap, *ours])
