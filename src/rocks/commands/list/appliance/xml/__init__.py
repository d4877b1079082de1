"""`rocks list appliance xml`"""

import rocks.commands
from rocks.commands._shared.node_documents import document_options


class Command(rocks.commands.Command):
    """
    List the nodes of an appliance as one XML document, with the attributes of the site and the appliance.

    <arg type='string' name='appliance' repeat='1'>
    Appliances; % is a wildcard.
    </arg>
    <shared command='list node xml' names='roll,eval,missing-check,entity-check,gen,basedir'/>

    <example cmd='list appliance xml compute'>
    The document of the appliance compute.
    </example>
    <example cmd='list appliance xml compute eval=no'>
    Without running the scripts of the node files.
    </example>

    <related>list node xml</related>
    <related>list host xml</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the documents."""
        from rocks.install.node_documents import appliance_document

        options = document_options(self, is_strict=False)
        if not args:
            self.abort("must supply an appliance; see rocks list appliance")
        for name in self.getApplianceNames(args):
            self.addText(appliance_document(self.db, name, options))
