"""`rocks pragma list repository`"""

import rocks.commands

from ..._shared.repository import known_clusters
from ..._shared.site import read_settings

RollName = "pragma"


class Command(rocks.commands.Command):
    """
    List the cluster images of the repository, by name.

    The repository is the folder of the attribute pragma_repository; its list is vcdb.txt, with a line NAME,PATH for
    each image.

    <example cmd='pragma list repository'>
    The images that rocks pragma boot can boot.
    </example>
    <example cmd='pragma list repository json=yes'>
    With the paths of their descriptions, for a program.
    </example>
    <related>pragma sync repository</related>
    <related>pragma boot</related>
    """

    MustBeRoot = 0
    IsAudited = False

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a row for each image; a table has their names only."""
        in_json = self.fillFlag("json")
        self.beginOutput()
        for name, file in sorted(known_clusters(read_settings(self)).items()):
            self.addOutput(name, (str(file),) if in_json else ())
        self.endOutput(header=("virtual image", "path") if in_json else ("virtual image",), trimOwner=False)
