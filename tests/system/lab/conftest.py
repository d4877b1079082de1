"""What tests of the lab share: a folder for machines, and the state of this machine after all of them have stopped."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import links
from lab.namespace import Machine
from lab.processes import all_process_ids

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True, scope="session")
def as_root() -> None:
    """Only root may make namespaces."""
    if os.geteuid() != 0:
        pytest.skip("machines of the lab are made of namespaces, which needs root")


@pytest.fixture
def machines_folder() -> Iterator[Path]:
    """As `folder_of_machines`, of one test."""
    with folder_of_machines() as folder:
        yield folder


@contextmanager
def folder_of_machines() -> Iterator[Path]:
    """A folder for state folders: below one that only root may enter, with blanks, and deep."""
    top = Path(tempfile.mkdtemp(prefix="rocks lab "))  # mode 0700, as /root has
    folder = top / ("a folder whose path is longer than a socket's may be " + "x" * 60)
    folder.mkdir()
    yield folder
    assert processes_naming(str(folder)) == [], "a test left a machine behind"
    shutil.rmtree(top)


@pytest.fixture
def machine(machines_folder: Path) -> Iterator[Machine]:
    """A machine that does not run yet; stopped afterwards whatever happened to it."""
    machine = Machine(machines_folder / "machine")
    machine.folder.mkdir()
    yield machine
    machine.stop()
    assert_nothing_is_left(machine)


@pytest.fixture
def bridge(machine: Machine) -> str:
    """The name of a bridge without uplink on the machine, which is started."""
    machine.start()
    machine.in_network(lambda: links.ensure_bridge("rockstest0", "made by a test"))
    return "rockstest0"


def assert_nothing_is_left(machine: Machine) -> None:
    """No process of the machine, and no process that names its folder."""
    assert machine.members() == [] and not machine.is_running()
    assert processes_naming(str(machine.folder)) == []


def processes_naming(text: str) -> list[int]:
    """Processes with the text in their arguments, except this one."""
    found = []
    for number in all_process_ids():
        try:
            arguments = Path(f"/proc/{number}/cmdline").read_bytes()
        except OSError:
            continue
        if number != os.getpid() and text.encode() in arguments:
            found.append(number)
    return found
