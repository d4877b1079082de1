"""`rocks help`"""

import rocks.commands
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.listing import usage_lines
from rocks.commands._framework.run_command import help_of
from rocks.commands._framework.suggestions import nearest_commands
from rocks.commands._framework.tree import (
    all_commands,
    is_command,
    load_package,
    longest_prefix,
    tree_folders,
)


class Command(rocks.commands.Command):
    """
    Print the help of a command and the commands that begin with its words; for any other text, the commands
    whose line in rocks list help contains it; without arguments, all commands.

    <arg optional='1' type='string' name='command' repeat='1' default='none: an introduction'>
    The words of a command, or text to search for.
    </arg>

    <example cmd='help start host vm'>
    Everything about one command.
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
        if command_path and longest_prefix(command_path, trees) == len(command_path):
            command = getattr(load_package(command_path, trees), "Command", None)
            if command is not None:
                self._print_help(command_path, command)
                return
        text = " ".join(args)
        lines = [line for line in usage_lines((), self.notify) if text in line]
        if not lines:
            near = nearest_commands(
                command_path, [path for path in all_commands(trees) if is_command(path, trees)]
            )
            advice = f"; did you mean {', '.join(near)}?" if near else ""
            self.abort(f'no command has "{text}" in its usage{advice}')
        self.addText("".join(f"{line}\n" for line in lines))

    def _print_help(self, command_path: list[str], command: type[rocks.commands.Command]) -> None:
        self.addText(help_of(command(self.db), "plain"))
        name = " ".join(command_path)
        own = f"{name} {read_documentation(command).usage()}".rstrip()
        below = [line for line in usage_lines(tuple(command_path), self.notify) if line != own]
        if below:
            self.addText(
                "\nCommands that begin with these command_path:\n\n" + "".join(f"\t{x}\n" for x in below)
            )
