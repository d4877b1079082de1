"""The attributes of the roll: values that its commands cannot read."""

from pathlib import Path

import pytest

from tests.system.commands.conftest import Site
from tests.system.pragma.conftest import TREE


@pytest.mark.parametrize("name", ["pragma_repository", "pragma_log_folder"])
def test_settings_that_are_not_valid(local: Site, name: str) -> None:
    local.set_as_before(name, "relative")
    assert f"rocks set attr {name} /var/" in local.refused("pragma list repository")


REFUSED = [
    ("pragma_repository", "relative", "must be an absolute path"),
    ("pragma_log_folder", "relative", "must be an absolute path"),
    ("pragma_repository_url", "/srv/vc", "must be a URL of http or https"),
    ("pragma_repository_url", "https://ann:secret@example.org/vc", "must be a URL of http or https"),
    ("pragma_public_addresses", "203.0.113.x", "must be ADDRESS or ADDRESS=NAME"),
    ("pragma_public_addresses", " ", "must be ADDRESS or ADDRESS=NAME"),
    ("pragma_reserved_cpus", "-1", "must be a number of CPUs"),
    ("PRAGMA_driver", "vmware", "must be kvm_rocks, ec2, cloudstack, openstack or the absolute path"),
    ("pragma_additional_interfaces", "ent", "must be NETWORK:DEVICE or NETWORK:DEVICE:PART"),
    (
        "pragma_additional_interfaces",
        "ent:eth2:10.102.0.300/25",
        "must be NETWORK:DEVICE or NETWORK:DEVICE:PART",
    ),
]


def test_an_attribute_of_the_roll_has_only_values_that_its_commands_can_read(local: Site) -> None:
    for name, value, text in REFUSED:
        for command in ("set attr", "add attr", "set appliance attr compute"):
            assert f"the attribute {name} {text}" in local.refused(command, name, value), (command, name)
    for name, value in (
        ("pragma_driver", "openstack"),
        ("pragma_driver", "/srv/driver"),
        ("pragma_reserved_cpus", "2"),
        ("pragma_additional_interfaces", "ent:eth2 other:eth3:10.102.0.128/25"),
    ):
        local.done("set attr", name, value)


def test_a_hook_that_cannot_be_loaded_stops_no_attribute(local: Site, tmp_path: Path) -> None:
    """The hooks of other rolls check theirs meanwhile."""
    broken = tmp_path / "trees/set/attr/plugin_broken.py"
    broken.parent.mkdir(parents=True)
    broken.write_text("import a_module_that_is_absent\n")
    local.patch.setenv("ROCKS_TREES", f"{TREE}:{tmp_path / 'trees'}")
    ended = local.rocks("set attr colour blue")
    assert ended.status == 0 and "blue" in local.done("list attr")
    (line,) = ended.err.splitlines()
    assert line.startswith(f"Warning: the plugin {broken} cannot be loaded: ModuleNotFoundError")
    assert line.endswith("; colour is not checked by it")
    refused = local.rocks("set attr pragma_driver vmware")
    assert refused.status == 1 and "Error: the attribute pragma_driver must be" in refused.err
