"""`rocks COMMAND ARGUMENTS…`: finds the command, runs it in one transaction, prints its output or its error."""
# ruff: noqa: PTH100 - pathlib would cost every command its start-up time

from __future__ import annotations

import gc
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from rocks.commands._framework.output import cut, write_message, write_out, write_pieces
from rocks.commands._framework.run_command import HELP_ARGUMENTS, asks_help, may_run, run_command
from rocks.commands._framework.tree import (
    all_commands,
    is_command,
    load_package,
    longest_prefix,
    tree_folders,
)
from rocks.core.callers import settle_process
from rocks.core.errors import EXIT_UNKNOWN_COMMAND, BugError, RocksError, UserError, interrupt_of
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command
    from rocks.database.connection import Database

EXIT_INTERRUPTED = 130
_OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""A listing makes a million objects and hardly a cycle; to look for these at every 700 takes a fifth of its time."""
LIST_HELP = ("list", "help")
_INTRODUCTION = """\
rocks {version}: user-managed virtual clusters on KVM hosts

  rocks COMMAND [ARGUMENT] ... [NAME=VALUE] ...

First commands:
  rocks list host                         hosts
  rocks list host vm status=yes           virtual machines, and which of them run
  rocks list cluster                      virtual clusters
  rocks add cluster 203.0.113.9 2         a cluster: a frontend and two compute nodes
  rocks start cluster frontend-0-0-0      start it
  rocks open host console frontend-0-0-0  see its frontend

Help:
  rocks help start host vm                everything about one command
  rocks help backup                       the commands about a topic, or whose usage contains a text
  rocks help                              the commands of every day; rocks help all: every command
  rocks --version
The guide: {guide}

The words with which commands begin; `rocks list` prints the commands that begin with list:
{verbs}
"""
"""What `rocks` alone prints, in at most 25 lines."""


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns the exit status (`rocks.core.errors`)."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    _accept_any_text()
    try:
        settle_process()
    except UserError as error:
        return _report_error(error, None)
    return run_line(arguments)


def run_line(arguments: Sequence[str], shared: Database | None = None) -> int:
    """Run the command that the arguments name, on the connection `shared` if there is one; returns the exit status.

    Whatever the command does, the connection is without a transaction and locks afterwards.
    """
    try:
        return _run(list(arguments), shared)
    except RocksError as error:
        return _report_error(error, None)
    except KeyboardInterrupt as interrupt:
        write_message(
            "; ".join(("interrupted; operations that a host has begun continue there", *interrupt.args))
        )
        return EXIT_INTERRUPTED


def program() -> int:
    """`main` with the arguments of this process, which ends then: the entry point that pyproject.toml names."""
    status = main(sys.argv[1:])
    gc.freeze()  # Python 3.11 looks for cycles in all objects when it ends, which takes seven times as long as the rest
    return status


def find_command(arguments: Sequence[str], trees: Sequence[str]) -> tuple[list[str], list[str]]:
    """(words of the command's name, its arguments); no words when the first argument names no command.

    A first argument with blanks is tried as the complete name, so that a host may have the name of a command.
    """
    quoted = arguments[0].split()
    if quoted and quoted != [arguments[0]] and longest_prefix(quoted, trees) == len(quoted):
        return quoted, list(arguments[1:])
    length = longest_prefix(arguments, trees)
    return list(arguments[:length]), list(arguments[length:])


def _run(arguments: list[str], shared: Database | None) -> int:
    _check_text(arguments)
    trees = tree_folders()
    if not arguments or arguments[0] in HELP_ARGUMENTS - {"help"}:
        return _introduce(trees)
    if arguments[0] == "--version":
        return _run(["report", "version"], shared)
    command_path, rest = find_command(arguments, trees)
    if not command_path:
        error = f'error - invalid rocks command "{arguments[0]}"'
        if not _suggest(arguments, trees, 1, error):
            write_message(error)
            write_message("rocks help lists the commands of every day, rocks help all every command")
        return EXIT_UNKNOWN_COMMAND
    command_class = getattr(load_package(command_path, trees), "Command", None)
    if command_class is None:
        return _list_group(command_path, rest, trees, shared)
    if not may_run(command_class) and not asks_help(rest):
        return _become_root(arguments, stays=shared is not None)
    if any(text.startswith("dry-run=") for text in rest):
        from rocks.commands._framework.dry_run import is_dry_run

        if is_dry_run(command_class, rest):
            return _run_dry(command_class, rest)
    return _run_command(command_class, rest, shared)


def _introduce(trees: Sequence[str]) -> int:
    import textwrap

    from rocks.core.version import guide_page, rocks_version_attributes

    verbs = sorted({command_path[0] for command_path in all_commands(trees)})
    lines = textwrap.wrap(" ".join(verbs), 76, initial_indent="  ", subsequent_indent="  ")
    version = rocks_version_attributes()["rocks_version"]
    guide = guide_page("operator.md")
    write_out(_INTRODUCTION.format(version=version, guide=guide, verbs="\n".join(lines)))
    return 0


def _suggest(arguments: Sequence[str], trees: Sequence[str], at_least: int, error: str) -> bool:
    """Print the error and the commands that were probably meant; False when none resembles the arguments."""
    from rocks.commands._framework.command_index import read_index
    from rocks.commands._framework.suggestions import nearest_commands
    from rocks.commands._framework.topics import commands_of_nucleus

    known, typed = read_index(), [word for text in arguments for word in text.split()]
    commands = [path for path in all_commands(trees) if " ".join(path) in known or is_command(path, trees)]
    found = [name for word in typed[:2] for name in commands_of_nucleus(word)]
    found += [f"rocks {name}" for name in nearest_commands(typed, commands, at_least)]
    if found:
        write_message(error)
        write_message(f"did you mean: {', '.join(found)}?")
    return bool(found)


def _list_group(
    command_path: Sequence[str], rest: Sequence[str], trees: Sequence[str], shared: Database | None
) -> int:
    """The commands below a group; for an unknown word after it, those that were probably meant, or its words."""
    if not rest or rest[0] in HELP_ARGUMENTS:
        list_help = load_package(LIST_HELP, trees).Command
        _run_command(list_help, [f"subdir={'/'.join(command_path)}"], shared)
        return EXIT_UNKNOWN_COMMAND
    group, length = " ".join(command_path), len(command_path)
    error = f'error - invalid rocks command "{group} {rest[0]}"'
    if not _suggest([*command_path, *rest], trees, length + 1, error):
        following = {
            it[length] for it in all_commands(trees) if it[:length] == (*command_path,) and it[length:]
        }
        write_message(error)
        write_message(
            f"{group} is followed by {', '.join(sorted(following))}; rocks {group} prints these commands"
        )
    return EXIT_UNKNOWN_COMMAND


def _run_command(command_class: type[Command], arguments: list[str], shared: Database | None) -> int:
    command: Command = command_class(shared or _open_database())
    commits, is_changing = command.db.commits, False
    command.run_line = None if shared else partial(run_line, shared=command.db)
    try:
        if shared:
            shared.check_connection()
            _check_shared(command, arguments)
        run_command(command, arguments, stream=True)
        before, is_changing = command.db.commits, command.db.has_changes
        _commit(command)
    except (Exception, KeyboardInterrupt) as error:
        interrupt = interrupt_of(error)
        if interrupt is not None:
            advice = command.AdviceAfterInterrupt
            if command.DoneByCommit and not is_changing:
                advice = "nothing was changed"
            elif command.DoneByCommit and command.db.commits > before:
                advice = command.DoneByCommit
            if shared:
                shared.close()  # at once: a reply may be on its way, which the next command would take for its own
            _roll_back(command.db)
            if command.audit_record is not None:
                command.audit_record.fail(interrupt)
            raise KeyboardInterrupt(*filter(None, [advice])) from None
        # if the only commit fails, nothing is done of what the output says
        is_undone = is_changing and command.db.commits == commits
        _roll_back(command.db)
        found = _as_rocks_error(error, command_class)
        if command.audit_record is not None:
            command.audit_record.fail(found)
        pieces = [] if is_undone else command.takeOutput()
        pieces = pieces or [command.errorText(found)]
        write_pieces(_ended(pieces))
        return _report_error(found, command_class)
    finally:
        (command.db.end_command if shared else command.db.close)()
    try:
        write_pieces(_ended(command.takeOutput()))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(*filter(None, [is_changing and command.DoneByCommit])) from None
    return command.exit_status


def _run_dry(command_class: type[Command], arguments: list[str]) -> int:
    """As `_run_command`, without a change; on a connection of its own, also in a shell."""
    from rocks.commands._framework.dry_run import run_dry
    from rocks.database.dry import DryDatabase
    from rocks.database.settings import read_settings

    try:
        return run_dry(command_class, arguments, DryDatabase(read_settings()))
    except Exception as error:
        return _report_error(_as_rocks_error(error, command_class), command_class)
    except KeyboardInterrupt:
        write_message("interrupted; a dry run has changed nothing")
        return EXIT_INTERRUPTED


def _commit(command: Command) -> None:
    """Commit what is left; the audit log has the outcome afterwards."""
    record = command.audit_record
    if record is not None:
        record.set_outcome(command.exit_status)
    command.db.commit()
    if record is not None:
        record.complete()


def _check_shared(command: Command, arguments: Sequence[str]) -> None:
    """UserError for a command that takes over its process, which is the shell's."""
    if command.NeedsOwnProcess and not asks_help(arguments):
        title = " ".join(command.command_path)
        raise UserError(f'"{title}" takes over its process; leave the shell, and run rocks {title}')


def _roll_back(database: Database) -> None:
    try:
        database.rollback()
    except RocksError:
        pass  # a lost connection has rolled back everything; the first error is the one to report


def _open_database() -> Database:
    """The cluster database, which connects at its first use: a command that does not use it runs without it."""
    from rocks.database.connection import Database
    from rocks.database.settings import read_settings

    try:
        settings = read_settings()
        if not os.environ.get("ROCKSDEBUG"):
            return Database(settings)
        from rocks.database.connection import TracedDatabase

        return TracedDatabase(settings)
    except RocksError as error:
        from rocks.database.connection import UnconfiguredDatabase

        return UnconfiguredDatabase(error)


def _ended(pieces: list[str]) -> list[str]:
    """The output with an end of its last line."""
    last = next((piece for piece in reversed(pieces) if piece), "\n")
    return pieces if last.endswith("\n") else [*pieces, "\n"]


def _as_rocks_error(error: BaseException, command_class: type[Command]) -> RocksError:
    """Any other exception as a BugError that names the command."""
    if isinstance(error, RocksError):
        return error
    from rocks.commands._framework.fault_place import author_place

    place = author_place(error)
    advice = "its author must fix it" if place else "please report it with the output of ROCKSDEBUG=1"
    fault = BugError(
        f'"{_title(command_class)}" has a fault ({type(error).__name__}: {error}'
        f"{f'; {place}' if place else ''}); uncommitted changes are rolled back; {advice}"
    )
    fault.__cause__ = error
    return fault


def _title(command_class: type[Command]) -> str:
    """The words of the command's name."""
    return " ".join(command_class.__module__.split(".")[2:])


def _report_error(error: RocksError, command_class: type[Command] | None) -> int:
    from rocks.commands._framework.run_command import log

    if os.environ.get("ROCKSDEBUG"):
        import traceback

        traceback.print_exception(error)
    message = one_line(str(error))
    log(f"error: {cut(message)}")
    write_message(message, "Error: ")
    if command_class is not None and isinstance(error, UserError):
        from rocks.commands._framework.declarations import short_usage

        title = _title(command_class)
        usage = " ".join(filter(None, ("rocks", title, short_usage(command_class))))
        write_message(f"{usage}; rocks help {title} explains it")
    return error.exit_status


def _check_text(arguments: Sequence[str]) -> None:
    """UserError for an argument that is not UTF-8: lone surrogates fit neither the database nor a terminal."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UserError(f"{argument!r} is not UTF-8 text") from None


def _accept_any_text() -> None:
    """Print characters that the terminal's character set lacks as \\x.., instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _become_root(arguments: Sequence[str], stays: bool) -> int:
    """Run the command line by sudo: in place of this process, or, if this one `stays`, in another.

    A message of sudo's own does not say what is needed: a line of ours is before it, and before it asks for a password.
    """
    from rocks.core import process
    from rocks.core.errors import ToolError
    from rocks.core.version import guide_page

    launcher = os.environ.get("ROCKS_LAUNCHER") or os.path.abspath(sys.argv[0])
    sudo = ["sudo", "--", launcher, *arguments]
    needs_root = f'"rocks {" ".join(arguments)}" requires root, and '
    try:
        if process.run(["sudo", "-n", "-l", *sudo[1:]], deadline_seconds=60).exit_status:
            roles = f"or have root give you a role ({guide_page('site.md')})"
            remedy = f"give your password if sudo asks for it, run it as root, {roles}"
            write_message(one_line(f"{needs_root}you have no role for it: {remedy}"))
        if stays:
            return process.run_interactively(sudo)
        process.replace_this_process(sudo)
    except ToolError as error:
        raise UserError(f"{needs_root}{error}; run it as root") from None
