"""Runs one command: permission, arguments, help, log; for a command line and for a nested call."""

from __future__ import annotations

import os
import sys
import syslog
from typing import TYPE_CHECKING

from rocks.commands._framework.arguments import FIRST_PARAMETER, parse_arguments
from rocks.commands._framework.tree import load_package, longest_prefix, roll_of, tree_folders
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command

HELP_ARGUMENTS = frozenset(("help", "--help", "-h"))
"""The first argument that asks for the help text."""

FRAMEWORK_PARAMETERS = frozenset(("json", "output-col", "output-header", "format"))
SECRET_PARAMETERS = frozenset(("key", "passphrase", "password", "secret", "value"))
"""Parameters whose value is not written to the system log."""


def may_run(command_class: type[Command]) -> bool:
    """Whether this process may run the command: root and the web server's user may run all."""
    return not command_class.MustBeRoot or os.geteuid() == 0 or _user_name() == "apache"


def asks_help(texts: Sequence[str]) -> bool:
    """Whether the texts that follow a command's name request its help text."""
    return parse_arguments(list(texts)).arguments[:1] in ([argument] for argument in HELP_ARGUMENTS)


def run_command(command: Command, texts: Sequence[str], stream: bool) -> list[str]:
    """Run a command with the texts that follow its name; it holds its output and exit status afterwards.

    Returns warnings, to be printed when the work is committed: a command that fails prints its error alone.
    `help` as the first argument, `--help` or `-h` gives the help text instead.
    """
    arguments, parameters = parse_arguments(list(texts))
    if arguments and arguments[0] in HELP_ARGUMENTS:
        command.addText(_help_of(command, parameters.get("format", "plain")))
        return []
    checked = stream or command.RefusesUnknownParameters
    unknown = _unknown_parameters(command, parameters) if checked else []
    log(f'user {_user_name()} called "{" ".join((*command.command_path, *_without_secrets(texts)))}"')
    command.useArguments(parameters, arguments, stream)
    command.run(parameters, arguments)
    name = " ".join(command.command_path)
    return [
        f'Warning: "{name}" knows no parameter "{other}"; it is ignored (see rocks {name} help)'
        for other in unknown
    ]


def run_nested(owner: Command, name: str, texts: Sequence[str]) -> str:
    """Run the command `name` (`add.host`) inside `owner`; returns its output.

    `owner` takes over an exit status other than 0.
    """
    trees = tree_folders()
    path = name.replace(" ", ".").split(".")
    if longest_prefix(path, trees) != len(path):
        raise UserError(
            f'the command "{" ".join(owner.command_path)}" calls "{name}", which is not installed'
        )
    command_class = getattr(load_package(path, trees), "Command", None)
    if command_class is None:
        raise UserError(f'"{name}" is a group of commands, not a command')
    if not may_run(command_class):
        raise UserError(f'command "{" ".join(path)}" requires root')
    command: Command = command_class(owner.db)
    run_command(command, texts, stream=False)
    owner.exit_status = owner.exit_status or command.exit_status
    return command.getText()


def log(message: str) -> None:
    """Write a line to the system log."""
    syslog.openlog("rockscommand", syslog.LOG_PID, syslog.LOG_LOCAL0)
    syslog.syslog(syslog.LOG_INFO, "".join(c if c.isprintable() else "?" for c in message))


def _help_of(command: Command, help_format: str) -> str:
    from rocks.commands._framework import documentation as pages

    read = pages.read_documentation(type(command))
    if help_format == "raw":
        return read.raw + "\n"
    if help_format == "parsed":
        return pages.help_parsed(command.command_path, read, roll_of(sys.modules[type(command).__module__]))
    if help_format == "docbook":
        return pages.help_docbook(command.command_path, read)
    if help_format == "sphinx":
        return pages.help_sphinx(command.command_path, read)
    if help_format == "plain":
        return pages.help_text(command.command_path, read, bool(command.MustBeRoot))
    raise UserError(f'no such help format "{help_format}"; use plain, raw, parsed, docbook or sphinx')


def _unknown_parameters(command: Command, parameters: dict[str, str]) -> list[str]:
    """Names of parameters that the command does not document; UserError when it rejects them."""
    given = [n for n in parameters if n != FIRST_PARAMETER and n not in FRAMEWORK_PARAMETERS]
    if not given:
        return []
    from rocks.commands._framework.documentation import read_documentation

    read = read_documentation(type(command))
    known = {declared.name for declared in (*read.parameters, *read.arguments)}
    unknown = [name for name in given if name not in known]
    if unknown and command.RefusesUnknownParameters:
        name = unknown[0]
        raise UserError(
            f'"{" ".join(command.command_path)}" knows no parameter "{name}"; an argument that looks like one is given '
            f"by its name, as in value={name}={parameters[name]}"
        )
    return unknown


def _without_secrets(texts: Sequence[str]) -> list[str]:
    logged = []
    for text in texts:
        name, equals, _ = text.partition("=")
        logged.append(f"{name}=…" if equals and name.lower() in SECRET_PARAMETERS else text)
    return logged


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
