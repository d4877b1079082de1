"""`rocks help`"""

import rocks.commands
from rocks.commands._framework.run_command import help_of
from rocks.commands._framework.suggestions import nearest_commands
from rocks.commands._framework.topics import DAILY, commands_about, commands_of_nucleus
from rocks.commands._framework.tree import (
    all_commands,
    is_command,
    load_package,
    longest_prefix,
    tree_folders,
)
from rocks.commands._framework.usage_lines import usage_lines
from rocks.core.names import printable


class Command(rocks.commands.Command):
    """
    Print the help of a command and the commands that begin with its words. For any other text: the commands of that
    name or about that topic (backup, delete, upgrade), then those whose usage contains it. Without arguments: the
    commands of every day; with all, every command.

    <arg optional='1' type='string' name='command' repeat='1' default='none: the commands of every day'>
    The words of a command, text to search for, or all.
    </arg>

    <example cmd='help start host vm'>
    Everything about one command.
    </example>
    <example cmd='help backup'>
    List the commands that save and restore something.
    </example>
    <example cmd='help attr'>
    List all commands whose usage contains attr.
    </example>

    <related>list help</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the help or the matching lines."""
        command_path, trees = " ".join(args).split(), tree_folders()
        if not command_path:
            self._print_daily()
            return
        if longest_prefix(command_path, trees) == len(command_path):
            command = getattr(load_package(command_path, trees), "Command", None)
            if command is not None:
                self._print_help(command_path, command)
                return
        text = " ".join(args)
        commands = [path for path in all_commands(trees) if is_command(path, trees)]
        usages = dict(usage_lines((), self.notify))
        found = list(usages) if text == "all" else [" ".join(path) for path in commands_about(text, commands)]
        found += [
            name for name, usage in usages.items() if name not in found and _mentions(name, usage, text)
        ]
        lines = [f"{name} {usages[name]}".rstrip() for name in found if name in usages]
        lines += [f"of Nucleus, the service for owners: {name} --help" for name in commands_of_nucleus(text)]
        if not lines:
            near = nearest_commands(command_path, commands)
            advice = f"did you mean {', '.join(near)}?" if near else "rocks help all lists every command"
            self.abort(
                f'no command has "{printable(text)}" in its usage, and no topic has that name; {advice}'
            )
        self.addText("".join(f"{line}\n" for line in lines))

    def _print_daily(self) -> None:
        permitted = [name for name, _ in usage_lines((), self.notify)]
        for title, purposes in DAILY.items():
            lines = [f"  {name:22} {purpose}" for name, purpose in purposes.items() if name in permitted]
            self.addText("\n".join([f"{title}:", *lines]) + "\n\n" if lines else "")
        self.addText(
            "rocks help COMMAND explains one; rocks help TEXT searches (backup, upgrade, attr); rocks help all lists "
            f"all {len(permitted)} commands.\n"
        )

    def _print_help(self, command_path: list[str], command: type[rocks.commands.Command]) -> None:
        self.addText(help_of(command(self.db), "plain"))
        name = " ".join(command_path)
        below = [
            f"{other} {usage}".rstrip()
            for other, usage in usage_lines(tuple(command_path), self.notify)
            if other != name
        ]
        if below:
            self.addText("\nCommands that begin so:\n\n" + "".join(f"\t{x}\n" for x in below))


def _mentions(name: str, usage: str, text: str) -> bool:
    """Whether the text is in the usage; of the verb, at its beginning: nobody means remove by move."""
    verb, _, rest = f"{name} {usage}".partition(" ")
    return verb.startswith(text) or text in rest or (" " in text and text in f"{name} {usage}")
