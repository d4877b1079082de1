"""What the driver of PRAGMA's second generation, a program for Rocks, reads of our commands' text.

It calls `rocks`, and searches what is printed; the table has each of its commands and what it must find there.
"""

import re

import pytest

from tests.system.commands.conftest import Site
from tests.system.machines.site import MachineSite

ADD = (
    "add cluster 203.0.113.20 2 cpus-per-compute=1 mem-per-compute=1024 fe-name=dock cluster-naming=true vlan=22"
    ' container-hosts="vmc-0-0 vmc-0-1"'
)
READ = [
    ("list host interface", r"\b203\.0\.113\.20\b", ["203.0.113.20"]),
    ("list host interface", r"^dock: +private +\S+ +\S+ +\S+ +\S+ +\S+ +\S+ +(\d+)", ["22"]),
    ("list host vm-container", r"^(vmc-0-\d):? +VM Container +(\d+)", [("vmc-0-0", "2"), ("vmc-0-1", "2")]),
    ("list host vm status=true", r"^(\S+): +\d+ +\d+ +(\d+) .* active", [("dock", "1")]),
    ("list host vm status=true", r"^(\S+): .* nostate", ["vm-dock-0", "vm-dock-1"]),
    ("list host vm showdisks=true", r"file:(\S+/dock\.vda),vda,virtio", ["DISK"]),
    ("list network", r"^public: +(\S+) +(\S+)", [("203.0.113.0", "255.255.255.0")]),
    ("list host route dock", r"^dock: +0\.0\.0\.0 +0\.0\.0\.0 +(\S+)", ["203.0.113.1"]),
    ("report vm nextmac", r"^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$", ["MAC"]),
    ("list cluster status=yes", r"^(?:dock)?: .*VM +(active|nostate)\b", ["active", "nostate", "nostate"]),
]


@pytest.fixture
def added(machines: MachineSite) -> MachineSite:
    """The cluster `dock`, added with the driver's words; its frontend runs."""
    printed = machines.run(ADD)
    assert re.findall(r"created compute VM named: (\S+)", printed) == ["vm-dock-0", "vm-dock-1"]
    machines.run("set host cpus vm-dock-0 2")
    machines.run("set host vm dock mem=1024")
    machines.run("set host boot dock action=os")
    machines.run("start host vm dock")
    return machines


def test_what_the_driver_reads_is_there(added: MachineSite) -> None:
    """Scenario 17."""
    wrong = {}
    for command, pattern, expected in READ:
        ended = added.rocks(command)
        found = re.findall(pattern, ended.out, re.MULTILINE)
        is_any = expected in (["DISK"], ["MAC"]) and len(found) == 1
        if ended.status != 0 or (found != expected and not is_any):
            wrong[command] = (pattern, found, ended.out, ended.err)
    assert wrong == {}


def test_a_machine_that_is_off_has_both_words_in_json(added: MachineSite) -> None:
    printed = added.run("list cluster dock status=yes json=yes")
    assert printed.count('"status": "nostate"') == printed.count('"state": "off"') == 2
    assert printed.count('"status": "active"') == printed.count('"state": "active"') == 1


def test_what_the_program_pragma_calls_for_help_is_that_of_its_commands(pragma_site: Site) -> None:
    """`unit/pragma/test_programs.py` has the calls."""
    assert "pragma boot {vc} {cpus}" in pragma_site.done("help pragma")
    assert "Related Commands:" in pragma_site.done("help pragma boot")
    for below, begin in (("pragma/", "pragma "), ("pragma/list", "pragma list ")):
        printed = pragma_site.done("list help", f"subdir={below}").splitlines()
        lines = [line for line in printed if not line.startswith("\t")]  # the rest of a long one
        assert lines and all(line.startswith(begin) for line in lines), lines
