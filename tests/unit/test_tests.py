"""What the tests have of their own: durations, patience, units of work, smoke tests, folders."""

import os
import re
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests import generated
from tests import patience as patience_module
from tests.conftest import SECONDS_OF_A_TEST, pytest_runtest_call
from tests.durations import seconds_by_part
from tests.patience import MAX_FACTOR, REFERENCE_SECONDS, VARIABLE, factor, patience
from tests.smoke_tests import SMOKE_TESTS, is_slow
from tests.work_units import unit_of

# The time of each part of a run.


def test_the_parts_are_folders_with_those_of_the_system_tests_apart_the_longest_first() -> None:
    tests = [
        ("tests/unit/wire/test_frames.py::test_a[1/2]", 0.5),
        ("tests/unit/cli/test_words.py::test_b", 0.5),
        ("tests/system/vms/test_moves.py::test_c", 4.0),
        ("tests/system/nucleus/api/test_limits.py::test_d", 2.0),
        ("tests/test_alone.py::test_e", 0.25),
    ]

    assert seconds_by_part(tests) == [
        ("tests/system/vms", 4.0),
        ("tests/system/nucleus", 2.0),
        ("tests/unit", 1.0),
        ("tests", 0.25),
    ]


# Deadlines of tests: never shorter than written, longer on a slow or busy machine, never beyond all bounds.


@pytest.mark.parametrize(
    ("slowness", "waiting", "expected"),
    [(1, 0, 1), (0.5, 0.5, 1), (2, 0.5, 2), (1, 4, 4), (2, 3, 6), (0.5, 4, 4), (4, 4, MAX_FACTOR)],
)
def test_a_slow_and_a_busy_machine_have_longer_deadlines(slowness, waiting, expected) -> None:
    assert factor(slowness * REFERENCE_SECONDS, waiting) == pytest.approx(expected)


def test_the_factor_is_of_this_machine_and_its_load(monkeypatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert 7 <= patience(7) <= 7 * MAX_FACTOR
    monkeypatch.setattr(patience_module, "_speed_seconds", lambda: 2 * REFERENCE_SECONDS)
    monkeypatch.setattr(os, "getloadavg", lambda: (6.0, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert patience(7) == pytest.approx(42)


def test_the_speed_is_measured_once(monkeypatch) -> None:
    first = patience_module._speed_seconds()
    monkeypatch.setattr(patience_module, "_loop_seconds", lambda: pytest.fail("measured again"))
    assert patience_module._speed_seconds() == first > 0


def test_the_variable_sets_the_factor(monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "2.5")
    assert patience(4) == 10


@pytest.mark.parametrize("text", ["much", "0.5", "-1", "nan", "inf"])
def test_a_variable_that_is_no_factor_is_named(monkeypatch, text) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=VARIABLE):
        patience(1)


def test_a_test_without_an_end_fails_where_it_waits(request: pytest.FixtureRequest) -> None:
    call = pytest_runtest_call(request.node)
    next(call)
    seconds, _ = signal.getitimer(signal.ITIMER_REAL)
    assert seconds > SECONDS_OF_A_TEST / 2
    with pytest.raises(pytest.fail.Exception, match="it has not ended after"):
        signal.raise_signal(signal.SIGALRM)
    with pytest.raises(StopIteration):
        next(call)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


# How tests are distributed over workers, and that their generated input is the same in every run.


def test_modules_that_share_a_broker_or_a_site_are_one_unit() -> None:
    assert unit_of("tests/system/vms/test_lease.py::test_a[b::c]") == "vms"
    assert unit_of("tests/system/vms/test_late_starts.py::d") == "vms"
    storage = {
        unit_of(f"tests/system/imgstorage/test_storage_{name}.py::test_a") for name in ("vms", "commands")
    }
    assert storage == {"storage-commands"}
    assert unit_of("tests/system/imgstorage/test_defects.py::test_a") == "storage-images"


def test_modules_that_give_this_machine_the_frontends_address_are_one_unit() -> None:
    """Two devices with 10.1.0.1 in the one network of the workers: neither module reaches its own host."""
    modules = ("commands/hosts/test_discovery", "commands/site/test_dns", "firewall/test_sync")
    assert {unit_of(f"tests/system/{one}.py::test_a") for one in modules} == {"network-private"}


def test_smoke_tests_of_one_folder_are_one_unit() -> None:
    """So that `make test` starts their site once."""
    for folder, unit in (("vms", "smoke-vms"), ("imgstorage", "smoke-images")):
        folder = f"tests/system/{folder}/"
        assert {unit_of(f"{folder}{beginning}") for beginning in SMOKE_TESTS[folder]} == {unit}


def test_other_modules_are_units_of_their_own() -> None:
    path = "tests/unit/test_tests.py"
    assert unit_of(f"{path}::test_a") == unit_of(f"{path}::test_b[1]") == path


def test_generated_input_has_a_fixed_seed_unless_a_random_one_is_requested() -> None:
    profile = settings()
    assert profile.derandomize == (generated.PROFILE != "random")
    assert profile.database is None
    assert generated.examples(6) == {"fixed": 6, "short": 2, "random": 60}[generated.PROFILE]


# Which tests `make test` leaves to `make test-all`.


CHECKOUT = Path(__file__).resolve().parents[2]


def test_every_smoke_test_exists() -> None:
    missing = []
    for folder, tests in SMOKE_TESTS.items():
        for test in tests:
            file, _, name = test.partition("::")
            path = CHECKOUT / folder / file
            if not path.exists() or not re.search(rf"^def {name}", path.read_text("utf-8"), re.MULTILINE):
                missing.append(f"{folder}{test}")
    assert missing == []


def test_only_these_folders_leave_tests_out() -> None:
    assert is_slow("tests/system/vms/test_seeds.py::test_anything")
    assert not is_slow("tests/system/imgstorage/test_image_life.py::test_image_becomes_local[x]")
    assert not is_slow("tests/system/commands/vms/test_vm_additions.py::test_anything")


# Unit tests are in the folders of what they test: a reader finds them.


TESTS = Path(__file__).resolve().parents[1]
OWN_FOLDERS = {Path("lab_machines"), Path("storage/daemons")}
"""Of unit tests: of `lab/machines`, and of both daemons of image storage together."""


def test_unit_tests_are_in_the_folders_of_their_sources() -> None:
    top = TESTS / "unit"
    folders = {path.parent.relative_to(top) for path in top.rglob("test_*.py")} - {Path(), *OWN_FOLDERS}
    sources = [TESTS.parent / name for name in ("src/rocks", "src", "roll", ".")]
    assert [one for one in sorted(folders) if not any((source / one).is_dir() for source in sources)] == []
