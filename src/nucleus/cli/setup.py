"""`nucleus setup`"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror.migrate import set_up

if TYPE_CHECKING:
    import argparse

    from nucleus.configuration import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The name of the server's administrator."""
    parser.add_argument(
        "--administrator", default="root", metavar="USER", help="the server's user that makes it (root)"
    )


def run(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Make or update the schema; say what was done."""
    settings = configuration.database
    before, after = set_up(settings, arguments.administrator)
    what = "has version" if before == after else f"was brought from version {before} to version"
    print(
        f"schema {settings.name} at {settings.socket} {what} {after}; its user is {settings.user}@localhost"
    )
    return 0
