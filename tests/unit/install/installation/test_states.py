"""Which report of an installing host leads to which state."""

import pytest

from rocks.core.errors import UserError
from rocks.install.installation.states import LONGEST_REPORT, UNFINISHED, State, next_state, read_report

_OF_INSTALLER = ("started", "partitioning", "unpacking", "configuring", "host-key", "boot-loader", "failed")


@pytest.mark.parametrize("word", _OF_INSTALLER)
def test_the_installer_reports_until_its_installation_has_ended(word: str) -> None:
    report = read_report(f"{word} some detail".encode())
    for state in State:
        if state in UNFINISHED:
            expected = State.FAILED if word == "failed" else State.INSTALLING
            assert next_state(state, report) == expected
        else:
            with pytest.raises(UserError, match=f'"{word}" does not fit: the installation has ended'):
                next_state(state, report)


def test_installed_may_be_repeated_and_nothing_falls_behind_it() -> None:
    installed = read_report(b"installed")
    for state in (*UNFINISHED, State.INSTALLED):
        assert next_state(state, installed) == State.INSTALLED
    for state in (State.FIRST_BOOT, State.FIRST_BOOT_FAILED, State.CONFIGURED):
        with pytest.raises(UserError, match=f'in the state "{state.value}"'):
            next_state(state, installed)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("first-boot", State.FIRST_BOOT),
        ("first-boot-failed", State.FIRST_BOOT_FAILED),
        ("configured", State.CONFIGURED),
    ],
)
def test_the_first_boot_reports_in_every_state(word: str, expected: State) -> None:
    for state in State:
        assert next_state(state, read_report(word.encode())) == expected


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"reboot", b"started\nnow", b"started \xc3\xa4", b"started \x1b[2J", b"installed\0"]
    + [b"started " + b"x" * LONGEST_REPORT],
)
def test_what_is_no_report_is_rejected(body: bytes) -> None:
    with pytest.raises(UserError, match="report"):
        read_report(body)


def test_a_report_is_a_word_and_a_detail() -> None:
    report = read_report(b"failed the disk /dev/vda (8 GB) has data: disk ext4 ")
    assert report == ("failed", "the disk /dev/vda (8 GB) has data: disk ext4")
    assert report.text == "failed the disk /dev/vda (8 GB) has data: disk ext4"
