"""A run by a fork server is as one of the program: arguments, environment, streams, exit status, signals."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rocks.core.errors import ToolError
from tests.patience import patience
from tests.system.vms.fork_server import request, serve
from tests.system.vms.site import run_forked, wait_until


def _program(arguments: Sequence[str]) -> int:
    todo: dict[str, Callable[[], object]] = {
        "show": lambda: print(
            [*arguments[1:]], sys.stdin.read(), sorted(os.environ), os.getsid(0) == os.getpid()
        ),
        "complain": lambda: print("\udcff", file=sys.stderr),
        "exit": lambda: sys.exit("given up"),
        "raise": lambda: {}["nothing"],
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "sleep": lambda: ((number := os.fork()) and print(os.getpid(), number, flush=True)) or time.sleep(60),
        "close": lambda: [*map(os.close, (1, 2)), time.sleep(60)],
        "change": lambda: sys.path.append("changed"),
        "look": lambda: print("changed" in sys.path),
    }
    todo[arguments[0]]()
    return 7


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """The socket of a server."""
    socket = tmp_path / "s"
    server = multiprocessing.get_context("fork").Process(target=serve, args=(str(socket), _program))
    server.start()
    wait_until(socket.exists)
    yield socket
    server.kill()
    server.join()


def _run(place: Path, *arguments: str) -> tuple[int, str, str]:
    ended = run_forked(place, arguments, {"ONE": "1"}, 20)
    return ended.exit_status, ended.text, ended.error_text


def test_arguments_environment_streams_and_the_exit_status(place: Path) -> None:
    assert _run(place, "show", "a b", "ä") == (7, "['a b', 'ä']  ['ONE'] True\n", "")
    assert _run(place, "complain") == (7, "", "\\udcff")


def test_it_ends_as_python_ends(place: Path) -> None:
    assert _run(place, "exit") == (1, "", "given up")
    assert _run(place, "kill") == (-signal.SIGKILL, "", "")
    status, _, error = _run(place, "raise")
    assert status == 1 and error.startswith("Traceback") and error.endswith("KeyError: 'nothing'")


def test_a_run_leaves_nothing_to_the_next(place: Path) -> None:
    assert _run(place, "change")[0] == 7
    assert _run(place, "look")[1] == "False\n"


def _is_gone(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_without_its_client_it_is_killed_with_what_it_started(place: Path) -> None:
    read, write = os.pipe()
    with open(os.devnull) as nothing, open(read) as output:  # noqa: PTH123 - descriptors
        with request(place, ["sleep"], {}, (nothing.fileno(), write, write)):
            os.close(write)
            numbers = [int(text) for text in output.readline().split()]
            assert _run(place, "show")[0] == 7, "another runs meanwhile"
            assert not any(_is_gone(number) for number in numbers if number)
        wait_until(lambda: all(_is_gone(number) for number in numbers if number))


@pytest.mark.slow
def test_a_run_that_is_too_long(place: Path) -> None:
    with pytest.raises(ToolError, match=r"rocks sleep did not close its output in 0\.5 s"):
        run_forked(place, ["sleep"], {}, 0.5)
    seconds = patience(1)  # it has to close its output before
    with pytest.raises(ToolError, match=f"rocks close did not end in {seconds:g} s"):
        run_forked(place, ["close"], {}, seconds)
