"""Configuration files of the second generation: read, and never executed."""

import pytest

from pragma._shared.old_settings import read_settings_file
from rocks.core.errors import UserError

KVM_ROCKS = b"""
# addresses
public_ips = ["203.0.113.21", "203.0.113.22"]
netmask = "255.255.255.0"
vlans = range(22,24)
diskdir = ""
available_containers = "vm-container-0-0 vm-container-0-1"
num_processors_reserved = 1
additional_interfaces = { "ent": "eth2" }
"""
SITE = b"""
site_ve_driver = "kvm_rocks"
temp_directory = "/var/tmp"
log_directory = "/var/log/pragma"
repository_settings = { "repository_class": "http", "repository_dir": "/state/vc",
  "repository_url": "https://images.example.org/vc" }
"""


def test_both_files():
    attributes, notes = read_settings_file(KVM_ROCKS, "kvm_rocks.conf")
    assert attributes == {
        "pragma_public_addresses": "203.0.113.21 203.0.113.22",
        "vm_vlan_pool": "22,23",  # the end of a range is no VLAN of it
        "pragma_reserved_cpus": "1",
        "pragma_additional_interfaces": "ent:eth2",
    }
    assert [note.partition(" ")[0] for note in notes] == ["netmask", "diskdir", "available_containers"]
    attributes, notes = read_settings_file(SITE, "site_conf.conf")
    assert attributes == {
        "pragma_driver": "kvm_rocks",
        "pragma_log_folder": "/var/log/pragma",
        "pragma_repository": "/state/vc",
        "pragma_repository_url": "https://images.example.org/vc",
    }
    assert len(notes) == 1


def test_what_is_not_loaded_of_the_repository_is_named():
    text = (
        b"repository_settings = {'repository_class': 'clonezilla', 'repository_dir': '/vc', 'a\\nb': ['x'],"
    )
    attributes, notes = read_settings_file(
        text + b" 'vcdb_filename': 'db.csv', 'include_images': 'a.*'}", "f"
    )
    assert attributes == {"pragma_repository": "/vc"}
    assert [note.partition(":")[0] for note in notes] == [
        f"{key} of repository_settings is not loaded"
        for key in ("repository_class", "a\\nb", "vcdb_filename", "include_images")
    ]
    assert "the list is always vcdb.txt: rename the old list to that" in notes[2]
    known = b"repository_settings = {'repository_class': 'local', 'vcdb_filename': 'vcdb.txt'}"
    assert read_settings_file(known, "f") == ({}, [])


def test_a_range_of_22_and_23_is_one_vlan():
    assert read_settings_file(b"vlans = range(22,23)", "f")[0] == {"vm_vlan_pool": "22"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("import os", "line 1 of f is no assignment"),
        ("a = 1\nvlans = __import__('os').system('id')", "line 2 of f is no number"),
        ("vlans = open('/etc/shadow')", "is no number"),
        ("vlans = range(22, x)", "is no number"),
        ("vlans = range(10**9)", "is no number"),
        ("vlans = range(1000000000)", "no valid value of vlans"),
        ("vlans = range(5, 5)", "no valid value"),
        (f"vlans = range({10**30})", "no valid value"),
        ("vlans = range(1e999)", "is no number"),
        (f"vlans = [0x{'f' * 6000}]", "no valid value"),
        ("public_ips = repo = ['203.0.113.2']", "no assignment"),
        ("public_ips = '203.0.113.2'", "no valid value"),
        ("public_ips = ['a\\nb']", "no valid value"),
        ("num_processors_reserved = 'many'", "no valid value"),
        ("num_processors_reserved = -1", "no valid value"),
        ("log_directory = 'logs'", "no valid value of log_directory"),
        ("repository_settings = {'repository_dir': 'vc'}", "no valid value of repository_settings"),
        ("a[0] = 1", "no assignment"),
        ("a = 1\nb = (", "line 2 of f cannot be read as a configuration file: "),
        ("a = " + 500 * "[" + 500 * "]", "a configuration file: too many nested parentheses"),
        ("a = '\0'", "a configuration file"),
        ("#" * 65537, "more than 65536 bytes"),
    ],
)
def test_what_is_refused(text, part):
    with pytest.raises(UserError, match=r"^(line \d of )?f ") as error:
        read_settings_file(text.encode(), "f")
    assert part in str(error.value)
