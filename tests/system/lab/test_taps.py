"""The program that opens taps for the emulators of the lab's machines."""

import os
import sys
from collections.abc import Iterator

import pytest

from lab.machines import with_taps
from rocks.core.process import Finished, run, run_checked

_TAP = "taptest0"
_SECONDS = 30.0
_SHOW = 'readlink /proc/self/fd/100; cat /proc/self/fdinfo/100; cat; echo "$0"'


@pytest.fixture
def tap() -> Iterator[str]:
    run_checked(["ip", "tuntap", "add", _TAP, "mode", "tap"], deadline_seconds=_SECONDS)
    yield _TAP
    run_checked(["ip", "link", "delete", _TAP], deadline_seconds=_SECONDS)


def show(tap: str) -> Finished:
    program = ["/bin/sh", "-c", _SHOW, "the program's own"]
    line = [sys.executable, "-I", with_taps.__file__, f"{tap}=100", "--", *program]
    return run(line, deadline_seconds=_SECONDS, standard_input=b"input\n")


def test_the_program_has_the_tap_as_an_open_file(tap: str) -> None:
    lines = show(tap).text.splitlines()
    assert lines[0] == "/dev/net/tun"
    assert f"iff:\t{tap}" in lines
    assert lines[-2:] == ["input", "the program's own"]


def test_a_tap_that_another_program_has_is_an_error(tap: str) -> None:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        with_taps.open_tap(descriptor, tap)
        ended = show(tap)
    finally:
        os.close(descriptor)
    assert ended.exit_status != 0 and "input" not in ended.text
    assert ended.error_text.splitlines()[-1].endswith("Device or resource busy")
