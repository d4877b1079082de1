"""Hooks of other rolls: files `plugin_*.py` in a command's folder, of any tree, ordered by their constraints."""
# ruff: noqa: PTH112, PTH118, PTH119, PTH208 - pathlib would cost every command its start-up time

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from rocks.core.errors import BugError, RocksError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.commands._framework.base import Command
    from rocks.inventory.records import VirtualMachine
    from rocks.machine.outcomes import HookResult

TAIL = "TAIL"
"""A plugin that requires this runs after all plugins that do not."""


class Plugin:
    """Base of a hook. `owner` is the command that runs it, `db` the cluster database, `module_name` its file's name."""

    module_name = ""

    def __init__(self, command: Command) -> None:
        self.owner = command
        self.db = command.db

    def provides(self) -> str:
        """The plugin's unique name."""
        return self.module_name.removeprefix("plugin_")

    def requires(self) -> list[str]:
        """Names of the plugins that must run before."""
        return []

    def precedes(self) -> list[str]:
        """Names of the plugins that must run after."""
        return []

    def run(self, *arguments: Any) -> Any:
        """Do the hook's work; the command defines its arguments and its result."""
        raise BugError(f'the plugin "{self.provides()}" has no run method; its author must add one')


class VmPlugin(Plugin):
    """Base of a hook of `start`, `stop` and `remove host vm` that receives all machines of the command in one call.

    It is a `rocks.machine.outcomes.VmHook` that does nothing; a plugin overrides what it needs.
    """

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        """Act on the machines; returns the errors by machine and the machines whose rows it changed."""
        from rocks.machine.outcomes import HookResult

        return HookResult()

    def undo_all(self, machines: Sequence[VirtualMachine]) -> Mapping[str, RocksError]:
        """Undo what `run_all` did for machines that were not started; returns cleanup errors by machine."""
        return {}


class BuiltinPlugin(Plugin):
    """A hook without a file: a row of a command's table, with its name and the hooks that must run before it."""

    def __init__(self, command: Command, name: str, after: Sequence[str]) -> None:
        super().__init__(command)
        self.module_name = f"plugin_{name}"
        self._name = name
        self._after = list(after)

    def provides(self) -> str:
        """The name in the table."""
        return self._name

    def requires(self) -> list[str]:
        """The hooks of the table that must run before."""
        return self._after


def load_plugins(
    command: Command,
    folders: Iterable[str],
    package: str,
    builtin: Sequence[Plugin] = (),
    not_loaded: Callable[[BugError], None] | None = None,
) -> list[Plugin]:
    """The plugins in `folders` and the `builtin` ones, in order.

    The folders are read at each call, so that a new file takes effect at once. BugError when a file cannot be
    imported; with `not_loaded`, that gets the error, and the file is left out. UserError when two plugins have one name
    or the constraints contradict each other.
    """
    plugins = {plugin.provides(): plugin for plugin in builtin}
    for folder in folders:
        for file_name in sorted(os.listdir(folder)):
            if not (file_name.startswith("plugin_") and file_name.endswith(".py")):
                continue
            try:
                plugin = _load(command, os.path.join(folder, file_name), package)
            except BugError as error:
                if not_loaded is None:
                    raise
                not_loaded(error)
                continue
            name = plugin.provides()
            if name in plugins:
                raise UserError(
                    f'two plugins of "{package}" have the name "{name}": '
                    f"{_origin(plugins[name])} and {folder}/{file_name}; remove one"
                )
            plugins[name] = plugin
    constraints = {name: (plugin.requires(), plugin.precedes()) for name, plugin in plugins.items()}
    return [plugins[name] for name in ordered(constraints)]


def load_plugins_of(
    command: Command,
    command_path: Sequence[str],
    called: Sequence[str] = (),
    not_loaded: Callable[[BugError], None] | None = None,
) -> list[Plugin]:
    """The plugins in the folders of the command `command_path`, of every tree, for `command` to run.

    A tree that only adds a plugin needs no other file in that folder. Prints a warning for each plugin whose file has
    none of the names that are `called` there; without them, all plugins are. `not_loaded`: as of `load_plugins`.
    """
    from rocks.commands._framework.tree import PACKAGE, tree_folders

    folders = [
        folder for tree in tree_folders() if os.path.isdir(folder := os.path.join(tree, *command_path))
    ]
    plugins = load_plugins(command, folders, ".".join((PACKAGE, *command_path)), (), not_loaded)
    for plugin in plugins:
        if called and not any(f"plugin_{name}" in plugin.module_name for name in called):
            command.notify(
                f"Warning: nothing calls {plugin.module_name}.py of {' '.join(command_path)}: the name of a plugin "
                f"there begins with {', '.join(f'plugin_{name}' for name in called)}"
            )
    return plugins


def run_plugin(plugin: Plugin, command_path: Sequence[str], *arguments: Any) -> Any:
    """Log and call `plugin.run` as a hook of the command `command_path`; returns its result.

    BugError, naming the plugin, for any error that is not a RocksError.
    """
    return call_plugin(plugin, command_path, lambda: plugin.run(*arguments))


def call_plugin(plugin: Plugin, command_path: Sequence[str], call: Callable[[], Any]) -> Any:
    """As `run_plugin`, for a hook with another method than `run`."""
    from rocks.commands._framework.run_command import log

    log(f"run plugin {plugin.provides()} of {' '.join(command_path)}")
    try:
        return call()
    except RocksError:
        raise
    except (Exception, SystemExit) as error:
        from rocks.commands._framework.fault_place import author_place

        # it did not begin: wrong arguments
        place = author_place(error) or sys.modules[type(plugin).__module__].__file__
        raise BugError(
            f'the plugin "{plugin.provides()}" of "{" ".join(command_path)}" has a fault '
            f"({type(error).__name__}: {error}; {place}); its author must fix it"
        ) from error


def ordered(constraints: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> list[str]:
    """Names in an order that satisfies every constraint, alphabetical where there is none.

    `constraints` maps a name to the names that must run before it and those that must run after it; unknown names
    are ignored. UserError, naming the members, for a cycle.
    """
    before = {
        name: {other for other in requires if other in constraints}
        for name, (requires, _) in constraints.items()
    }
    ordinary = {name for name, (requires, _) in constraints.items() if TAIL not in requires}
    for name, (requires, precedes) in constraints.items():
        if TAIL in requires:
            before[name] |= ordinary
        for other in precedes:
            if other in before:
                before[other].add(name)
    order: list[str] = []
    while before:
        free = sorted(name for name, needed in before.items() if not needed)
        if not free:
            raise UserError(
                f"the order of plugins has a cycle: {', '.join(sorted(before))}; "
                "one of them must drop a requires() or precedes()"
            )
        order.append(free[0])
        del before[free[0]]
        for needed in before.values():
            needed.discard(free[0])
    return order


def _origin(plugin: Plugin) -> str:
    return "one of the command's own" if isinstance(plugin, BuiltinPlugin) else f"{plugin.module_name}.py"


def _load(command: Command, path: str, package: str) -> Plugin:
    import importlib.util

    stem = os.path.basename(path)[: -len(".py")]
    try:
        spec = importlib.util.spec_from_file_location(f"{package}.{stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError("not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # a dataclass looks up its own module
        spec.loader.exec_module(module)
        plugin_class = module.Plugin
    except (Exception, SystemExit) as error:
        from rocks.commands._framework.fault_place import named_fault

        raise BugError(
            f"the plugin {path} cannot be loaded: {named_fault(error)}; its author must fix it"
        ) from error
    plugin_class.module_name = stem
    plugin: Plugin = plugin_class(command)
    return plugin
