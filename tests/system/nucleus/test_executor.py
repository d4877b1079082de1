"""The executor behind its socket: what it runs, and what it does not."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.simulator import Simulator
from nucleus.backends.executor import Answer, LocalExecutor, SocketExecutor, Stream
from nucleus.backends.executor_service import IMAGES, ExecutorService, is_allowed
from nucleus.backends.rocks import Rocks
from nucleus.configuration import Configuration
from nucleus.mirror import operations
from nucleus.mirror.pool import Pool
from nucleus.operations import worker
from nucleus.operations.worker import Workers
from nucleus.records import SYSTEM, NewOperation, Operation
from rocks.core.errors import BusyError, HostError, ToolError
from tests.servers import answering, connected_when_named
from tests.system.nucleus.conftest import compute_numbers
from tests.waiting import wait_until

SHA256 = "0" * 64


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ExecutorService]:
    """An executor of a simulated site at `tmp_path/executor.sock`."""
    with answering(ExecutorService(Simulator(1), tmp_path / "executor.sock", {os.getuid()})) as served:
        yield served


def test_its_socket_accepts_connections_as_soon_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nucleus, which waits for the name, was refused in between."""
    (tmp_path / "executor.sock").write_text("of one that was killed")
    named = connected_when_named(monkeypatch)
    with ExecutorService(Simulator(1), tmp_path / "executor.sock", set(), os.getgid()):
        assert named == [(tmp_path / "executor.sock", 0o660)]
    assert [one.name for one in tmp_path.iterdir()] == ["executor.sock"]


def test_a_second_one_does_not_take_the_socket_of_the_first(service: ExecutorService, tmp_path: Path) -> None:
    with pytest.raises(BusyError, match=r"another executor serves .*executor.sock; end it first"):
        ExecutorService(Simulator(1), tmp_path / "executor.sock", set())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "executor.sock"))
    assert [one.name for one in tmp_path.iterdir()] == ["executor.sock"]


FORBIDDEN = (
    "remove host vm-vc1-0",
    "list host attr",
    "start host vm vm-vc1-0 force=yes",
    "start host vm vm-vc1-0 json=yes force=yes",
    "stop host vm a action=poweroff force=yes",
    "stop host vm a host-off=yes",
    "set host vm a mem=4096",
    "set host vm cdrom a cdrom=/etc/shadow",
    "set host vm cdrom a ../x",
    "list host vm -h",
    "run host command=reboot",
    "add image x file=/etc/shadow format=iso",
    "list cluster selector",
    "list image medium json=yes",
    "add image x file=/var/lib/rocks-nucleus/images/../../../../etc/shadow",
    "start host vm a\nb",
    "start host vm %",
    "start host vm a b",
    "start host vm",
    "stop host vm action=poweroff",
    "stop host vm a action=shutdown timeout=99999",
    "stop host vm a action=reset timeout=5",
    "remove host vm snapshot vm-vc1-0 nightly",
    "remove host vm fence compute-0-0",
    "list host vm lease json=yes",
    "reinstall host vm a force=yes json=yes",
    "reinstall host vm a image=volume:b-vol json=yes",
    "reinstall host vm a b json=yes",
    "reinstall cluster a json=yes",
    "clone host vm a json=yes",
    "clone host vm a b c json=yes",
    "clone cluster a 203.0.113.20 json=yes",
    "report host vm screen vc1 file=/etc/passwd",
    f"add image x file={IMAGES}/1.iso",
    f"add image x file={IMAGES}/1.iso checksum={SHA256}",
    f"add image x file={IMAGES}/.. checksum={SHA256} format=iso",
    f"add image x file={IMAGES}/link checksum={SHA256} format=iso",
    f"add image x file=/tmp/1.iso checksum={SHA256} format=iso",
    f"add image x file={IMAGES}/1.iso,/etc/1.iso checksum={SHA256} format=iso",
    "",
)


def test_other_commands_and_forms_are_not_run(service: ExecutorService, tmp_path: Path) -> None:
    executor = SocketExecutor(str(tmp_path / "executor.sock"))
    assert [line for line in FORBIDDEN if is_allowed(line.split(" "), IMAGES)] == []
    for line in FORBIDDEN:
        with pytest.raises(ToolError, match="the executor runs no"):
            executor.run(line.split(" "), 60)


def test_an_image_is_imported_from_the_folder_of_the_settings() -> None:
    command = ["add", "image", "nucleus-1.iso", "file=/srv/1.iso", f"checksum={SHA256}"]
    command += ["format=iso", "json=yes"]
    assert is_allowed(command, "/srv") and not is_allowed(command, IMAGES)


def test_what_nucleus_needs_is_run(service: ExecutorService, tmp_path: Path) -> None:
    executor = SocketExecutor(str(tmp_path / "executor.sock"))
    start = ["start", "host", "vm", "vc1", "json=yes"]
    started, refused = executor.run(start, 60), executor.run(start, 60)
    assert (started.status, started.err) == (0, "") and '"active"' in started.out
    assert refused.err == "Error: vc1 is already running" and refused.out == started.out
    assert '"active"' in executor.run(["list", "host", "vm", "vc1", "status=yes", "json=yes"], 60).out
    assert (
        executor.run(["stop", "host", "vm", "vc1", "action=shutdown", "timeout=120", "json=yes"], 60).status
        == 0
    )
    assert executor.run(["list", "image", "json=yes"], 60).out == "[]"
    drive = ["set", "host", "vm", "cdrom", "vc1", "image=debian-12.iso", "json=yes"]
    assert executor.run(drive, 60).status == 0
    for line in (
        "reinstall host vm vm-vc1-0",
        "reinstall host vm vm-vc1-0 image=a",
        "clone host vm vm-vc1-0 vm-vc1-1",
    ):
        assert executor.run([*line.split(), "json=yes"], 60).status == 0
    assert isinstance(service.executor, Simulator)
    assert service.executor.guests["vc1"].iso == "image=debian-12.iso"
    assert (tmp_path / "executor.sock").stat().st_mode & 0o077 == 0


def test_a_request_that_is_none_is_answered(service: ExecutorService, tmp_path: Path) -> None:
    for line in (b"\n", b"{}\n", b"[1]\n", b'{"arguments": "x", "seconds": 1}\n', b"[" * 60000 + b"\n"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "executor.sock"))
            connection.sendall(line)
            assert b"no request" in connection.makefile("rb").readline(), line[:40]


def test_an_executor_that_is_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="systemctl status"):
        SocketExecutor(str(tmp_path / "absent.sock")).run(["list", "cluster", "json=yes"], 60)


@pytest.mark.slow
def test_what_is_asked_for_while_the_executor_is_away_is_done_when_it_is_back(
    pool: Pool, cluster_number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart takes longer than the attempts after other failures, and leaves these as many as ever."""
    monkeypatch.setattr(worker, "pause_seconds", lambda operation: 0.05)
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 0.05)
    simulator, path = Simulator(2), tmp_path / "executor.sock"
    simulator.guests["vm-vc2-0"].host = "vm-container-0-1"
    is_busy = Answer(1, "", "Error: another command is at work on it")
    simulator.faults += [(("start",), lambda: is_busy)] * (Configuration().work.attempts - 1)
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
        asked = operations.insert_operation(session, NewOperation("poweron", "ann", cluster_number, node))

    def now() -> Operation:
        with pool.transaction() as session:
            found = operations.find_operation(session, SYSTEM, asked.id)
        assert found is not None
        return found

    workers, stop = Workers(Configuration(), pool, Rocks(SocketExecutor(str(path)), 60)), threading.Event()
    thread = threading.Thread(target=workers.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: now().attempts > Configuration().work.attempts + 1, "more attempts")
        assert now().ended is None and "does not answer" in (now().error or {})["detail"]
        with answering(ExecutorService(simulator, path, {os.getuid()})):
            wait_until(lambda: now().ended is not None, "the end")
    finally:
        stop.set()
        thread.join(60)
    assert (now().state, simulator.guests["vm-vc2-0"].state) == ("succeeded", "active"), now().error


@pytest.mark.parametrize(
    "answer", [b"", b"{", b'{"status": 0, "err": ""}\n', b'{"status": 0, "bytes": 3, "err": ""}\n[]']
)
def test_an_answer_that_is_cut_off_is_none(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as threads:
        listener.bind(str(tmp_path / "cut.sock"))
        listener.listen()
        asked = threads.submit(
            SocketExecutor(str(tmp_path / "cut.sock")).run, ["list", "image", "json=yes"], 60
        )
        with listener.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(answer)
        with pytest.raises(HostError, match="ended in the middle of its answer"):
            asked.result(60)


def test_a_console_is_relayed(service: ExecutorService, tmp_path: Path) -> None:
    executor = SocketExecutor(str(tmp_path / "executor.sock"))
    executor.run(["start", "host", "vm", "vc1", "json=yes"], 60)
    stream = executor.open(("open", "host", "console", "vc1", "type=serial", "stream=yes"))
    stream.connection.settimeout(60)
    assert stream.connection.recv(100)
    stream.connection.sendall(b"hello")
    assert b"hello" in stream.connection.recv(100)
    stream.close()


def test_a_picture_of_a_screen_is_relayed(service: ExecutorService, tmp_path: Path) -> None:
    executor = SocketExecutor(str(tmp_path / "executor.sock"))
    site = Rocks(executor, 60)
    with pytest.raises(ToolError):
        site.read_screen("vc1")  # it is off
    executor.run(["start", "host", "vm", "vc1", "json=yes"], 60)
    assert site.read_screen("vc1").startswith(b"\x89PNG")


def test_a_picture_that_comes_slowly_is_given_up_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that sends a byte now and then holds nobody's request for ever."""
    near, far = socket.socketpair()

    def send() -> None:
        with far, contextlib.suppress(OSError):
            while True:
                far.sendall(b"\x89")
                time.sleep(0.01)

    simulator = Simulator(clusters=1)
    monkeypatch.setattr(simulator, "open", lambda _arguments: Stream(near, lambda: ""))
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    with pytest.raises(HostError, match="the screen of vc1 has not come"):
        Rocks(simulator, 0.2).read_screen("vc1")
    sender.join(60)
    assert not sender.is_alive(), "the connection was not closed"


def test_commands_state_that_nucleus_is_their_source() -> None:
    assert LocalExecutor("printenv").run(["ROCKS_SOURCE"], 60) == Answer(0, "nucleus\n", "")
