"""How tests are distributed over workers, and that their generated input is the same in every run."""

from hypothesis import settings

from tests import generated
from tests.smoke_tests import SMOKE_TESTS
from tests.work_units import unit_of


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
    path = "tests/unit/test_work_units.py"
    assert unit_of(f"{path}::test_a") == unit_of(f"{path}::test_b[1]") == path


def test_generated_input_has_a_fixed_seed_unless_a_random_one_is_requested() -> None:
    profile = settings()
    assert profile.derandomize == (generated.PROFILE != "random")
    assert profile.database is None
    assert generated.examples(6) == {"fixed": 6, "short": 2, "random": 60}[generated.PROFILE]
