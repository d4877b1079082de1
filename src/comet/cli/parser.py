"""The argument parser, made from the table of commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from typing import NoReturn

from comet import __version__
from comet.cli.commands import COMMANDS, GLOBAL, SYNONYMS, Parameter
from comet.client.errors import UsageError

WAIT_SECONDS = "3600"
_GROUPS = {
    "power": "switch nodes on and off",
    "node": "look at a node, or rename computes",
    "iso": "images for CD drives (also: image)",
    "reservation": "reserve sites for virtual clusters",
    "operation": "what was asked for, and what became of it",
    "token": "tokens for scripts",
    "cache": "the answers that are kept",
}


INTRODUCTION = """\
comet: your virtual clusters, from the machine where you are

First commands:
  comet init                  the server, your name there and your token; once
  comet ll                    your clusters
  comet cluster vc1           the nodes of a cluster, and which are on
  comet power on vc1          switch its frontend on
  comet start vc1 --count=2   start two computes, as a computeset
  comet console vc1           see its frontend

Help:
  comet --help                all commands
  comet help start            everything about one command
  comet help drive            the commands about something"""
"""What `comet` alone prints."""

_LOGIN = "To log in to a machine: comet ssh NODE. To sign in to the server: comet init"
_KEYS = (
    "comet changes no keys inside machines. Your public SSH key comes into a cluster when "
    "the site's operators make it from an image: give it to them. Without a key: comet console --serial CLUSTER"
)
_CERTIFICATE = (
    "The certificate of a site's own CA, which comet then trusts for that server: comet init --ca=FILE. Ask the site's "
    "operators for it"
)
_ELSEWHERE = {"key": _KEYS, "keys": _KEYS, "login": _LOGIN, "certificate": _CERTIFICATE}
"""What owners look for and no command does, and how it is done."""

_HABITS = {
    **dict.fromkeys(
        ("ls", "list", "clusters", "vcs", "virsh", "openstack", "nova", "server", "vm", "vms"), "ll"
    ),
    "get": "ll or comet cluster CLUSTER",
    **dict.fromkeys(("nodes", "sinfo", "hosts", "ps", "node list"), "cluster CLUSTER"),
    **dict.fromkeys(("describe", "show", "info"), "cluster CLUSTER or comet node info CLUSTER NODE"),
    "stop": "power shutdown CLUSTER NODES or comet terminate SET",
    **dict.fromkeys(("cancel", "scancel", "end", "kill"), "terminate SET"),
    **dict.fromkeys(
        ("delete", "rm", "remove"),
        "terminate SET or comet iso delete IMAGE; clusters are removed on their page",
    ),
    "destroy": "terminate SET; clusters are removed on their page",
    **dict.fromkeys(("squeue", "queue", "jobs", "job", "scontrol"), "computeset --state=active"),
    "sets": "computeset",
    **dict.fromkeys(
        ("salloc", "sbatch", "srun", "run", "alloc"), "start CLUSTER --count=N or comet launch LAUNCHER"
    ),
    **dict.fromkeys(("sacct", "account", "accounts", "quota", "charges", "cost"), "usage"),
    **dict.fromkeys(("logs", "log", "serial"), "console --serial CLUSTER NODE"),
    "vnc": "console CLUSTER NODE",
    "watch": "ll --watch or comet cluster CLUSTER --watch",
    **dict.fromkeys(("status", "power status"), "cluster CLUSTER --status"),
    **dict.fromkeys(("boot", "poweron"), "power on CLUSTER"),
    "poweroff": "power off CLUSTER",
    "restart": "power reboot CLUSTER",
    "power cycle": "power reset CLUSTER",
    "mount": "iso attach IMAGE CLUSTER",
    **dict.fromkeys(("tasks", "task"), "operation list"),
    **dict.fromkeys(("whoami", "config"), "active"),
    "logout": "token revoke TOKEN",
    "version": "--version",
}
"""Words that other programs have, and what comes here in their place."""

_OPTION_HABITS = {
    **dict.fromkeys(("--nodes", "-N"), "--count"),
    "--time": "--walltime",
    **dict.fromkeys(("--account", "-A"), "--allocation"),
    "--json": "--format=json",
}
"""Habits of options, as those of words."""

_PARAMETERS = (*GLOBAL, *(option for command in COMMANDS for option in command.options))
_OPTIONS = {name for it in _PARAMETERS for name in it.names}
_VALUED = {name for it in _PARAMETERS if it.value for name in it.names}
_ACTIONS = [it.path[1] for it in COMMANDS if it.path[0] == "power"]
_OF_SETS = ("start", "extend", "merge", "terminate")
_LONG_OPTIONS = {name for name in _OPTIONS if name.startswith("--")}


_OPTION = re.compile(r"--?[A-Za-z][^\s=]*(=.*)?", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    def format_usage(self) -> str:
        return _with_optional_value(super().format_usage())

    def format_help(self) -> str:
        return _with_optional_value(super().format_help())

    def error(self, message: str) -> NoReturn:
        command = re.search("COMMAND: invalid choice: '([^']*)'", message)
        meant = ""
        if command:
            message = f"'{command[1]}' is no command of {self.prog}"
            if self.prog == "comet" and command[1].lower() in _ELSEWHERE:
                raise UsageError(f"{message}. {_ELSEWHERE[command[1].lower()]}")
            meant = _commands_like(command[1], self.prog)
        raise UsageError(f"{message}.{f' Did you mean: {meant}?' if meant else ''} See: {self.prog} --help")


def _commands_like(text: str, program: str) -> str:
    """The commands of the program with a word that the text resembles; '' without any."""
    from difflib import get_close_matches

    group = tuple(program.split()[1:])
    if habit := _HABITS.get(" ".join([*group, text.lower()])):
        return f"comet {habit}"
    paths = [it.path for it in COMMANDS if it.path[: len(group)] == group] + [("help",)] * (not group)
    near = get_close_matches(text.lower(), {it for path in paths for it in path[len(group) :]}, 1, 0.7)
    found = [f"comet {' '.join(path)}" for path in paths if near and near[0] in path[len(group) :]]
    is_about = re.compile(rf"\b{re.escape(text)}\b", re.IGNORECASE).search
    about = [f"comet {' '.join(it.path)}" for it in COMMANDS if not group and is_about(it.help)]
    return " or ".join((found or about)[:3])


def _advice_on_option(text: str, path: tuple[str, ...]) -> str:
    """What was meant by an option that the command does not have; '' if nobody knows."""
    from difflib import get_close_matches

    own = next(it.options for it in COMMANDS if it.path == path)
    names = {name for it in (*GLOBAL, *own) for name in it.names if name.startswith("--")}
    if text in names:
        return " Options come first, then --, then all names."
    if path == ("launch",) and text in ("--walltime", "--user"):
        return f" The {text[2:]} is in launcher.toml."
    habit = _OPTION_HABITS.get(text, "")
    known = habit if habit.partition("=")[0] in names else ""
    near = known or " or ".join(get_close_matches(text, names, 2, 0.75))
    return f" Did you mean: {near}?" if near else ""


def _advice_on_names(typed: list[str]) -> str:
    """How names are typed of which one was taken for an option; '' without such a one."""
    before = typed[: typed.index("--")] if "--" in typed else typed
    names = [it for it in before if re.match("-[^-]", it) and it[:2] not in {"-h", *_OPTIONS}]
    return f" Is {names[0]} a name? Options come first, then --, then all names." if names else ""


def _with_optional_value(text: str) -> str:
    """A word after `--wait` is an argument, not its value. The text beside it stays in its column."""
    return re.sub(r"--wait SECONDS(?:  (?=  ))?", "--wait[=SECONDS]", text)


def normalised(line: list[str]) -> list[str]:
    """Words as the parser takes them: without a first `comet`, synonyms replaced, `--wait` with its value.

    A long option may have one dash, as in the published papers: `-walltime=6h`.
    """
    line = line[1:] if line[:1] == ["comet"] else list(line)
    end = line.index("--") if "--" in line else len(line)
    typed = [f"-{it}" if f"-{it.partition('=')[0]}" in _LONG_OPTIONS else it for it in line[:end]]
    found = [f"--wait={WAIT_SECONDS}" if it == "--wait" else it for it in typed] + line[end:]
    if found[:1] == ["power"] and len(found) > 2 and found[2] in _ACTIONS and found[1] not in _ACTIONS:
        found[1], found[2] = found[2], found[1]  # as `virsh` and `ipmitool` have it: `power vc1 on`
    if found[:1] == ["computeset"] and len(found) > 1 and found[1] in _OF_SETS:
        del found[0]  # `computeset merge 3 5`
    if found[:2] == ["computeset", "list"]:
        del found[1]  # as `iso list`
    first = next((index for index, it in enumerate(found) if it in SYNONYMS), None)
    if first is not None and all(it.startswith("-") for it in found[:first]):
        found[first] = SYNONYMS[found[first]]
    return found


def is_command(typed: list[str]) -> bool:
    """Whether they are a command's name, a group's, or none: `--help` prints the help of that."""
    return any(it.path[: len(typed)] == tuple(typed) for it in COMMANDS)


def commands_about(typed: list[str]) -> str:
    """A line for each command whose name or description has all the words. UsageError when there is none."""
    lines = [f"comet {' '.join(it.path)}: {it.help}" for it in COMMANDS]
    found = [line for line in lines if all(word.lower() in line.lower() for word in typed)]
    if not found and typed[0].lower() in _ELSEWHERE:
        return _ELSEWHERE[typed[0].lower()]
    if not found:
        meant = _commands_like(typed[0], "comet") if typed else ""
        advice = f" Did you mean: {meant}?" if meant else ""
        raise UsageError(f"no command is about '{' '.join(typed)}'.{advice} See: comet --help")
    return "\n".join(found)


def parsed(typed: list[str]) -> argparse.Namespace:
    """The line as the parser of all commands has it. UsageError for what its command does not take."""
    try:
        found, unknown = parser(typed).parse_known_args(_arguments_together(typed))
    except UsageError as error:
        advice = _advice_on_names(typed)
        raise UsageError(f"{error}.{advice}" if advice else str(error)) from None
    if unknown:
        option = next(
            (it.partition("=")[0] for it in unknown if it.startswith("--") or it in _OPTION_HABITS), ""
        )
        advice = _advice_on_option(option, found.command) if option else _advice_on_names(typed)
        command = " ".join(found.command)
        raise UsageError(f"unrecognized arguments: {' '.join(unknown)}.{advice} See: comet {command} --help")
    for it in next(it.arguments for it in COMMANDS if it.path == found.command):
        # as a variable of a script that was not set; attach says itself how a drive is emptied, and --count is enough
        is_counted = it.names == ("nodes",) and "count" in found
        if getattr(found, it.names[0]) == "" and it.kind != "image" and not is_counted:
            raise UsageError(f"{it.names[0].upper()} is empty: give {it.help}")
    return found


def _arguments_together(typed: list[str]) -> list[str]:
    """The line with its options behind the command's arguments, or before them where `--` ends the options.

    argparse gives an optional argument its default at the first option: of `start vc2 --walltime=6h vm-vc2-0` it would
    refuse the compute. Of `power --yes on vc2` it would refuse the option, which is none of the group `power`; of
    `--walltime=6h start vc2`, too.
    """
    end = typed.index("--") if "--" in typed else len(typed)
    line, rest = typed[:end], typed[end + 1 :]
    shared = {name for it in GLOBAL if it.value for name in it.names}
    before = ["", *line]
    unmarked = [i for i, it in enumerate(line) if not it.startswith("-")]
    first = next((i for i in unmarked if before[i] not in _VALUED), end)
    places = [i for i in unmarked if i >= first and before[i] not in shared]
    command = next((it for it in COMMANDS if tuple(line[i] for i in places[: len(it.path)]) == it.path), None)
    if command is None:
        return typed
    valued = shared | {name for it in command.options if it.value for name in it.names}
    path = places[: len(command.path)]
    own = path[-1] + 1
    between = [it for i, it in enumerate(line[:own]) if i > path[0] and i not in path]
    is_option = [before[i] in valued or bool(_OPTION.fullmatch(line[i])) for i in range(own, end)]
    options = [it for it, moved in zip(line[own:], is_option) if moved]
    arguments = [it for it, moved in zip(line[own:], is_option) if not moved]
    behind = [*options, "--", *arguments, *rest] if end < len(typed) else [*arguments, *options]
    leading = line[: path[0]]
    is_about_all = {"-h", "--help", "--version"} & set(leading)
    in_front, after = (leading, []) if is_about_all else ([], leading)
    return [*in_front, *command.path, *after, *between, *behind]


def parser(typed: Collection[str] = ()) -> argparse.ArgumentParser:
    """The parser of all commands; its result has `handler` and an attribute for every option that was given.

    Of the commands whose words are among those typed, where there are any and no help is asked for: each other parser
    would be made in vain, and look for translations of its headings.
    """
    can_be_meant = (
        () if {"-h", "--help"} & set(typed) else [it for it in COMMANDS if set(it.path) <= set(typed)]
    )
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = shared.add_argument_group("options of every command")
    for option in GLOBAL:
        _add(group, option)
    top = _Parser(
        prog="comet",
        parents=[shared],
        allow_abbrev=False,
        description="Your virtual clusters: nodes, power, computesets, images, consoles.",
        epilog="comet help WORDS finds commands by words.",
    )
    top.add_argument("--version", action="version", version=f"comet {__version__}")
    groups = {"": top.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)}
    for command in can_be_meant or COMMANDS:
        first = command.path[0] if len(command.path) == 2 else ""
        if first not in groups:
            text = _GROUPS[first]
            inner = groups[""].add_parser(first, help=text, description=text, allow_abbrev=False)
            groups[first] = inner.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
        one = groups[first].add_parser(
            command.path[-1],
            help=command.help,
            description=command.help,
            parents=[shared],
            allow_abbrev=False,
        )
        one.set_defaults(handler=command.handler, command=command.path)
        for argument in command.arguments:
            count = "?" if argument.optional else None
            one.add_argument(
                argument.names[0],
                metavar=argument.names[0].upper(),
                nargs=count,
                help=argument.help,
                choices=argument.choices or None,
            )
        for option in command.options:
            _add(one, option)
    return top


def _add(target: argparse._ActionsContainer, option: Parameter) -> None:
    if not option.value:
        target.add_argument(*option.names, action="store_true", help=option.help, default=argparse.SUPPRESS)
        return
    choices = f": {', '.join(option.choices)}" if option.choices else ""
    target.add_argument(
        *option.names, metavar=option.value, help=option.help + choices, choices=option.choices or None,
        default=argparse.SUPPRESS, type=_sort_key if option.names == ("--sort",) else str,
    )  # fmt: skip


def _sort_key(text: str) -> str:
    """A column as its heading has it, too: `RAM(M)`."""
    return text.lower().partition("(")[0]
