"""`rocks list appliance xml`"""

import rocks.commands
from rocks.commands._shared.node_documents import document_options


class Command(rocks.commands.Command):
    """
    List the nodes of an appliance as one XML document, with the attributes of the site and the appliance.

    <arg type='string' name='appliance' repeat='1'>
    Appliances; % is a wildcard.
    </arg>
    <param type='string' name='roll'>
    Only nodes of these rolls, separated by commas; default: all.
    </param>
    <param type='bool' name='eval'>
    Run the programs of the tags eval; with no, each is an empty text. Default: yes.
    </param>
    <param type='bool' name='missing-check'>
    End with an error if a node of the graph has no file; with no, it is left out. Default: yes.
    </param>
    <param type='bool' name='entity-check'>
    End with an error if an entity has no value; with no, it is an empty text. Default: no.
    </param>
    <param type='string' name='gen'>
    Kind of document, for order rules with gen. Default: kgen.
    </param>
    <param type='string' name='basedir'>
    Folder with graphs, nodes, site-graphs, site-nodes and include; default: the installed rolls and the site's own
    files in /etc/rocks.
    </param>

    <example cmd='list appliance xml compute'>
    The document of the appliance compute.
    </example>

    <related>list node xml</related>
    <related>list host xml</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the documents."""
        from rocks.actions.node_documents import appliance_document

        options = document_options(self, is_strict=False)
        if not args:
            self.abort("must supply an appliance; see rocks list appliance")
        for name in self.getApplianceNames(args):
            self.addText(appliance_document(self.db, name, options))
