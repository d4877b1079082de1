"""Fences of hosts that are off, and leases in their list."""

import json

import pytest

from tests.system.commands.conftest import Site

OFF = ("sync", "vm", "lease", "vmc-0-0", "vmc-0-1", "host-off=yes", "reason=burnt")


FENCE = ("remove", "host", "vm", "fence")


def fences(site: Site) -> list[tuple[str, str, str, str]]:
    """(machine, host, whether each is known) of the fences in the list of leases."""
    listed = json.loads(site.done("list host vm lease json=yes"))
    return [
        (found["vm-host"], row["host"], row["known"], row["host-known"])
        for found in listed
        for row in found["lease"]
        if row["state"] == "fence"
    ]


@pytest.fixture
def fenced(vm_site: Site) -> Site:
    """Three machines of vmc-0-1, with fences on it and on vmc-0-0; one of them is removed."""
    for name in ("one", "two", "three"):
        vm_site.done("add host vm vmc-0-1 compute", f"name={name}")
    assert vm_site.rocks(*OFF).status == 0
    assert vm_site.rocks("remove host three").status == 0
    return vm_site


def test_host_off_says_how_its_fences_end(vm_site: Site) -> None:
    vm_site.done("add host vm vmc-0-1 compute name=one")
    ended = vm_site.rocks(*OFF)
    assert (ended.status, ended.out) == (0, "the leases are compared with what the hosts report\n")
    first, second = ended.err.splitlines()
    assert first.startswith("vmc-0-0 has 1 fence (rocks list host vm lease): ")
    assert second.endswith("rocks remove host vmc-0-1 and rocks remove host vm fence vmc-0-1 remove them")


def test_fences_of_a_host_that_may_return_stay(fenced: Site) -> None:
    assert ("three", "vmc-0-0", "no", "yes") in fences(fenced)
    message = fenced.refused(*FENCE, "vmc-0-0")
    assert message.startswith("host vmc-0-0 is in the database, and its fences end when it answers")
    assert "rocks remove host vmc-0-0" in message


def test_fences_of_a_removed_host_can_be_removed(fenced: Site) -> None:
    ended = fenced.rocks("remove host vmc-0-0")
    assert (ended.status, ended.err) == (
        0,
        "the fences of vmc-0-0 stay, in case it is added again; if it never returns: "
        "rocks remove host vm fence vmc-0-0\n",
    )
    assert ("one", "vmc-0-0", "yes", "no") in fences(fenced)
    assert fenced.done(*FENCE, "VMC-0-0", "vm=ONE") == "1 fence of vmc-0-0 removed\n"
    assert fenced.done(*FENCE, "vmc-0-0") == "2 fences of vmc-0-0 removed\n"
    assert {host for _, host, _, _ in fences(fenced)} == {"vmc-0-1"}
    assert fenced.refused(*FENCE, "vmc-0-0").startswith(
        "there is no fence on vmc-0-0; rocks list host vm lease"
    )


def test_a_removed_host_is_not_asked_about_leases(fenced: Site) -> None:
    assert fenced.rocks("remove host vmc-0-0").status == 0
    message = fenced.refused("sync vm lease")
    assert message.startswith(
        "the leases are not compared: not all hosts have reported what runs there: vmc-0-1 ("
    )


def test_a_wrong_name_among_several_removes_nothing(fenced: Site) -> None:
    assert fenced.rocks("remove host vmc-0-0").status == 0
    before = fences(fenced)
    assert "there is no fence on nowhere" in fenced.refused(*FENCE, "vmc-0-0", "nowhere")
    assert "there is no fence of four on vmc-0-0" in fenced.refused(*FENCE, "vmc-0-0", "vm=four")
    assert fences(fenced) == before


def test_leases_are_listed_by_patterns_too(fenced: Site) -> None:
    listed = fenced.done("list host vm lease T% output-header=no")
    assert {line.split()[0] for line in listed.splitlines()} == {"two:", "three:"}
    assert fenced.done("list host vm lease zz%") == ""
    assert fenced.refused("list host vm lease zz").startswith("zz holds no lease")
