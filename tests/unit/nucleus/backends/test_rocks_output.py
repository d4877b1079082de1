"""What `rocks` prints for programs, and what else it might print."""

import json

import pytest

from nucleus.backends import rocks_output
from nucleus.backends.rocks_output import Image, Machine, Member
from rocks.core.errors import ToolError

_ORIGINAL = [
    {"frontend": "site", "cluster": [{"client nodes": "", "type": "physical"}]},
    {"frontend": "", "cluster": [{"client nodes": "c-0", "type": "physical"}]},
    {"frontend": "vc1", "cluster": [{"client nodes": "", "type": "VM"}]},
    {"frontend": "", "cluster": [{"client nodes": "vm-vc1-0", "type": "VM"}]},
    {"frontend": "vc2", "cluster": [{"client nodes": "", "type": "VM"}]},
]
_OURS = [
    {
        "frontend": "site",
        "cluster": [{"client nodes": "", "type": "physical"}, {"client nodes": "c-0", "type": "VM"}],
    },
    {
        "frontend": "vc1",
        "cluster": [{"client nodes": "", "type": "VM"}, {"client nodes": "vm-vc1-0", "type": "VM"}],
    },
    {"frontend": "vc2", "cluster": [{"client nodes": "", "type": "VM"}]},
]
_VM = {
    "slice": "0",
    "mem": "2048",
    "cpus": 2,
    "host": "None",
    "status": "nostate-error",
    "disksize": "36",
    "cdrom": None,
}


@pytest.mark.parametrize("printed", [_ORIGINAL, _OURS])
def test_clients_are_those_of_their_frontend(printed: list[object]) -> None:
    expected = [Member("vc1", "vc1"), Member("vm-vc1-0", "vc1"), Member("vc2", "vc2")]
    assert rocks_output.read_members(json.dumps(printed)) == expected


def test_values_may_be_texts_and_none() -> None:
    text = json.dumps([{"vm-host": "vm-0", "vm": [_VM, {**dict.fromkeys(_VM), "mac": "x"}]}])
    assert rocks_output.read_machines(text) == {"vm-0": Machine(None, 2, 2048, 36, "nostate-error", None)}


def test_a_machine_has_the_cpus_and_memory_with_which_it_runs() -> None:
    """What was changed since waits for its next start."""
    row = {**_VM, "cpus": 8, "mem": 8192, "running-cpus": 2, "running-mem": 1024}
    text = json.dumps([{"vm-host": "vm-0", "vm": [row]}])
    assert rocks_output.read_machines(text)["vm-0"][1:3] == (2, 1024)
    off = json.dumps([{"vm-host": "vm-0", "vm": [{**row, "running-cpus": None, "running-mem": None}]}])
    assert rocks_output.read_machines(off)["vm-0"][1:3] == (8, 8192)


def test_a_state_of_a_later_version_counts_as_unknown() -> None:
    text = json.dumps([{"vm-host": "vm-0", "vm": [{**_VM, "status": "on fire"}]}])
    assert rocks_output.read_machines(text)["vm-0"].state == "nostate-error"


def test_images_are_known_by_their_machine() -> None:
    rows = [
        {"zvol": "vm-0-vol", "state": "NAS->VM", "locked": True},
        {"zvol": "x", "state": "mapped", "locked": None},
    ]
    text = json.dumps([{"nas": "nas-0-0", "storagemap": rows}])
    assert rocks_output.read_images(text) == {"vm-0": Image("NAS->VM", True), "x": Image("mapped", False)}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([("unmapped", False), ("NAS<-VM", True)], Image("NAS<-VM", True)),
        ([("NAS<-VM", True), ("unmapped", False)], Image("NAS<-VM", True)),
        ([("unmapped", False), ("mapped", True)], Image("mapped", True)),
        ([("unmapped", False), ("unmapped", True)], Image("unmapped", True)),
        ([("mapped", False), ("NAS->VM", True)], Image("NAS->VM", True)),
        ([("unmapped", False), ("unmapped", False)], Image("unmapped", False)),
        ([("deleting", True), ("unmapped", False)], Image("unmapped", False)),
        ([("mapped", False), ("deleting", True)], Image("mapped", False)),
    ],
)
@pytest.mark.parametrize("nases", [("nas-0-0", "nas-0-0"), ("nas-0-0", "nas-0-1")])
def test_of_several_disks_that_counts_which_is_not_on_its_nas_only(
    states: list[tuple[str, bool]], expected: Image, nases: tuple[str, str]
) -> None:
    """The hosts of a computeset are free when all disks of its machines are written back."""
    rows = [
        {"zvol": f"vm-0-vol{number or ''}", "state": state, "locked": locked}
        for number, (state, locked) in enumerate(states)
    ]
    listed = [{"nas": nas, "storagemap": [row]} for nas, row in zip(nases, rows, strict=True)]
    assert rocks_output.read_images(json.dumps(listed)) == {"vm-0": expected}


@pytest.mark.parametrize("text", ["", "  \n", "[]"])
def test_nothing_is_an_empty_list(text: str) -> None:
    assert rocks_output.read_members(text) == [] and rocks_output.read_images(text) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (json.dumps([{"vm-host": "a", "vm": [_VM]}])[:-20], "no JSON"),
        ("Warning: hello\n[]", "no JSON"),
        ('{"a": 1}', "no list"),
        ('[{"vm-host": "a"}]', "another version"),
        ('[{"vm-host": "a", "vm": [3]}]', "another version"),
        ('[{"vm-host": "a", "vm": [{"mem": 1}]}]', "without cpus, host, status"),
        ("[" * 100000, "no JSON"),
    ],
)
def test_anything_else_is_an_error_that_names_it(text: str, why: str) -> None:
    with pytest.raises(ToolError, match=why):
        rocks_output.read_machines(text)
