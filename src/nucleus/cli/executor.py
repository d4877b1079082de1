"""`nucleus executor`: runs the commands of `rocks` that Nucleus may use, as root, for the service's user."""

from __future__ import annotations

import pwd
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from nucleus.backends.executor import LocalExecutor
from nucleus.backends.executor_service import ExecutorService
from rocks.core.errors import UserError

if TYPE_CHECKING:
    import argparse

    from nucleus.configuration import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom it serves."""
    parser.add_argument("--user", default="nucleus", help="the user that may ask, besides root (nucleus)")


def run(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Serve until SIGTERM; a command that runs then is left to its end."""
    settings = configuration.executor
    try:
        account = pwd.getpwnam(arguments.user)
    except KeyError:
        raise UserError(
            f"there is no user {arguments.user}; --user=NAME names the one of the service"
        ) from None
    executor, images = LocalExecutor(settings.program), configuration.images.folder
    with ExecutorService(
        executor, Path(settings.socket), {account.pw_uid}, account.pw_gid, images
    ) as service:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=service.shutdown).start())
        service.serve_forever()
    return 0
