"""Started by `bin/rocks` as `python3 -E -S launch.py ARGUMENTS…`: sets the module path, then runs the command.

Without `site` the interpreter starts a third faster, and every command pays for that start.

A listing may take five starts of Python. So it imports neither dataclasses nor pathlib, PyMySQL comes with
the first connection and without `cryptography` and `ssl`, and modules for hosts when a host is contacted.
Modules to which this applies state it. A start of a machine imports what most starts need; what few need, such as
seeds, partitions and installers, comes late: tests/unit/cli/test_start_modules.py has the list. A resident server was
refused: another daemon, with delegated rights.
"""
# ruff: noqa: PTH100, PTH120 - pathlib would cost every command its start-up time

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.dirname(os.path.dirname(_FOLDER))
if os.environ.get("ROCKS_SITE_PACKAGES"):
    sys.path.append(os.environ["ROCKS_SITE_PACKAGES"])

if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["--complete"]:
            from rocks.cli.completion import program as complete

            sys.exit(complete(sys.argv[2:]))
        from rocks.cli.main import program

        sys.exit(program())
    except KeyboardInterrupt:  # while modules were imported: no command has begun
        sys.exit(130)
