"""One host's installation by the roll's installer: its plan, its reports, and what follows when it is configured."""

from __future__ import annotations

import filecmp
import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import process
from rocks.core.clock import utc_now
from rocks.core.errors import HostError, RocksError, StateError, ToolError, UserError
from rocks.core.files import ensure_folders, remove_file, write_file
from rocks.fleet.connection import FleetSettings
from rocks.fleet.first_contact import ensure_own_key
from rocks.fleet.known_hosts import parse_host_key, record_host_keys
from rocks.install.boot.files import INSTALLER_IMAGE, KERNEL, write_boot_files
from rocks.install.installation import states as table
from rocks.install.installation.plan import Source, plan_installation, plan_text
from rocks.install.installation.states import ADAPTERS, HOST_KEY, UNFINISHED, State, next_state, read_report
from rocks.install.profile_values import DEFAULT_ARCHITECTURE, DEFAULT_DISTRIBUTION
from rocks.install.rolls.content import INSTALLER, ROOT_ARCHIVE, ROOT_CHECKSUM
from rocks.install.rolls.folders import distribution_folder
from rocks.inventory import boot_records as boots
from rocks.inventory.address_records import host_addresses
from rocks.inventory.loaded_host_records import load_hosts
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network.interfaces import InterfaceParameters, add_interface, list_interfaces
from rocks.network.networks import network_names
from rocks.trust.secrets import TO_SYNC, begin_sending, record_sent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from rocks.database.connection import Database
    from rocks.database.settings import Settings
    from rocks.install.host_profiles import HostOfSite


# Hosts that have just been configured for the first time: they get accounts of people and their secret attributes.


_SECRETS = ("sync", "host", "sec_attr")
COMMANDS = (("sync", "users"), _SECRETS)
"""Commands of `rocks` for a new host; each takes its name."""

_SECONDS = 600.0


def record_configured(settings: Settings, host: str) -> None:
    """Record that the host waits for the commands, until they have ended. HostError when that cannot be written."""
    path = _record_of(settings, host)
    try:
        ensure_folders(path.parent, 0o700)
        write_file(path, "", mode=0o600)
    except OSError as error:
        raise HostError(f"cannot record that {host} is configured: {error.strerror} ({path})") from None


def _record_of(settings: Settings, host: str) -> Path:
    return Path(settings.state_folder) / TO_SYNC / host.lower()


def _number_of(settings: Settings, host: str) -> int | None:
    """The inode of the host's record, which each report makes anew; None without a record."""
    try:
        return _record_of(settings, host).stat().st_ino
    except FileNotFoundError:
        return None


class FirstSync:
    """Runs the commands for new hosts, one host after the other, as an operator would.

    It begins with the hosts whose commands had not ended when the last process stopped. A host may report that
    it is configured as often as it likes: its secrets are sent once for each installation.
    """

    def __init__(self, launcher: str, log: Callable[[str], None], settings: Settings) -> None:
        """`launcher` is the program `rocks`; `log` gets a line for each command that failed, or is not run."""
        self._launcher, self._log, self._settings = launcher, log, settings
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock, self._named = threading.Lock(), set[str]()
        folder = _record_of(settings, "any").parent
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not path.name.startswith("."):  # a draft of a process that was killed
                self.put(path.name)
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, host: str) -> None:
        """Have the commands run for the host, and return at once. A host that waits already does not wait twice."""
        with self._lock:
            if host not in self._named:
                self._named.add(host)
                self._waiting.put(host)

    def _work(self) -> None:
        while True:
            host = self._waiting.get()
            with self._lock:
                self._named.discard(host)
            number = _number_of(self._settings, host)
            if all(self._run(host, command) for command in COMMANDS):
                self._forget(host, number)

    def _run(self, host: str, command: tuple[str, ...]) -> bool:
        """Whether the command has ended by itself, and not by a signal, as when the service is stopped."""
        text = f"rocks {' '.join(command)} {host}"
        if _number_of(self._settings, host) is None:
            self._log(f"{host} is installed anew, so this is not run: {text}")
            return False
        try:
            if command == _SECRETS and not begin_sending(self._settings, host):
                self._log(
                    f"{host} was configured once more since its installation, and its secrets are not sent "
                    f"again: {text}"
                )
                return True
            finished = process.run([self._launcher, *command, host], deadline_seconds=_SECONDS)
            if finished.exit_status < 0:
                self._log(
                    f"{text} was ended by signal {-finished.exit_status}; "
                    "rocks-kickstart repeats it at its next start"
                )
                return False
            if finished.exit_status != 0:
                reason = finished.error_text or "it printed nothing"
                raise ToolError(f"exit status {finished.exit_status}: {reason}")
            if command == _SECRETS:
                record_sent(self._settings, host)
        except RocksError as error:
            self._log(f"{host} is configured, but this failed: {error}; {text}")
        return True

    def _forget(self, host: str, number: int | None) -> None:
        with self._lock:
            if host in self._named or _number_of(self._settings, host) != number:
                return  # it was configured once more meanwhile
            try:
                remove_file(_record_of(self._settings, host))
            except OSError as error:
                self._log(f"the record that {host} is configured cannot be removed: {error}")


# One host's installation by the roll's installer: its plan, what it reports, and the second device that it gets.


# The second device of a host of virtual machines is on the network public, as a frontend's is.

_NETWORK, _DEVICE = "public", "eth1"


def enter_public_device(database: Database, name: str, adapters: Sequence[str]) -> None:
    """Enter it for a host that is being installed and has these MAC addresses, unless more than one is entered.

    UserError, and no change, when another host has the address.
    """
    (host,) = load_hosts(database, [name])
    if host.is_true("kvm") and _NETWORK in network_names(database):
        entered = [str(row[3] or "") for row in list_interfaces(database, [name])]
        mac = second_adapter(entered, adapters)
        if mac:
            add_interface(database, name, InterfaceParameters(_DEVICE, mac=mac, subnet=_NETWORK))


def second_adapter(entered: Sequence[str], adapters: Sequence[str]) -> str:
    """The MAC address of the adapter that is not entered; '' unless there are two, and only the other is entered.

    Of more, nothing says which is on which network. Pure.
    """
    known = [mac.lower() for mac in entered]
    others = [mac.lower() for mac in adapters if mac.lower() not in known]
    return others[0] if len(known) == len(others) == 1 and len(adapters) == 2 else ""


# The plan, and the reports.


DISTRIBUTION_PATH, PROGRESS_PATH, PROFILE_PATH = "/install/distro/", "/install/progress/", "/install/profile"
KEYS_LOCK = "known hosts"
LOCK_SECONDS = 15.0
_LONGEST_CHECKSUM_FILE = 1000


class Offer(NamedTuple):
    """The site's HTTPS service: the beginning of its addresses, without a slash, and its settings."""

    url: str
    fleet: FleetSettings


def installation_plan(database: Database, site: HostOfSite, offer: Offer) -> str:
    """The plan for a host, with the number of its installation. Commits.

    StateError without the installer's files in the distribution, or with those of another installer than machines
    boot; UserError for a host that cannot be installed.
    """
    host = site.host
    folder = installer_folder(database, site.appliance.distribution, host.attributes.get("arch", ""))
    checksum = read_checksum(folder)
    check_is_booted(installer_folder(database, DEFAULT_DISTRIBUTION, ""), folder)
    found = table.find_installation(database, host.name)
    if found is None or found.state not in UNFINISHED:
        table.begin_installations(database, [host.name], _now())
        found = table.find_installation(database, host.name)
    if found is None:
        raise StateError(f"{host.name} is a virtual machine; the installer is for physical hosts")
    parts = (site.appliance.distribution, folder.parent.name, INSTALLER, ROOT_ARCHIVE)
    source = Source(
        found.number,
        f"{offer.url}{DISTRIBUTION_PATH}{'/'.join(parts)}",
        checksum,
        f"{offer.url}{PROFILE_PATH}/{found.number}",
        f"{offer.url}{PROGRESS_PATH}{found.number}",
        (ensure_own_key(offer.fleet)[0],),
    )
    zone = next((network.dns_zone for network in site.networks if network.name == PRIVATE_NETWORK), "")
    text = plan_text(plan_installation(host, source, zone))
    database.commit()
    return text


def installer_folder(database: Database, distribution: str, arch: str) -> Path:
    """The folder with the installer's files in a distribution; it need not exist."""
    return distribution_folder(database) / distribution / (arch or DEFAULT_ARCHITECTURE) / INSTALLER


def check_is_booted(booted: Path, folder: Path) -> None:
    """StateError when kernel or installer of a distribution are not those that machines boot.

    `booted` and `folder` are folders as of `installer_folder`. The programs and modules of an installer are those of
    the root archive beside it.
    """
    for name in (KERNEL, INSTALLER_IMAGE):
        one, other = booted / name, folder / name
        try:
            are_there = (one.is_file(), other.is_file())
            is_same = filecmp.cmp(one, other, shallow=False) if all(are_there) else not any(are_there)
        except OSError as error:
            raise StateError(f"{error.filename} cannot be read: {error.strerror}") from None
        if not is_same:
            place, distribution = folder.parents[2], folder.parents[1].name
            both = f"cd {place}; rocks create distro; rocks create distro dist={distribution}; "
            raise StateError(
                f"machines boot the installer in {booted}, which is not that of the distribution {distribution}: "
                f"{both if distribution != DEFAULT_DISTRIBUTION else ''}rocks sync config"
            )


def read_checksum(folder: Path) -> str:
    """The SHA-256 of the root archive. StateError when there is no archive or no checksum."""
    path = folder / ROOT_CHECKSUM
    advice = (
        "add the os roll and rebuild the distribution: rocks add roll os-*.iso; rocks enable roll os; "
        f"cd {folder.parent.parent.parent}; rocks create distro"
    )
    try:
        fields = path.read_bytes()[:_LONGEST_CHECKSUM_FILE].decode("ascii", "replace").split()
        is_there = (folder / ROOT_ARCHIVE).is_file()
    except OSError as error:
        raise StateError(f"the installer's file {path} cannot be read ({error.strerror}): {advice}") from None
    if not fields or not is_there:
        raise StateError(f"{folder} has no root archive with its checksum: {advice}")
    return fields[0]


def take_report(database: Database, name: str, number: str, body: bytes, offer: Offer) -> bool:
    """Record what a host reports, and do what follows. Commits. Returns whether the host has now become configured.

    That is recorded for `FirstSync`, too.

    `installed` lets the host start from its disk from now on; `host-key` makes its SSH key known; `adapters` enters the
    device of a host of virtual machines on the network public. UserError for an
    invalid report, StateError for one of another installation.
    """
    report = read_report(body)
    found = table.find_installation(database, name, lock=True)
    if found is None or found.number != number:
        raise StateError(
            f"this is not the current installation of {name}; on the frontend: rocks list host install {name}"
        )
    state = next_state(found.state, report)
    if report.word == HOST_KEY:
        _record_key(database, name, report.detail, offer.fleet)
    if report.word == ADAPTERS:
        enter_public_device(database, name, report.detail.split())
    if state is State.INSTALLED:
        boots.set_boot_action(database, [name], "os")
        write_boot_files(database, [name])
    is_configured = state is State.CONFIGURED and found.state is not State.CONFIGURED
    if is_configured:
        # before the commit, after which the host does not report it again
        record_configured(database.settings, name)
    table.record_report(database, name, state, report.text, _now())
    database.commit()
    return is_configured


def _record_key(database: Database, name: str, text: str, fleet: FleetSettings) -> None:
    key = parse_host_key(text)
    (address,) = host_addresses(database, [name])
    if address.is_local:
        raise UserError(f"{name} is the frontend itself")
    try:
        with database.locked(KEYS_LOCK, LOCK_SECONDS):  # hosts that are installed at once report at once
            record_host_keys(fleet.known_hosts_file, address, (key,))
    except OSError as error:
        raise HostError(f"cannot write {fleet.known_hosts_file}: {error.strerror}") from None


def _now() -> datetime:
    """The time now in UTC, as the database stores it."""
    return utc_now().replace(tzinfo=None)
