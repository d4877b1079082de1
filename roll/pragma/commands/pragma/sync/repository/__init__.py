"""`rocks pragma sync repository`"""

from contextlib import suppress
from pathlib import Path

import rocks.commands
from rocks.core.errors import HostError, RocksError

from ..._shared.log import Log, check_level
from ..._shared.repository import sync_repository
from ..._shared.site import read_settings

RollName = "pragma"


class Command(rocks.commands.Command):
    """
    Bring the repository of the attribute pragma_repository_url to the folder of pragma_repository, and its images to
    the library; without a URL, add the images of the folder to the library.

    A file is fetched again only when the web server states another ETag, time of change or size for it, or its
    description another SHA-256. It becomes a new image, and machines of the old one go on. A cluster that fails stays
    as it was, and stops no other. The same command continues a sync that was interrupted. It names the images of each
    cluster, and those that it has replaced (rocks remove image).

    <param type='string' name='logfile' of='file' default='none'>
    File to which the printed lines and the errors are appended, each with its time.
    </param>
    <param type='string' name='loglevel' default='INFO' values='DEBUG,INFO,WARNING,ERROR,CRITICAL'>
    Ignored; accepted for callers of the second generation. The log is the same with each value.
    </param>
    <shared names='dry-run'/>

    <example cmd='pragma sync repository'>
    Bring what is new.
    </example>
    <example cmd='pragma sync repository dry-run=yes'>
    Print what would be written; images are not added.
    </example>
    <related>pragma list repository</related>
    <related>pragma boot</related>
    <related>list image</related>
    """

    AdviceAfterInterrupt = "the same command continues"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each cluster: its name and its images. Exit status 3 when some were not brought."""
        check_level(self)
        settings, given = read_settings(self), self.fillText("logfile")
        log = Log(Path(given), f"sync of {settings.repository}") if given else None
        try:
            lines, failures = sync_repository(self, settings)
        except RocksError as error:
            with suppress(HostError):  # a log that cannot be written hides no error
                if log is not None:
                    log.write(f"Error: {error}")
            raise
        for line in lines:
            self.addLine(line)
        try:
            self.endOutcomes(failures, len(lines) + len(failures))
        finally:
            if log is not None:
                for line in (*lines, *(f"Error: {name}: {error}" for name, error in failures.items())):
                    log.write(line)
