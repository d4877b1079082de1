"""A host and its NAS for the cases on sessions: in memory, and open-iscsi and LIO of the same machine, on loopback."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from rocks.core.errors import RocksError
from rocks.core.process import run, run_checked
from rocks.storage.iscsi.initiator import SessionDriver, SessionFact, SessionSpec
from rocks.storage.iscsi.target import ExportSpec
from tests.contract.storage.iscsi.target_world import (
    SIZE_BYTES,
    FakeWorld,
    RealWorld,
    World,
    export_spec,
    open_world,
)
from tests.fakes.iscsi import FakeSessions
from tests.waiting import wait_until

_PLACES = (Path("/etc/iscsi"), Path("/var/lib/iscsi"))
"""Of the records of Debian 12, and of 13."""


class HostWorld(Protocol):
    """A host beside its NAS."""

    nas: World
    sessions: SessionDriver

    def can_read(self, device_path: str) -> bool: ...  # whether the disk can be read
    def can_write(self, device_path: str) -> bool: ...  # whether the disk can be written
    def open(self, device_path: str) -> None: ...  # a guest uses the disk
    def close(self, device_path: str) -> None: ...  # the guest has ended
    def cut(self) -> None: ...  # the NAS is away
    def restore(self) -> None: ...  # the NAS is back

    def detach(self, fact: SessionFact) -> None:
        """The disk is no longer attached, but the session is there."""

    def leave_record(self, spec: SessionSpec) -> None:
        """A login that was cut off at its beginning has left a node record with other settings."""

    def has_record(self, target: str) -> bool:
        """Whether settings of the target, secrets among them, are left on the host."""

    def lose_record(self, target: str) -> None: ...  # somebody removes the node record
    def restart_daemon(self) -> None: ...  # the initiator's daemon is ended and started again

    def spy(self, *secrets: str) -> AbstractContextManager[set[str]]:
        """Look for these words meanwhile; the set has the places where others than root could read them."""


class FakeHostWorld:
    def __init__(self, nas: FakeWorld) -> None:
        self.nas: World = nas
        self._nas = nas.fake
        self.fake = FakeSessions(nas.fake)
        self.sessions: SessionDriver = self.fake

    def can_read(self, device_path: str) -> bool:
        return any(fact.device_path == device_path for fact in self.sessions.read_sessions())

    def can_write(self, device_path: str) -> bool:
        return any(
            fact.device_path == device_path and not fact.is_read_only
            for fact in self.sessions.read_sessions()
        )

    def open(self, device_path: str) -> None:
        self.fake.users[device_path] = "process 1 (guest)"

    def close(self, device_path: str) -> None:
        del self.fake.users[device_path]

    def cut(self) -> None:
        self._nas.is_reachable = False

    def restore(self) -> None:
        self._nas.is_reachable = True

    def detach(self, fact: SessionFact) -> None:
        self.fake.detach(fact.target)

    def leave_record(self, spec: SessionSpec) -> None:
        self.fake.records.add(spec.target)

    def has_record(self, target: str) -> bool:
        return target in self.fake.records

    def lose_record(self, target: str) -> None:
        self.fake.records.discard(target)

    def restart_daemon(self) -> None:
        pass

    def spy(self, *secrets: str) -> AbstractContextManager[set[str]]:
        return nullcontext(set())


class RealHostWorld:
    """open-iscsi of this machine; the NAS is away when loopback is down."""

    def __init__(self, nas: RealWorld) -> None:
        from rocks.storage.iscsi.initiator import Sessions

        self.nas: World = nas
        self.sessions: SessionDriver = Sessions()
        self._open: dict[str, int] = {}

    def clean(self) -> None:
        self.restore()
        for path in list(self._open):
            self.close(path)
        for fact in self.sessions.read_sessions():
            try:
                self.sessions.ensure_session_gone(fact.target)
            except RocksError as error:
                print(f"left behind: {error}")
        run(["iscsiadm", "--mode", "node", "--op", "delete"], deadline_seconds=30)

    def can_read(self, device_path: str) -> bool:
        return self._copies([f"if={device_path}", "of=/dev/null", "iflag=direct"])

    def can_write(self, device_path: str) -> bool:
        return self._copies(["if=/dev/zero", f"of={device_path}", "oflag=direct", "conv=nocreat"])

    def open(self, device_path: str) -> None:
        self._open[device_path] = os.open(device_path, os.O_RDONLY)

    def close(self, device_path: str) -> None:
        os.close(self._open.pop(device_path))

    def cut(self) -> None:
        run_checked(["ip", "link", "set", "lo", "down"], deadline_seconds=10)

    def restore(self) -> None:
        run_checked(["ip", "link", "set", "lo", "up"], deadline_seconds=10)

    def detach(self, fact: SessionFact) -> None:
        Path(f"/sys/block/{fact.disk}/device/delete").write_text("1")

    def leave_record(self, spec: SessionSpec) -> None:
        record = ["--targetname", spec.target, "--portal", f"{spec.address}:{spec.port}"]
        run_checked(["iscsiadm", "--mode", "node", *record, "--op", "new"], deadline_seconds=30)

    def has_record(self, target: str) -> bool:
        return any((place / "nodes" / target).exists() for place in _PLACES)

    def lose_record(self, target: str) -> None:
        (record,) = [path for place in _PLACES if (path := place / "nodes" / target).exists()]
        shutil.rmtree(record)

    def restart_daemon(self) -> None:
        run_checked(["systemctl", "restart", "iscsid.service"], deadline_seconds=60)

    @contextmanager
    def spy(self, *secrets: str) -> Iterator[set[str]]:
        seen: set[str] = set()
        tokens = [secret.encode() for secret in secrets]
        ended = threading.Event()
        watch = threading.Thread(target=_watch_arguments, args=(tokens, seen, ended))
        watch.start()
        try:
            yield seen
        finally:
            ended.set()
            watch.join()
        for path in (path for place in _PLACES for path in place.rglob("*") if path.is_file()):
            if path.stat().st_mode & 0o077 and any(word in path.read_bytes() for word in tokens):
                seen.add(str(path))
        journal = run_checked(["journalctl", "--no-pager", "--output=cat"], deadline_seconds=60).output
        kernel = run_checked(["dmesg"], deadline_seconds=60).output
        seen.update("the journal" for word in tokens if word in journal + kernel)

    def _copies(self, tokens: list[str]) -> bool:
        return run(["dd", *tokens, "bs=4096", "count=1"], deadline_seconds=60).exit_status == 0


def _watch_arguments(tokens: list[bytes], seen: set[str], ended: threading.Event) -> None:
    """Note every program that has one of the words among its arguments."""
    while not ended.is_set():
        for process in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if any(word in arguments for word in tokens):
                seen.add(arguments.replace(b"\0", b" ").decode("utf-8", "replace"))


def export(world: HostWorld, **changes: Any) -> SessionSpec:
    """Have a volume exported to this host; returns what the host wants of it."""
    initiator = world.sessions.read_initiator()
    spec = export_spec(world.nas, **{"initiator": initiator, **changes})
    world.nas.targets.ensure_export(spec)
    return session_spec(spec)


def session_spec(spec: ExportSpec) -> SessionSpec:
    """The session that belongs to an export."""
    return SessionSpec(
        target=spec.target,
        address=spec.portal_address,
        port=spec.portal_port,
        chap=spec.chap,
        unit_serial=spec.unit_serial,
        size_bytes=SIZE_BYTES,
        read_only=spec.read_only,
    )


def wait_for_state(world: HostWorld, is_logged_in: bool) -> None:
    """Until the host's only session works, or does not."""

    def is_so() -> bool:
        (fact,) = world.sessions.read_sessions()
        return (fact.state == "LOGGED_IN") == is_logged_in

    wait_until(is_so)


@contextmanager
def open_host_world(kind: str) -> Iterator[HostWorld]:
    """In memory, or this machine with all that a case leaves taken away."""
    with open_world(kind) as nas:
        if isinstance(nas, FakeWorld):
            yield FakeHostWorld(nas)
            return
        assert isinstance(nas, RealWorld)
        world = RealHostWorld(nas)
        world.clean()
        try:
            yield world
        finally:
            world.clean()
