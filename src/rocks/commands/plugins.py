"""Hooks of other rolls: files `plugin_*.py` in a command's folder, of any tree, in the order they ask for."""
# ruff: noqa: PTH112, PTH118, PTH119, PTH208 - pathlib would cost every command its start-up time

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from rocks.errors import BugError, RocksError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.commands.base import Command

TAIL = "TAIL"
"""A plugin that requires this runs after all plugins that do not."""


class Plugin:
    """Base of a hook. `owner` is the command that runs it, `db` the cluster database."""

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
        """Do the hook's work; what it gets and returns is a matter of the command."""
        raise BugError(f'the plugin "{self.provides()}" has no run method; its author must add one')


def load_plugins(command: Command, folders: Iterable[str], package: str) -> list[Plugin]:
    """The plugins found in `folders` just now, in order.

    The folders are read at each call, so that a file dropped in takes effect at once. BugError when a file
    cannot be imported; UserError when the plugins' wishes contradict each other.
    """
    plugins: dict[str, Plugin] = {}
    for folder in folders:
        for file_name in sorted(os.listdir(folder)):
            if not (file_name.startswith("plugin_") and file_name.endswith(".py")):
                continue
            plugin = _load(command, os.path.join(folder, file_name), package)
            name = plugin.provides()
            if name in plugins:
                raise UserError(
                    f'two plugins of "{package}" call themselves "{name}": '
                    f"{plugins[name].module_name}.py and {folder}/{file_name}; remove one"
                )
            plugins[name] = plugin
    requests = {name: (plugin.requires(), plugin.precedes()) for name, plugin in plugins.items()}
    return [plugins[name] for name in ordered(requests)]


def load_plugins_of(command: Command, words: Sequence[str]) -> list[Plugin]:
    """The plugins in the folders of another command, `words`, of every tree, for `command` to run.

    A tree that adds nothing but a plugin needs no more in that folder than its file.
    """
    from rocks.commands.tree import PACKAGE, tree_folders

    folders = [folder for tree in tree_folders() if os.path.isdir(folder := os.path.join(tree, *words))]
    return load_plugins(command, folders, ".".join((PACKAGE, *words)))


def run_plugin(plugin: Plugin, words: Sequence[str], *arguments: Any) -> Any:
    """What `plugin.run` returns, as a hook of the command `words`; the call is logged.

    BugError, naming the plugin, for any error of it that is none of ours.
    """
    return call_plugin(plugin, words, lambda: plugin.run(*arguments))


def call_plugin(plugin: Plugin, words: Sequence[str], call: Callable[[], Any]) -> Any:
    """As `run_plugin`, for a hook that is called in another way."""
    from rocks.commands.run_command import log

    log(f"run plugin {plugin.provides()} of {' '.join(words)}")
    try:
        return call()
    except RocksError:
        raise
    except Exception as error:
        raise BugError(
            f'the plugin "{plugin.provides()}" of "{" ".join(words)}" has a fault '
            f"({type(error).__name__}: {error}); its author must mend it, ROCKSDEBUG=1 shows where"
        ) from error


def ordered(requests: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> list[str]:
    """Names in an order that keeps every wish, alphabetical where there is none.

    `requests` maps a name to the names that it requires before it and those that it precedes; unknown names are
    harmless. UserError naming the members when the wishes form a circle.
    """
    before = {
        name: {other for other in requires if other in requests} for name, (requires, _) in requests.items()
    }
    ordinary = {name for name, (requires, _) in requests.items() if TAIL not in requires}
    for name, (requires, precedes) in requests.items():
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
                f"plugins wait for each other in a circle: {', '.join(sorted(before))}; "
                "one of them must drop a requires() or precedes()"
            )
        order.append(free[0])
        del before[free[0]]
        for needed in before.values():
            needed.discard(free[0])
    return order


def _load(command: Command, path: str, package: str) -> Plugin:
    import importlib.util

    stem = os.path.basename(path)[: -len(".py")]
    try:
        spec = importlib.util.spec_from_file_location(f"{package}.{stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError("not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # a dataclass looks its own module up
        spec.loader.exec_module(module)
        plugin_class = module.Plugin
    except Exception as error:
        raise BugError(
            f"the plugin {path} cannot be loaded: {type(error).__name__}: {error}; its author must mend it"
        ) from error
    plugin_class.module_name = stem
    plugin: Plugin = plugin_class(command)
    return plugin
