"""A private RabbitMQ of this machine: TLS on a loopback port, own folders, own user id, own Erlang port mapper.

RabbitMQ 3.10 does not start without Erlang's port mapper (epmd), and Erlang starts one that stays for ever when there
is none. So each broker gets one of its own, on a loopback port of its own, that ends with it.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from lab import processes
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.process import Finished, run_checked, start_in_background
from rocks.storage.broker import definitions as documents

USER_ID = 64781
"""The user and group id the broker runs under: one without a name, in a range that Debian assigns to no user."""

_SCRIPTS = Path("/usr/lib/rabbitmq/bin")  # those in /usr/sbin change to the machine's own broker user
_NEEDED_PLUGINS = (*documents.PLUGINS, "rabbitmq_prelaunch")
_EPMD = "/usr/bin/epmd"
_NODE = "rocks@localhost"
_CONTROL_SECONDS = 180.0
_STOP_GRACE_SECONDS = 20.0


@dataclass(frozen=True)
class BrokerPlace:
    """Where one broker lives: everything is below `folder`, which other users must be able to pass (mode x).

    Certificates are in `pki_folder`: ca.crt, broker.pem and the folder crls, given to the broker's user by
    `give_certificates` or, after `write_control`, by `rocks sync broker`. Ports are chosen once, at first need, and
    stay: that of TLS, of the port mapper, and Erlang's own; `fixed_ports` are the first of these.
    """

    folder: Path
    address: str = "127.0.0.1"
    fixed_ports: tuple[int, ...] = ()

    @property
    def pki_folder(self) -> Path:
        """The certificates that the broker reads."""
        return self.folder / "pki"

    @property
    def port(self) -> int:
        """The TLS port. StateError before the first start or `write_control`."""
        return self._ports()[0]

    @property
    def log_path(self) -> Path:
        """The log of the broker."""
        return self.folder / "log" / f"{_NODE}.log"

    def _ports(self) -> tuple[int, int, int]:
        try:
            port, mapper, internal = (self.folder / "ports").read_text(encoding="ascii").split()
        except OSError:
            raise StateError(f"the broker in {self.folder} was never started") from None
        return int(port), int(mapper), int(internal)


def give_certificates(place: BrokerPlace, authority: bytes, pair: bytes, revoked: tuple[str, bytes]) -> None:
    """Put certificates where the broker reads them; `revoked` is the file's name and the list."""
    crls = place.pki_folder / "crls"
    crls.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {
        place.pki_folder / "ca.crt": authority,
        place.pki_folder / "broker.pem": pair,
        crls / revoked[0]: revoked[1],
    }
    for path, data in files.items():
        draft = path.with_name(f".{path.name}")
        draft.touch(mode=0o600)
        draft.write_bytes(data)
        _give(draft)
        draft.rename(path)
    _give(place.pki_folder)
    _give(crls)


def write_control(place: BrokerPlace, configuration: Path) -> None:
    """Have `rocks sync broker` find this broker by its configuration file, also before the broker was ever started.

    Its port mapper is started now: rabbitmqctl would start one that does not end.
    """
    _ensure_ports(place)
    _ensure_folders(place)
    _launch_mapper(place, ends_with_starter=False)
    variables = [f"{name}={value}" for name, value in environment(place).items()]
    command = shlex.join(["env", "-i", *variables, *_as_user(), str(_SCRIPTS / "rabbitmqctl")])
    program = place.folder / "rabbitmqctl"
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    lines = (
        f"program = {shlex.quote(str(program))}",
        f"pki_folder = {place.pki_folder}",
        f"group = {USER_ID}",
    )
    configuration.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def start(place: BrokerPlace, deadline_seconds: float = 90, ends_with_starter: bool = False) -> int:
    """Have the broker running and answering at its port; returns its process id, also when it ran before.

    `ends_with_starter`: the kernel ends it when the process that called this is gone; for tests. StateError
    without certificates, ToolError when it ends at once, HostError when it does not answer in time.
    """
    if not (place.pki_folder / "broker.pem").exists():
        raise StateError(f"the broker has no certificate in {place.pki_folder}: give it one first")
    if processes.read_record(_record(place, "broker")) is None:
        _prepare(place)
        _launch_mapper(place, ends_with_starter)
        _launch(place, ends_with_starter)
    _wait_until_it_answers(place, deadline_seconds)
    running = processes.read_record(_record(place, "broker"))
    if running is None:
        raise ToolError(f"the broker ended at once; see {place.log_path}")
    return running.process_id


def control(place: BrokerPlace, *arguments: str) -> Finished:
    """`rabbitmqctl ARGUMENTS…` of this broker. StateError when it does not run, ToolError when the command fails."""
    if processes.read_record(_record(place, "broker")) is None:
        raise StateError(f"the broker in {place.folder} does not run")
    program = [*_as_user(), str(_SCRIPTS / "rabbitmqctl"), "--quiet", *arguments]
    return run_checked(program, deadline_seconds=_CONTROL_SECONDS, environment=environment(place))


def environment(place: BrokerPlace) -> dict[str, str]:
    """The variables with which RabbitMQ's programs find this broker and nothing of the machine's own."""
    _, mapper, internal = place._ports()
    return {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "HOME": str(place.folder / "home"),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(mapper),
        "RABBITMQ_CONF_ENV_FILE": str(place.folder / "no-such-file"),
        "RABBITMQ_NODENAME": _NODE,
        "RABBITMQ_DIST_PORT": str(internal),
        "RABBITMQ_MNESIA_BASE": str(place.folder / "data"),
        "RABBITMQ_LOG_BASE": str(place.folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(place.folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(place.folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(place.folder / "enabled_plugins"),
        "RABBITMQ_PLUGINS_DIR": str(place.folder / "plugins"),
        "RABBITMQ_CTL_ERL_ARGS": "-start_epmd false",
        "ERL_CRASH_DUMP": str(place.folder / "log" / "erl_crash.dump"),
        # two threads that do not spin when idle: the machine has other work
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }


def kill(place: BrokerPlace) -> None:
    """End the broker as a power failure does; its port mapper stays, for `start`."""
    running = processes.read_record(_record(place, "broker"))
    if running is not None:
        processes.end([running], 0)


def running_process(place: BrokerPlace) -> int | None:
    """The process id of the broker that `start` started, while it runs."""
    running = processes.read_record(_record(place, "broker"))
    return None if running is None else running.process_id


def stop(place: BrokerPlace) -> bool:
    """End the broker and its port mapper; returns whether there was one to end. Works twice and after a crash."""
    ended = False
    for name, grace_seconds in (("broker", _STOP_GRACE_SECONDS), ("mapper", 2.0)):
        running = processes.read_record(_record(place, name))
        if running is not None:
            processes.end([running], grace_seconds)
            ended = True
        _record(place, name).unlink(missing_ok=True)
    return ended


def _ensure_ports(place: BrokerPlace) -> None:
    file = place.folder / "ports"
    if not file.exists():
        ports = (*place.fixed_ports, *_free_ports(place.address)[len(place.fixed_ports) :])
        file.write_text(" ".join(map(str, ports)), encoding="ascii")


def _ensure_folders(place: BrokerPlace) -> None:
    home = place.folder / "home"
    for folder in (home, place.folder / "data", place.folder / "log"):
        folder.mkdir(mode=0o700, exist_ok=True)
        _give(folder)
    cookie = home / ".erlang.cookie"
    if not cookie.exists():
        cookie.touch(mode=0o600)
        cookie.write_text(secrets.token_hex(16), encoding="ascii")
        _give(cookie)


def _prepare(place: BrokerPlace) -> None:
    _check_passable(place.folder)
    _ensure_ports(place)
    _ensure_folders(place)
    where = documents.BrokerPlace(
        (place.address,),
        place.port,
        str(place.pki_folder),
        memory_bytes=256 * 1024 * 1024,
        free_disk_bytes=64 * 1024 * 1024,
    )
    (place.folder / "rabbitmq.conf").write_text(documents.rabbitmq_conf(where), encoding="utf-8")
    (place.folder / "advanced.config").write_text(documents.advanced_config(where), encoding="utf-8")
    (place.folder / "enabled_plugins").write_text(documents.enabled_plugins(), encoding="utf-8")
    _link_plugins(place.folder / "plugins")


def _link_plugins(folder: Path) -> None:
    """Leave out the plugins that are not enabled: RabbitMQ reads all that it has, a second of its start."""
    folder.mkdir(exist_ok=True)
    for found in ((_SCRIPTS / "rabbitmq-server").resolve().parents[1] / "plugins").glob("*-*"):
        name = found.name.partition("-")[0]
        if name in _NEEDED_PLUGINS or not name.startswith("rabbitmq_"):
            link = folder / found.name
            if not link.is_symlink():
                link.symlink_to(found)


def _launch_mapper(place: BrokerPlace, ends_with_starter: bool) -> None:
    if processes.read_record(_record(place, "mapper")) is not None:
        return
    _, mapper, _ = place._ports()
    arguments = [
        *_as_user(*_parent_death_options(ends_with_starter)),
        _EPMD,
        "-address",
        "127.0.0.1",
        "-port",
        str(mapper),
    ]
    _record_started(place, "mapper", start_in_background(arguments, place.folder / "mapper.log"))
    end_at = time.monotonic() + 10
    while not _listens("127.0.0.1", mapper):
        if time.monotonic() > end_at:
            raise ToolError(f"Erlang's port mapper does not answer; see {place.folder / 'mapper.log'}")
        time.sleep(0.01)


def _launch(place: BrokerPlace, ends_with_starter: bool) -> None:
    program = str(_SCRIPTS / "rabbitmq-server")
    arguments = [*_as_user(*_parent_death_options(ends_with_starter)), program]
    # as systemd has it: the script becomes Erlang's program and its process id is the broker's
    variables = {**environment(place), "RUNNING_UNDER_SYSTEMD": "true"}
    number = start_in_background(arguments, place.folder / "log" / "console.log", variables)
    _record_started(place, "broker", number)


def _record_started(place: BrokerPlace, name: str, process_id: int) -> None:
    process = processes.identify(process_id)
    if process is None:
        raise ToolError(f"the broker's {name} ended at once; see {place.folder / 'log'}")
    processes.write_record(_record(place, name), process)


def _wait_until_it_answers(place: BrokerPlace, deadline_seconds: float) -> None:
    end_at = time.monotonic() + deadline_seconds
    while not _listens(place.address, place.port):
        if processes.read_record(_record(place, "broker")) is None:
            raise ToolError(f"the broker ended at once; its last output: {_last_output(place)}")
        if time.monotonic() > end_at:
            stop(place)
            raise HostError(
                f"the broker did not answer at {place.address} port {place.port} within {deadline_seconds:g} s "
                f"and was stopped; see {place.log_path}"
            )
        time.sleep(0.05)


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
        return True
    except OSError:
        return False


def _record(place: BrokerPlace, name: str) -> Path:
    return place.folder / name


def _parent_death_options(ends_with_starter: bool) -> list[str]:
    return ["--pdeathsig", "SIGKILL"] if ends_with_starter else []


def _as_user(*options: str) -> list[str]:
    setpriv = shutil.which("setpriv") or "/usr/bin/setpriv"
    identity = [f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups"]
    # not from here: the broker's user may have no right to look into this folder, and Erlang does
    return [
        "/usr/bin/env",
        "--chdir=/",
        setpriv,
        *identity,
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
        *options,
        "--",
    ]


def _give(path: Path) -> None:
    os.chown(path, USER_ID, USER_ID)


def _free_ports(address: str) -> list[int]:
    probes = [socket.socket() for _ in range(3)]
    try:
        for probe in probes:
            probe.bind((address, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _check_passable(folder: Path) -> None:
    for step in (folder, *folder.parents):
        if not step.stat().st_mode & 0o001:
            raise StateError(f"the broker, a user of its own, cannot pass {step}: run `chmod o+x {step}`")


def _last_output(place: BrokerPlace) -> str:
    console = place.folder / "log" / "console.log"
    lines = console.read_text(errors="replace").splitlines() if console.exists() else []
    return " / ".join(line.strip() for line in lines[-5:] if line.strip()) or "none"
