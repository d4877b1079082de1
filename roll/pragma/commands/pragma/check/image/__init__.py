"""`rocks pragma check image`"""

import rocks.commands

from ..._shared.image_check import MET, Finding, check_image, check_interfaces
from ..._shared.repository import copied_image, library_images, read_description
from ..._shared.site import read_settings

RollName = "pragma"


class Command(rocks.commands.Command):
    """
    Compare a cluster image of the repository with PRAGMA's rules: a raw disk, whose first partition has the root file
    system, without LVM and RAID; cloud-init or an agent; two interfaces of a frontend, and one of a compute.

    Exit status 1 when a rule is broken, or cannot be checked. Images that are not in the library are added to it. A
    copy of each is made meanwhile beside the repository.

    <arg type='string' name='vc' of='none'>
    Name of the cluster image (rocks pragma list repository).
    </arg>

    <example cmd='pragma check image dock6'>
    A row for each rule.
    </example>
    <example cmd='pragma check image dock6 json=yes'>
    The same for a program.
    </example>
    <related>pragma list repository</related>
    <related>pragma boot</related>
    """

    NoDryRun = "it only reads images, after adding them to the library"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a row for each rule and node."""
        if len(args) != 1:
            self.abort("must supply the name of one cluster image (rocks pragma list repository)")
        settings = read_settings(self)
        described, file = read_description(settings, args[0])
        images = library_images(self, settings, args[0], described, file)
        findings: dict[str, list[Finding]] = {}
        nodes = [("frontend", described.frontend, images.frontend)]
        if described.compute is not None:
            nodes.append(("compute", described.compute, images.compute))
        self.db.commit()
        for kind, node, image in nodes:
            with copied_image(self, settings, image) as copy:
                findings[kind] = [check_interfaces(node, kind == "frontend"), *check_image(copy)]
        self.beginOutput()
        for kind, found in findings.items():
            for one in found:
                self.addOutput(kind, one)
        self.endOutput(header=("node", "rule", "state", "seen"), trimOwner=False)
        if any(one.state != MET for found in findings.values() for one in found):
            self.exit_status = 1
