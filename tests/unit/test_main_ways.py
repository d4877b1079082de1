"""Which tests `make test` leaves to `make test-all`."""

import re
from pathlib import Path

from tests.main_ways import MAIN_WAYS, is_left_to_all

CHECKOUT = Path(__file__).resolve().parents[2]


def test_every_main_way_is_a_test_that_there_is() -> None:
    missing = []
    for folder, ways in MAIN_WAYS.items():
        for way in ways:
            file, _, name = way.partition("::")
            path = CHECKOUT / folder / file
            if not path.exists() or not re.search(rf"^def {name}", path.read_text("utf-8"), re.MULTILINE):
                missing.append(f"{folder}{way}")
    assert missing == []


def test_only_these_folders_leave_tests_out() -> None:
    assert is_left_to_all("tests/system/vms/test_kills.py::test_a_start_killed_at_a_step[0]")
    assert not is_left_to_all("tests/system/imgstorage/test_image_life.py::test_image_becomes_local[x]")
    assert not is_left_to_all("tests/system/commands/vms/test_vms.py::test_anything")
