"""`rocks check image`"""

from __future__ import annotations

import rocks.commands
from rocks.core.errors import RocksError

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Read images of the library, and compare them with what was imported. Exit status 3 means that some are damaged, and
    1 that all are.

    <shared command='list image' names='name'/>

    <example cmd='check image'>
    All images.
    </example>
    <example cmd='check image debian-12'>
    One image.
    </example>
    <related>list image</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line per image."""
        from rocks.library.images import check_image, list_library

        names = args or [image.name for image in list_library(self.db)]
        failures: dict[str, RocksError] = {}
        for name in names:
            try:
                check_image(self.db, name, self.showProgress)
            except RocksError as error:
                failures[name] = error
            self.showProgress("")
            if name not in failures:
                self.showLine(f"{name} is what was imported")
        self.endOutcomes(failures, len(names))
