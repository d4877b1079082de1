"""Runs one command: permission, words, help, log; the same for a command line and for a nested call."""

from __future__ import annotations

import os
import sys
import syslog
from typing import TYPE_CHECKING

from rocks.commands.arguments import FIRST_PARAMETER, parse_arguments
from rocks.commands.tree import load_package, longest_prefix, roll_of, tree_folders
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands.base import Command

HELP_WORDS = frozenset(("help", "--help", "-h"))
"""The first argument that asks for the help text."""

FRAMEWORK_PARAMETERS = frozenset(("json", "output-col", "output-header", "format"))
SECRET_PARAMETERS = frozenset(("key", "passphrase", "password", "secret", "value"))
"""Parameters whose value is kept out of the system log."""


def may_run(command_class: type[Command]) -> bool:
    """Whether this process may run the command: root and the web server's user may run all."""
    return not command_class.MustBeRoot or os.geteuid() == 0 or _user_name() == "apache"


def asks_help(words: Sequence[str]) -> bool:
    """Whether the words that follow a command's name ask for its help text."""
    return parse_arguments(list(words)).arguments[:1] in ([word] for word in HELP_WORDS)


def run_words(command: Command, words: Sequence[str], stream: bool) -> None:
    """Run a command with the words that follow its name; its output and exit status are left in it.

    `help` as the first argument, `--help` or `-h` gives the help text instead.
    """
    arguments, parameters = parse_arguments(list(words))
    if arguments and arguments[0] in HELP_WORDS:
        command.addText(_help_of(command, parameters.get("format", "plain")))
        return
    if stream or command.RefusesUnknownParameters:
        _tell_unknown_parameters(command, parameters)
    log(f'user {_user_name()} called "{" ".join((*command.words, *_without_secrets(words)))}"')
    command.useWords(parameters, arguments, stream)
    command.run(parameters, arguments)


def run_nested(owner: Command, name: str, words: Sequence[str]) -> str:
    """Run the command `name` (`add.host`) inside another one; returns its output.

    What it did not do on all hosts, the other one did not either: it takes over an exit status that is not 0.
    """
    trees = tree_folders()
    path = name.replace(" ", ".").split(".")
    if longest_prefix(path, trees) != len(path):
        raise UserError(f'the command "{" ".join(owner.words)}" calls "{name}", which is not installed')
    command_class = getattr(load_package(path, trees), "Command", None)
    if command_class is None:
        raise UserError(f'"{name}" is a group of commands, not a command')
    if not may_run(command_class):
        raise UserError(f'command "{" ".join(path)}" requires root')
    command: Command = command_class(owner.db)
    run_words(command, words, stream=False)
    owner.exit_status = owner.exit_status or command.exit_status
    return command.getText()


def log(message: str) -> None:
    """Write a line to the system log."""
    syslog.openlog("rockscommand", syslog.LOG_PID, syslog.LOG_LOCAL0)
    syslog.syslog(syslog.LOG_INFO, "".join(c if c.isprintable() else "?" for c in message))


def _help_of(command: Command, wanted: str) -> str:
    from rocks.commands import documentation as pages

    read = pages.read_documentation(type(command))
    if wanted == "raw":
        return read.raw + "\n"
    if wanted == "parsed":
        return pages.help_parsed(command.words, read, roll_of(sys.modules[type(command).__module__]))
    if wanted == "docbook":
        return pages.help_docbook(command.words, read)
    if wanted == "sphinx":
        return pages.help_sphinx(command.words, read)
    if wanted == "plain":
        return pages.help_text(command.words, read, bool(command.MustBeRoot))
    raise UserError(f'no such help format "{wanted}"; use plain, raw, parsed, docbook or sphinx')


def _tell_unknown_parameters(command: Command, parameters: dict[str, str]) -> None:
    given = [n for n in parameters if n != FIRST_PARAMETER and n not in FRAMEWORK_PARAMETERS]
    if not given:
        return
    from rocks.commands.documentation import read_documentation

    read = read_documentation(type(command))
    known = {word.name for word in (*read.parameters, *read.arguments)}
    words = " ".join(command.words)
    for name in given:
        if name in known:
            continue
        if command.RefusesUnknownParameters:
            raise UserError(
                f'"{words}" knows no parameter "{name}"; an argument that looks like one is given by its name, '
                f"as in value={name}={parameters[name]}"
            )
        print(
            f'Warning: "{words}" knows no parameter "{name}"; it is ignored (see rocks {words} help)',
            file=sys.stderr,
        )


def _without_secrets(words: Sequence[str]) -> list[str]:
    shown = []
    for word in words:
        name, equals, _ = word.partition("=")
        shown.append(f"{name}=…" if equals and name.lower() in SECRET_PARAMETERS else word)
    return shown


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
