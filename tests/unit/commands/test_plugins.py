"""The order of plugins, and of hooks that are rows of a command's table."""

import re
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.commands._framework.base import Command
from rocks.commands._framework.plugins import TAIL, ordered
from rocks.commands._framework.tree import load_package, tree_folders
from rocks.core.errors import UserError
from rocks.database.connection import Database
from tests.command_trees import tree, write_plugin

__all__ = ["tree"]


@pytest.mark.parametrize(
    ("constraints", "order"),
    [
        ({"c": ((), ()), "a": ((), ()), "b": ((), ())}, "abc"),
        ({"a": (["c"], []), "b": ([], []), "c": ([], ["b"])}, "cab"),
        ({"b": (["nobody"], []), "a": ([], ["nobody"])}, "ab"),
        ({"a": ([TAIL], []), "z": ([], []), "b": ([TAIL, "z"], ["a"]), "m": (["z"], [])}, "zmba"),
    ],
    ids=["alphabetical", "required and preceded ones", "unknown names", "the tail"],
)
def test_the_order(constraints: dict[str, tuple[list[str], list[str]]], order: str) -> None:
    assert ordered(constraints) == list(order)


@pytest.mark.parametrize(
    "constraints",
    [
        {"a": (["b"], []), "b": (["a"], []), "c": ([], [])},
        {"a": (["a"], [])},
        {"a": ([], ["b"]), "b": ([], ["a"])},
        {"a": ([TAIL], []), "b": (["a"], [])},
    ],
)
def test_a_cycle_is_an_error_that_names_its_members(
    constraints: dict[str, tuple[list[str], list[str]]],
) -> None:
    with pytest.raises(UserError, match=re.compile(r"has a cycle: a.* drop a requires")):
        ordered(constraints)


@given(st.permutations(range(8)), st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7))))
def test_every_constraint_is_satisfied(ranks: list[int], pairs: set[tuple[int, int]]) -> None:
    pairs = {(i, j) for i, j in pairs if ranks[i] < ranks[j]}  # so drawn, no cycle is possible
    constraints = {
        str(n): (
            [str(i) for i, j in pairs if j == n and i % 2],
            [str(j) for i, j in pairs if i == n and not i % 2],
        )
        for n in range(8)
    }
    order = ordered(constraints)
    assert sorted(order) == sorted(constraints)
    assert all(order.index(str(i)) < order.index(str(j)) for i, j in pairs)


DUMP = [
    *("first-rows", "network", "distribution", "appliance", "appliance-attr", "appliance-route"),
    *("attr", "os-attr", "route", "os-route", "bootaction", "host", "interface", "host-alias"),
    *("host-partition", "vm", "host-attr", "vm-nas", "host-bootflags", "host-route", "host-key"),
    *("host-boot", "host-sriov", "host-ibport", "ib-partition", "roll", "host-roll"),
    *("firewall", "end"),
]


def plugins_of(*command_path: str) -> list[str]:
    """Names of a command's plugins, in order."""
    command: Command = load_package(command_path, tree_folders()).Command(cast("Database", None))
    return [plugin.provides() for plugin in command.loadPlugins()]


def folder_of(tree: Path, *command_path: str) -> Path:
    """A folder for plugins of a command, in another tree."""
    folder = tree.joinpath(*command_path)
    folder.mkdir(parents=True)
    return folder


def test_the_parts_of_a_dump_come_in_the_order_in_which_they_can_be_replayed() -> None:
    assert plugins_of("dump") == DUMP


def test_a_hosts_data_is_removed_after_its_virtual_machine_and_before_the_host_itself() -> None:
    order = plugins_of("remove", "host")
    others = {"alias", "attr", "boot", "bootflags", "interface", "key", "node_rolls", "partition", "route"}
    assert order[-2:] == ["node", "certificate"]
    assert others <= set(order[order.index("vm") + 1 : -1])
    assert order.index("boot_file") < order.index("interface")
    assert order.index("img-storage") < order.index("vm")


def test_a_file_of_another_tree_is_ordered_among_the_rows(tree: Path) -> None:
    folder = folder_of(tree, "dump")
    write_plugin(
        folder,
        "colour",
        "def requires(self): return ['host']\n\n    def precedes(self): return ['interface']",
    )
    order = plugins_of("dump")
    assert [name for name in order if name != "colour"] == DUMP
    assert order.index("host") < order.index("colour") < order.index("interface")


def test_a_file_cannot_have_the_name_of_a_row(tree: Path) -> None:
    folder = folder_of(tree, "remove", "host")
    write_plugin(folder, "node")
    with pytest.raises(
        UserError, match='have the name "node": one of the command\'s own and .*plugin_node.py'
    ):
        plugins_of("remove", "host")
