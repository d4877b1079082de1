"""Runs one command: permission, arguments, help, log; for a command line and for a nested call."""

from __future__ import annotations

import os
import sys
import syslog
from typing import TYPE_CHECKING

from rocks.commands._framework.arguments import parse_arguments, str2bool
from rocks.commands._framework.declarations import check_given
from rocks.commands._framework.output import terminal_columns
from rocks.commands._framework.tree import load_package, longest_prefix, roll_of, tree_folders
from rocks.core.callers import find_caller, user_name
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command
    from rocks.trust.audit import AuditRecord

READING = frozenset(("check", "dump", "help", "list", "report"))
"""First words of the commands that change nothing, which the audit log leaves out."""

HELP_ARGUMENTS = frozenset(("help", "--help", "-h"))
"""The first argument that asks for the help text."""


def may_run(command_class: type[Command]) -> bool:
    """Whether this process may run the command: root and the web server's user may run all."""
    return is_permitted(bool(command_class.MustBeRoot))


def is_permitted(must_be_root: bool) -> bool:
    """As `may_run`, for a command of which this is known."""
    return not must_be_root or os.geteuid() == 0 or user_name(os.geteuid()) == "apache"


def asks_help(texts: Sequence[str]) -> bool:
    """Whether the texts that follow a command's name request its help text."""
    return parse_arguments(list(texts)).arguments[:1] in ([argument] for argument in HELP_ARGUMENTS)


def run_command(command: Command, texts: Sequence[str], stream: bool) -> None:
    """Run a command with the texts that follow its name; it holds its output and exit status afterwards.

    With `stream` it is a command line of its own, which the audit log gets (`command.audit_record`).

    UserError, and nothing is done, for what the command does not declare. `help` as the first argument, `--help` or
    `-h` gives the help text instead.
    """
    given = parse_arguments(list(texts))
    arguments, parameters = given.arguments, given.parameters
    if arguments and arguments[0] in HELP_ARGUMENTS:
        command.addText(help_of(command, parameters.get("format", "plain")))
        return
    check_given(command, given)
    log(f'user {_who()} called "{" ".join((*command.command_path, *_without_secrets(command, texts)))}"')
    if stream:
        command.audit_record = _begin_record(command, texts)
    command.useArguments(parameters, arguments, stream)
    command.run(parameters, arguments)


def run_nested(owner: Command, name: str, texts: Sequence[str]) -> str:
    """Run the command `name` (`add.host`) inside `owner`; returns its output.

    `owner` takes over an exit status other than 0, and the notes, which it prints or not.
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
    command.is_dry = owner.is_dry
    try:
        run_command(command, texts, stream=False)
    finally:
        owner.notes += command.notes  # those of a failed command, too
    owner.exit_status = owner.exit_status or command.exit_status
    return command.getText()


def log(message: str) -> None:
    """Write a line to the system log."""
    syslog.openlog("rockscommand", syslog.LOG_PID, syslog.LOG_LOCAL0)
    syslog.syslog(syslog.LOG_INFO, "".join(c if c.isprintable() else "?" for c in message))


def help_of(command: Command, help_format: str) -> str:
    """The help text of a command, in one of the formats; UserError for another format."""
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
        columns = terminal_columns() or pages.DEFAULT_COLUMNS
        return pages.help_text(command.command_path, read, bool(command.MustBeRoot), columns)
    raise UserError(f'no such help format "{help_format}"; use plain, raw, parsed, docbook or sphinx')


def is_audited(command: Command) -> bool:
    """Whether the audit log has the calls of a command: those of all that change something."""
    if command.IsAudited is not None:
        return command.IsAudited
    return command.command_path[0] not in READING


def _begin_record(command: Command, texts: Sequence[str]) -> AuditRecord | None:
    """The record of this call in the audit log; None for a command that changes nothing.

    Only root can write into the audit log; the system log has the calls of others.
    """
    # the framework's own dry runs do not come here
    is_tried = command.HandlesDryRun and str2bool(parse_arguments(list(texts)).parameters.get("dry-run"))
    if os.geteuid() != 0 or not is_audited(command) or is_tried:
        return None
    from rocks import __version__
    from rocks.commands._framework.shell_quoting import quote
    from rocks.core.callers import find_origin
    from rocks.inventory.attributes.secret_names import STARS
    from rocks.trust.audit import AuditRecord, Event

    caller = find_caller()
    hidden = quote(STARS)
    action = " ".join(
        # the stars stand for a value, so they are not quoted as one
        (
            *command.command_path,
            *(quote(it).replace(hidden, STARS) for it in _without_secrets(command, texts)),
        )
    )
    roll = roll_of(sys.modules[type(command).__module__])
    source, origin = caller.service or "command", find_origin()
    record = AuditRecord(
        command.db, Event(source, caller.person, origin, action, caller.account, roll, __version__)
    )
    record.begin()
    return record


def _without_secrets(command: Command, texts: Sequence[str]) -> list[str]:
    from rocks.inventory.attributes.secret_names import without_secrets

    return without_secrets(command.command_path, texts)


def _who() -> str:
    """The user, and the person behind it: the caller of sudo, and the user of the login that the kernel recorded."""
    caller = find_caller()
    login = f"uid {caller.login}" if caller.login else ""
    other = [f"{name} {text}" for name, text in (("sudo", caller.sudo), ("login", login)) if text]
    return caller.account + (f" ({', '.join(other)})" if other else "")
