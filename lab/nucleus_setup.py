"""`python3 -m lab.nucleus_setup TOKEN_FILE COMMANDS`, inside a machine: commands of `nucleus`, a JSON list of lists.

One process, for each start of `nucleus` costs half a second. The last command prints a token, which goes into the file.
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import sys
from pathlib import Path

from nucleus.cli.main import main
from rocks.core.files import write_file


def run(token_file: Path, commands: list[list[str]]) -> int:
    """Run the commands; print each, and its output. The exit status of the first that fails, else 0."""
    for command in commands:
        print(f"# bin/nucleus {shlex.join(command)}", flush=True)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = main(command)
        if status != 0:
            return status
        if command is not commands[-1]:
            print(output.getvalue(), end="", flush=True)
    write_file(token_file, output.getvalue())
    print("nuc_…")
    return 0


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), json.loads(sys.argv[2])))
