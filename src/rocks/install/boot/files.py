"""What the boot service of this roll serves: the hosts' addresses and scripts, and the files of the first stage.

The folder for TFTP exists where `rocks start service boot` was started once. Commands that change how hosts boot write
the hosts' files when their transaction is committed; `rocks sync config` and each start of the service write all files.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import PUBLIC, ensure_folders, has_content, remove_file, write_file, write_files
from rocks.install.boot.dnsmasq import BootPlaces, ServedHost, dnsmasq_hosts
from rocks.install.boot.fact_records import boot_facts
from rocks.install.boot.file_rules import is_for_our_installer, is_served, next_recipe
from rocks.install.boot.ipxe import HOSTS, action_script, host_script_name, installer_script, local_script
from rocks.install.installation.plan import check_arguments
from rocks.inventory.address_records import find_private_address
from rocks.inventory.host_records import find_local_host
from rocks.inventory.loaded_host_records import physical_hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.install.boot.file_rules import BootFacts

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
