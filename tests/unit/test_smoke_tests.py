"""Which tests `make test` leaves to `make test-all`."""

import re
from pathlib import Path

from tests.smoke_tests import SMOKE_TESTS, is_slow

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
