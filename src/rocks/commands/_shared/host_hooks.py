"""Hooks that are called for hosts: once for each, or once for all of them where the hook can do that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.plugins import call_plugin, run_plugin
from rocks.site.hosts import RemovalHook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.commands._framework.base import Command
    from rocks.commands._framework.plugins import Plugin


def host_hooks(command: Command) -> list[Callable[[Sequence[str]], None]]:
    """The command's plugins, in order, each as a call that takes the names of hosts.

    A plugin's `run(host)` is called for one host after the other; one that has a method `run_all(hosts)` gets
    them all at once, so that it needs no more statements for many than for one.
    """
    return [_hook(command, plugin) for plugin in command.loadPlugins()]


def removal_hooks(command: Command) -> list[RemovalHook]:
    """As `host_hooks`, with the checks of those plugins that have a method `check_all(hosts)`."""
    return [RemovalHook(_check(command, plugin), _hook(command, plugin)) for plugin in command.loadPlugins()]


def _check(command: Command, plugin: Plugin) -> Callable[[Sequence[str]], None]:
    check_all = getattr(plugin, "check_all", None)

    def call(hosts: Sequence[str]) -> None:
        if check_all is not None:
            call_plugin(plugin, command.command_path, lambda: check_all(hosts))

    return call


def _hook(command: Command, plugin: Plugin) -> Callable[[Sequence[str]], None]:
    run_all = getattr(plugin, "run_all", None)

    def call(hosts: Sequence[str]) -> None:
        if run_all is not None:
            call_plugin(plugin, command.command_path, lambda: run_all(hosts))
            return
        for host in hosts:
            run_plugin(plugin, command.command_path, host)

    return call
