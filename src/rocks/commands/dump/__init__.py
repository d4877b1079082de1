"""Commands that print the commands which would make what is there."""

import rocks.commands
from rocks.commands.shell_words import INSTALLED_LAUNCHER, launcher, positional, quote

__all__ = ["INSTALLED_LAUNCHER", "command", "launcher", "positional", "quote"]


class command(rocks.commands.Command):
    """Base of the commands below `dump`."""

    MustBeRoot = 0

    def dump(self, *words: str) -> None:
        """Add the line that runs `rocks` with these words, each quoted for a shell."""
        self.addText(" ".join(quote(word) for word in (launcher(), *words)) + "\n")
