"""`rocks shell`"""

import rocks.commands
from rocks.core.names import printable


class Command(rocks.commands.Command):
    """
    Read command lines and run them, in one process and with one connection to the cluster database: without the word
    rocks, with the quotes of a shell. An error does not end the shell, and Ctrl-C ends the running command only. On a
    terminal, the cursor keys show earlier lines of this shell, and the tabulator key completes words, parameters and
    names; exit or Ctrl-D ends the shell. Other input, such as a file, is read to its end before the first line runs.
    Empty lines and those that begin with # are passed over.

    Each command has its own transaction.

    <param type='string' name='on-error' values='continue,stop' default='continue'>
    What follows a command that fails: continue with the next line, or stop. The exit status is the first one
    that is not 0, unless the lines come from a terminal.
    </param>

    <example cmd='shell'>
    Type commands at a prompt.
    </example>
    <example cmd='shell on-error=stop'>
    With a file as its input, as in rocks shell on-error=stop &lt; commands: run its lines up to the first that fails.
    </example>

    <related>help</related>
    <related>list help</related>
    """

    NoDryRun = "it is interactive; its commands take dry-run=yes themselves"
    MustBeRoot = 0
    IsAudited = False  # the audit log has each of its lines

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run each line; keep the first exit status that is not 0 of lines that nobody types."""
        from rocks.commands._framework.shell import run_shell

        on_error = self.fillText("on-error", "continue")
        if on_error not in ("continue", "stop"):
            self.abort(f'on-error must be continue or stop, not "{printable(on_error)}"')
        if self.run_line is None:
            self.abort("this is a shell already; type the command itself")
        self.exit_status = run_shell(self.run_line, self.db, stops=on_error == "stop")
