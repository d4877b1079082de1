"""The site's frontend: it runs on the carrying machine, inside the lab's namespace, with a database of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess  # noqa: TID251 - the type of what rocks.core.process starts
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab import mariadb
from lab.guest import cd, image
from lab.machines.keys import fingerprint_of
from lab.machines.machine import LabMachine
from lab.machines.namespace import Namespace
from lab.machines.roster import (
    FRONTEND_ADDRESS,
    NETMASK,
    NETWORK,
    STORAGE_BRIDGE,
    STORAGE_DEVICE,
    TRUNK_DEVICE,
    Description,
    Role,
)
from lab.mariadb import MariadbPlace
from rocks.core.errors import StateError, ToolError
from rocks.core.process import Finished, run, run_checked, start_with_pipes

NAME = "head"
_CHECKOUT = Path(__file__).absolute().parent.parent.parent
_FOLDER = Path("/var/opt/rocks/mysql")
_OWN_FOLDERS = (Path("/etc/rocks"), Path("/var/lib/rocks"))
_DATABASE = "cluster"
_DUMP = "cluster.sql"
_ROCKS_DEADLINE_SECONDS = 240.0
_SHORT_SECONDS = 60.0
_DISK_SECONDS = 120.0
_TRUNK_NETWORK, _TRUNK_NETMASK = "10.10.0.0", "255.255.0.0"
_MAC_POOL = ("0a:71:00:00:00:00", "ff:ff:ff:c0:00:00")
IMAGE_FOLDER = "/var/lib/rocks-images"
"""Where a host keeps disks of guests that are files."""


class Frontend:
    """The frontend over the lab's state folder."""

    def __init__(self, folder: Path, operator_key: Path, report: Callable[[str], None] | None = None) -> None:
        """`report` receives every command that `done` runs, and each line of its output.

        StateError outside the lab's namespace: there its folders would be the carrying machine's own.
        """
        if not Namespace(folder).surrounds_this_process():
            raise StateError("the lab's frontend lives inside the lab's network: `bin/lab run PROGRAM…`")
        self._report = report or (lambda line: None)
        self._folder = folder
        self._operator_key = operator_key
        self._place = MariadbPlace(
            _FOLDER / "data", _FOLDER / "mysql.sock", folder / "mariadbd.log", folder / "mariadbd"
        )

    @property
    def _socket(self) -> str:
        return f"--socket={self._place.socket_path}"

    @property
    def logs(self) -> tuple[Path, ...]:
        """The logs of its daemons."""
        return (self._place.log_path,)

    def start(self) -> None:
        """Have the database server running. ToolError with its last output when it does not."""
        mariadb.ensure_initialised(self._place)
        mariadb.start(self._place)

    def stop(self) -> None:
        """End the database server; `start` has it again, with its data."""
        mariadb.stop(self._place)

    def begin_anew(self) -> None:
        """As on the first day: no cluster database, no keys, no leases."""
        program = ["mariadb", self._socket, "-e", f"DROP DATABASE IF EXISTS {_DATABASE}"]
        run_checked(program, deadline_seconds=_SHORT_SECONDS)
        for folder in _OWN_FOLDERS:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def save(self, folder: Path) -> None:
        """Copy the cluster database and the frontend's folders into a folder, which is made anew."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        dump = [
            "mariadb-dump",
            self._socket,
            "--databases",
            "--routines",
            "--triggers",
            "--events",
            _DATABASE,
        ]
        (folder / _DUMP).write_bytes(run_checked(dump, deadline_seconds=_SHORT_SECONDS).output)
        for own in _OWN_FOLDERS:
            _copy_folder(own, folder / str(own).lstrip("/"))

    def restore(self, folder: Path) -> None:
        """Database and folders as they were saved in the folder."""
        self.begin_anew()
        dump = (folder / _DUMP).read_bytes()
        run_checked(["mariadb", self._socket], deadline_seconds=_SHORT_SECONDS, standard_input=dump)
        for own in _OWN_FOLDERS:
            _copy_folder(folder / str(own).lstrip("/"), own)

    def rocks(self, *arguments: str, deadline_seconds: float = _ROCKS_DEADLINE_SECONDS) -> Finished:
        """Run a command as the operator does, whatever its exit status."""
        # bin/rocks looks for a demo of that state folder, finds none, and stays in this namespace
        environment = {**os.environ, "ROCKS_STATE": str(self._folder)}
        return run(
            [str(_CHECKOUT / "bin" / "rocks"), *arguments],
            deadline_seconds=deadline_seconds,
            environment=environment,
        )

    def done(self, *arguments: str, deadline_seconds: float = _ROCKS_DEADLINE_SECONDS) -> str:
        """Run a command that must succeed; returns its output. ToolError with its output otherwise."""
        self._report(f"  # bin/rocks {shlex.join(arguments)}")
        finished = self.rocks(*arguments, deadline_seconds=deadline_seconds)
        for line in finished.text.splitlines():
            self._report(f"  {line}")
        if finished.exit_status != 0:
            output = (finished.error_text + finished.text).strip()
            raise ToolError(
                f"rocks {' '.join(arguments)} ended with exit status {finished.exit_status}: {output}"
            )
        return finished.text

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command whose standard input, output and error are pipes."""
        program = [str(_CHECKOUT / "bin" / "rocks"), *arguments]
        return start_with_pipes(program, {**os.environ, "ROCKS_STATE": str(self._folder)})

    def report_profile(self, name: str) -> str:
        """The profile of a host, a script; `report` receives the command only."""
        self._report(f"  # bin/rocks report host profile {name} | ssh root@{name} bash")
        finished = self.rocks("report", "host", "profile", name)
        if finished.exit_status != 0:
            raise ToolError(f"rocks report host profile {name} failed: {finished.error_text.strip()}")
        return finished.text

    def describe_site(self, machines: Sequence[Description]) -> None:
        """Enter the networks, this frontend and the machines into the database, by `rocks` commands."""
        for arguments in site_commands(machines):
            self.done(*arguments)

    def share_keys(self, machines: Sequence[Description]) -> str:
        """`rocks sync host sharedkey`, with the operator's own key in an ssh-agent; returns its output."""
        return "".join(map(self._share_key, machines))

    def _share_key(self, machine: Description) -> str:
        program = str(_CHECKOUT / "bin" / "rocks")
        script = 'ssh-add -q "$0" && exec "$@"'
        fingerprint = fingerprint_of(self._operator_key.parent, machine.name)
        sync = ["sync", "host", "sharedkey", machine.site_name, f"fingerprint={fingerprint}"]
        with_agent = ["ssh-agent", "sh", "-c", script, str(self._operator_key), program, *sync]
        environment = {**os.environ, "ROCKS_STATE": str(self._folder)}
        return run_checked(with_agent, deadline_seconds=_ROCKS_DEADLINE_SECONDS, environment=environment).text


def site_commands(machines: Sequence[Description]) -> list[tuple[str, ...]]:
    """The `rocks` commands that describe the site of the machines, in order."""
    base, mask = _MAC_POOL
    commands: list[tuple[str, ...]] = [
        ("update", "database"),
        ("add", "network", "private", f"subnet={NETWORK}", f"netmask={NETMASK}"),
        ("add", "network", "public", "subnet=203.0.113.0", "netmask=255.255.255.0"),
        ("add", "network", "trunk", f"subnet={_TRUNK_NETWORK}", f"netmask={_TRUNK_NETMASK}"),
        ("add", "host", NAME, "membership=Frontend", "rack=0", "rank=0", "cpus=1"),
        ("add", "host", "interface", NAME, STORAGE_BRIDGE, f"ip={FRONTEND_ADDRESS}", "subnet=private"),
        ("set", "attr", "Kickstart_PrivateHostname", NAME),
        ("set", "attr", "Kickstart_PublicGateway", "203.0.113.1"),
        ("set", "attr", "vm_mac_base_addr", base),
        ("set", "attr", "vm_mac_base_addr_mask", mask),
        ("set", "attr", "vm_image_directory", IMAGE_FOLDER),
        ("set", "attr", "kvm_netboot", "no"),
    ]
    for machine in machines:
        membership = "VM Container" if machine.role is Role.HOST else "NAS Appliance"
        place = (f"rack={int(machine.role is Role.NAS)}", f"rank={machine.number}", f"cpus={machine.cpus}")
        address = f"ip={machine.address}"
        role = "img_storage_vm" if machine.role is Role.HOST else "img_storage_nas"
        commands.append(("add", "host", machine.site_name, f"membership={membership}", *place))
        commands.append(
            ("add", "host", "interface", machine.site_name, STORAGE_DEVICE, address, "subnet=private")
        )
        # until there are a broker and certificates (lab/machines/image_storage.py)
        commands.append(("set", "host", "attr", machine.site_name, role, "no"))
        if machine.role is Role.HOST:
            trunk = f"ip=10.10.0.{10 + machine.number}"
            commands.append(
                ("add", "host", "interface", machine.site_name, TRUNK_DEVICE, trunk, "subnet=trunk")
            )
            # The trunk's device carries VLANs by itself: there is no bridge over a renamed device.
            commands.append(
                ("set", "host", "interface", "options", machine.site_name, TRUNK_DEVICE, "novtap")
            )
            commands.append(("set", "host", "attr", machine.name, "vm_memory_reserve", "384"))
    return commands


def _copy_folder(source: Path, target: Path) -> None:
    """Everything in a folder into another, with owners, modes and times."""
    target.mkdir(parents=True, exist_ok=True)
    run_checked(["cp", "--archive", f"{source}/.", str(target)], deadline_seconds=_SHORT_SECONDS)


def put_counting_guest(machine: LabMachine, guest: Path, path: str, disk_mb: int = 16) -> None:
    """Put a fresh disk with the guest that counts at `path` on a host."""
    machine.copy_in(guest, path, "600")
    machine.run(["truncate", f"--size={disk_mb}M", path])


def put_linux_guest(
    machine: LabMachine, kernel: Path, images: Path, name: str, path: str, parameters: str = ""
) -> None:
    """Put the small Linux guest of the demo at `path` on a host; it prints `guest ready: name=… mac=…` when it is up.

    `parameters` are further ones for its kernel, such as `rocks_role=reader rocks_read=48,64`.
    """
    base = image.ensure_base_image(kernel, images)
    with _draft(images, machine, name) as draft:
        image.make_disk(base, draft, name, base.stat().st_size, parameters)
        machine.copy_in(draft, path, "600", deadline_seconds=_DISK_SECONDS)


def put_installing_frontend(
    machine: LabMachine, kernel: Path, images: Path, name: str, path: str, system: Path
) -> None:
    """Put a virtual cluster's frontend there, which installs its computes with what the file `system` holds.

    It prints `frontend serves …` when it is up, and its answer to each compute.
    """
    base = image.ensure_base_image(kernel, images)
    with _draft(images, machine, name) as draft:
        image.make_frontend_disk(base, kernel, draft, name, system)
        machine.copy_in(draft, path, "600", deadline_seconds=_DISK_SECONDS)


def make_frontend_cd(kernel: Path, images: Path, iso: Path, name: str, system: Path) -> None:
    """The ISO that installs that frontend on a machine with an empty disk, when somebody says so on its console."""
    base = image.ensure_base_image(kernel, images)
    disk = iso.with_name(f"{iso.name}.system")
    try:
        image.make_frontend_disk(base, kernel, disk, name, system)
        cd.make_cd(kernel, iso, disk)
    finally:
        disk.unlink(missing_ok=True)


@contextmanager
def _draft(images: Path, machine: LabMachine, name: str) -> Iterator[Path]:
    draft = images / f"{machine.name}-{name}"
    draft.unlink(missing_ok=True)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)
