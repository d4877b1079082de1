"""Named locks: their bytes, and the folder that holds their file."""

import os
import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.clock import utc_now
from rocks.core.errors import HostError, StateError
from rocks.core.process import run_checked
from rocks.database.locks import FILE, NamedLocks, _command, lock_offset


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "frontend")


def test_names_that_differ_in_case_are_one_lock() -> None:
    assert lock_offset("cluster", "vm VC1") == lock_offset("Cluster", "vm vc1")
    assert lock_offset("cluster", "vm vc1") != lock_offset("other", "vm vc1")


@given(st.text(max_size=300))
def test_every_name_has_a_byte_that_the_kernel_can_lock(name: str) -> None:
    assert 0 <= lock_offset("cluster", name) < 2**62


def test_locks_of_two_connections_of_one_process_exclude_each_other(folder: str) -> None:
    one, other = NamedLocks(folder, "cluster"), NamedLocks(folder, "cluster")
    assert one.take_all(["vm a", "vm b"], 0) == []
    assert other.take_all(["vm c", "VM B"], 0) == ["VM B"]
    assert one.take_all(["vm c"], 0) == [], "the other one has taken all or none"
    assert NamedLocks(folder, "another").take_all(["vm a"], 0) == []
    one.close()
    assert other.take_all(["vm a", "vm b", "vm c"], 0) == []


def test_a_holder_is_one_of_this_file_and_not_of_another_site(folder: str, tmp_path: Path) -> None:
    other_site, here, waiting = (
        NamedLocks(str(tmp_path / "other" / "frontend"), "cluster"),
        NamedLocks(folder, "cluster"),
        NamedLocks(folder, "cluster"),
    )
    assert (
        other_site.take_all(["vm a"], 0) == here.take_all(["vm b"], 0) == waiting.take_all(["vm c"], 0) == []
    )
    assert "process" not in str(waiting.busy_with(["vm a"], 1.0))
    text = str(waiting.busy_with(["vm b"], 1.0))
    began = re.search(rf" \(process {os.getpid()}: .+, since (\d\d:\d\d:\d\d) UTC\)$", text)
    assert began, text
    ps = run_checked(["ps", "-o", "etimes=", "-p", str(os.getpid())], deadline_seconds=20)
    known = utc_now() - timedelta(seconds=int(ps.text))
    stated = datetime.combine(known.date(), time.fromisoformat(began[1]), UTC)
    assert abs((stated - known).total_seconds()) % 86400 < 5


def test_a_holder_is_named_by_its_command_without_values(folder: str) -> None:
    arguments = [
        "/opt/rocks/bin/python3",
        "-I",
        "/opt/rocks/bin/rocks",
        "install",
        "host",
        "nas-0-0",
        "x=secret",
    ]
    assert _command("\0".join([*arguments, ""])) == "rocks install host nas-0-0"


def test_a_lock_taken_twice_is_released_twice(folder: str) -> None:
    one, other = NamedLocks(folder, "cluster"), NamedLocks(folder, "cluster")
    assert [one.take_all(["vm a"], 0), one.take_all(["vm a"], 0)] == [[], []]
    one.release_all(["vm a", "never taken"])
    assert other.take_all(["vm a"], 0) == ["vm a"]
    one.release_all(["vm a"])
    assert other.take_all(["vm a"], 0) == []


def test_a_lock_is_released_wholly_however_often_it_was_taken(folder: str) -> None:
    one, other = NamedLocks(folder, "cluster"), NamedLocks(folder, "cluster")
    assert [one.take_all(["vm a"], 0), one.take_all(["vm a"], 0)] == [[], []]
    one.release_wholly("vm a")
    one.release_wholly("vm a")
    assert other.take_all(["vm a"], 0) == []


def test_all_locks_but_some_are_released(folder: str) -> None:
    one, other = NamedLocks(folder, "cluster"), NamedLocks(folder, "cluster")
    assert one.take_all(["vm a", "vm b", "vm c"], 0) == one.take_all(["vm a"], 0) == []
    one.release_others(["vm b", "never taken"])
    assert other.take_all(["vm a", "vm c"], 0) == [] and other.take_all(["vm b"], 0) == ["vm b"]


def test_more_locks_than_a_process_may_open_files(folder: str) -> None:
    names = [f"vm {number}" for number in range(3000)]
    one, other = NamedLocks(folder, "cluster"), NamedLocks(folder, "cluster")
    assert one.take_all(names, 5) == []
    assert other.take_all([*names[:3], "vm other"], 0) == sorted(
        names[:3], key=lambda n: lock_offset("cluster", n)
    )


def test_only_the_owner_reaches_the_file(folder: str) -> None:
    old_mask = os.umask(0)
    try:
        NamedLocks(folder, "cluster").take_all(["vm a"], 0)
    finally:
        os.umask(old_mask)
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert (Path(folder) / FILE).stat().st_mode & 0o777 == 0o600


def test_a_folder_that_others_can_enter_is_refused(folder: str) -> None:
    Path(folder).mkdir(parents=True)
    Path(folder).chmod(0o755)
    with pytest.raises(StateError, match=rf"chmod 700 {folder}"):
        NamedLocks(folder, "cluster").take_all(["vm a"], 0)
    Path(folder).chmod(0o700)
    assert NamedLocks(folder, "cluster").take_all(["vm a"], 0) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match=r"cannot use the folder .*/file/frontend: .*; run this as root"):
        NamedLocks(str(tmp_path / "file" / "frontend"), "cluster").take_all(["vm a"], 0)
