"""The disk of a new session is compared with what it must be when the kernel has asked the NAS for it."""

import os
from pathlib import Path
from threading import Thread

import pytest

from rocks.core.errors import IncoherentError
from rocks.storage.iscsi_initiator import kernel as kernel_requests
from rocks.storage.iscsi_initiator import sessions
from rocks.storage.iscsi_initiator.driver import SessionSpec
from rocks.storage.iscsi_initiator.listing import KernelSession, read_kernel_sessions
from tests.unit.storage.iscsi_initiator.test_listing import TARGET, make_session

SPEC = SessionSpec(TARGET, "10.9.0.10", 3260, None, "0123456789abcdef", 16384 * 512, read_only=True)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's folder of the session's disk, which it shows as writable."""
    make_session(tmp_path, 1, TARGET, "sdc")
    folder = tmp_path / "block/sdc"
    (folder / "ro").write_text("0\n")
    (folder / "device").mkdir()
    os.mkfifo(folder / "device/rescan")
    monkeypatch.setattr(sessions, "find_session", lambda target: read_kernel_sessions(tmp_path)[0])
    monkeypatch.setattr(sessions, "_SETTLE_SECONDS", 0.1)
    return folder


def answer(disk: Path, write_protection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel asks the NAS once, on request; as the real one, it has the answer before the request returns."""

    def once() -> None:
        assert (disk / "device/rescan").read_text() == "1"
        (disk / "ro").write_text(f"{write_protection}\n")

    def read_disk_again(session: KernelSession, deadline_seconds: float) -> None:
        kernel_requests.read_disk_again(session, deadline_seconds)
        kernel.join()

    kernel = Thread(target=once)
    kernel.start()
    monkeypatch.setattr(sessions, "read_disk_again", read_disk_again)


def test_a_disk_that_a_busy_nas_did_not_describe_is_read_again(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel assumes that it is writable; sixteen starts at once failed by that."""
    answer(disk, "1", monkeypatch)
    assert sessions._wait_for_matching_disk(SPEC).fact.is_read_only


def test_a_disk_that_is_writable_is_refused(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(disk, "0", monkeypatch)
    with pytest.raises(IncoherentError, match="is writable, but must be read-only; it is not used"):
        sessions._wait_for_matching_disk(SPEC)
