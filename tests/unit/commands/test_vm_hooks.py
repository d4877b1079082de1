"""Plugins of commands on virtual machines: which calls they receive, and what their errors become."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

import rocks.commands
from rocks.commands._shared.vm_hooks import PluginHook
from rocks.core.errors import BugError, RocksError, StateError
from rocks.inventory.records import Host, VirtualMachine
from rocks.machine.outcomes import HookResult, VmHook

COMMAND_PATH = ("start", "host", "vm")
COMMAND = cast("Any", SimpleNamespace(db=None))


def machine(name: str) -> VirtualMachine:
    host = Host(name, "Compute", "compute", 1, 0, 0, None, None, None, True)
    return VirtualMachine(host, None, 1024, 0, "hvm", "", ())


A, B, C = machine("vm-a"), machine("vm-b"), machine("vm-c")


class NodePlugin(rocks.commands.Plugin):
    """A plugin of Rocks' kind, called once per machine."""

    module_name = "plugin_allocate_one"

    def __init__(self) -> None:
        super().__init__(COMMAND)
        self.seen: list[tuple[str, int]] = []

    def run(self, node: Any) -> None:
        self.seen.append((node.name, node.vm_defs.mem))
        if node.name == "vm-b":
            raise StateError("not this one")


class AllPlugin(rocks.commands.VmPlugin):
    """A plugin that receives all machines, and fails as specified."""

    module_name = "plugin_allocate_all"

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__(COMMAND)
        self.error = error
        self.seen: list[Sequence[VirtualMachine]] = []

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        self.seen.append(machines)
        if self.error is not None:
            raise self.error
        return HookResult({"vm-b": StateError("the disk is full")}, ["vm-a"])

    def undo_all(self, machines: Sequence[VirtualMachine]) -> Mapping[str, RocksError]:
        self.seen.append(machines)
        if self.error is not None:
            raise self.error
        return {"vm-a": StateError("still mapped")}


def test_a_plugin_of_rocks_is_called_once_per_machine() -> None:
    plugin = NodePlugin()
    result = PluginHook(plugin, COMMAND_PATH).run_all([A, B, C])
    assert plugin.seen == [("vm-a", 1024), ("vm-b", 1024), ("vm-c", 1024)]
    assert [(name, str(error)) for name, error in result.failed.items()] == [("vm-b", "not this one")]
    assert list(result.changed) == ["vm-a", "vm-c"], "it may have changed what it succeeded for"
    assert PluginHook(plugin, COMMAND_PATH).undo_all([A]) == {}


def test_a_vm_plugin_receives_the_loaded_machines_at_once() -> None:
    plugin = AllPlugin()
    hook = PluginHook(plugin, COMMAND_PATH)
    result = hook.run_all([A, B])
    assert (list(result.failed), result.changed) == (["vm-b"], ["vm-a"])
    assert list(hook.undo_all([C])) == ["vm-a"]
    assert plugin.seen == [[A, B], [C]]
    assert plugin.seen[0][0] is A


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (StateError("no broker"), StateError, "no broker"),
        (
            ZeroDivisionError("x"),
            BugError,
            'the plugin "allocate_all" of "start host vm" has a fault (ZeroDivi',
        ),
        (SystemExit(0), BugError, "has a fault (SystemExit: 0; "),
    ],
)
def test_an_error_that_a_vm_plugin_raises_counts_for_each_machine(
    raised: BaseException, kind: type[RocksError], text: str
) -> None:
    hook = PluginHook(AllPlugin(raised), COMMAND_PATH)
    for errors in (hook.run_all([A, B]).failed, hook.undo_all([A, B])):
        assert list(errors) == ["vm-a", "vm-b"]
        for error in errors.values():
            assert type(error) is kind
            assert text in str(error)


class ForgetfulPlugin(rocks.commands.VmPlugin):
    """A plugin whose author forgot the return statements."""

    module_name = "plugin_allocate_forgetful"

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        return None  # type: ignore[return-value]

    def undo_all(self, machines: Sequence[VirtualMachine]) -> Mapping[str, RocksError]:
        return None  # type: ignore[return-value]


def test_a_result_of_another_type_is_a_fault_of_the_plugin() -> None:
    hook = PluginHook(ForgetfulPlugin(COMMAND), COMMAND_PATH)
    for errors in (hook.run_all([A]).failed, hook.undo_all([A])):
        assert "it returned NoneType instead of" in str(errors["vm-a"])
        assert '"allocate_forgetful"' in str(errors["vm-a"])


class NarrowPlugin(rocks.commands.VmPlugin):
    """A plugin whose author forgot the argument."""

    module_name = "plugin_allocate_narrow"

    def run_all(self) -> HookResult:  # type: ignore[override]
        return HookResult()


def test_a_plugin_that_cannot_be_called_is_named_by_its_own_file() -> None:
    error = PluginHook(NarrowPlugin(COMMAND), COMMAND_PATH).run_all([A]).failed["vm-a"]
    assert f"; {__file__}); its author must fix it" in str(error)


def test_the_base_class_is_a_hook_that_does_nothing() -> None:
    plugin: VmHook = rocks.commands.VmPlugin(COMMAND)
    assert plugin.run_all([A]) == HookResult({}, ())
    assert plugin.undo_all([A]) == {}
