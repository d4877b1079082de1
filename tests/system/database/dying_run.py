"""A migration run that dies: `dying_run.py socket database state-folder backup-folder step moment`.

It sends itself SIGKILL at its change number `step`: at the moment `before` it is sent, `after` it was done
and before it is committed, or, as `server`, it kills the server (whose process id follows) and lives on.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rocks.database.connection import Database
from rocks.database.migrate import bring_up_to_date
from rocks.database.settings import Settings

socket, name, state_folder, backup_folder, step, moment, *server = sys.argv[1:]
changes = 0
really_execute = Database.execute


def execute(self: Database, sql: str, values: Sequence[Any] = ()) -> int:
    global changes
    changes += 1
    if changes == int(step):
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == "server":
            os.kill(int(server[0]), signal.SIGKILL)
    result = really_execute(self, sql, values)
    if changes == int(step) and moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return result


Database.execute = execute  # type: ignore[method-assign]
bring_up_to_date(Settings(socket, "localhost", 3306, "root", "", name, state_folder), Path(backup_folder))
print(changes)
