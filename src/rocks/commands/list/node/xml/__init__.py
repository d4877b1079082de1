"""`rocks list node xml`"""

import rocks.commands
from rocks.commands._shared.node_documents import document_options


class Command(rocks.commands.Command):
    """
    List a node of the kickstart graph and all nodes that it includes, in their order, as one XML document. The
    tags eval, include, copy and var are processed. The database is not used: attributes that attrs does not give
    are those of this machine.

    <arg type='string' name='node' of='node'>
    One node, usually the root of an appliance.
    </arg>
    <param type='string' name='attrs' default='none' of='file'>
    Attributes of a host: a dictionary such as that of rocks report host attr HOST pydict=true, or the path of a file
    with lines of name:value. A file that does not exist counts as empty.
    </param>
    <param type='string' name='roll' default='all'>
    Only nodes of these rolls, separated by commas.
    </param>
    <param type='bool' name='eval' default='yes'>
    Run the programs of the tags eval; with no, each is an empty text.
    </param>
    <param type='bool' name='missing-check' default='yes'>
    End with an error if a node of the graph has no file; with no, it is left out.
    </param>
    <param type='bool' name='entity-check' default='no'>
    End with an error if an entity has no value; with no, it is an empty text.
    </param>
    <param type='string' name='gen' default='kgen'>
    Kind of document, for order rules with gen.
    </param>
    <param type='string' name='basedir' default="the installed rolls and the site's own files in /etc/rocks"
          of='folder'>
    Folder with graphs, nodes, site-graphs, site-nodes and include.
    </param>

    <example cmd='list node xml client'>
    The document of the node client for a machine like this one.
    </example>
    <example cmd="list node xml client attrs=/root/compute.attrs">
    The same for the attributes in a file.
    </example>

    <related>list host xml</related>
    <related>list appliance xml</related>
    <related>list host profile</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the document."""
        from rocks.install.node_documents import node_document, read_attribute_text

        _, (node,) = self.requireArguments("node")
        attributes = read_attribute_text(self.fillText("attrs", ""))
        self.addText(node_document(node, attributes, document_options(self, is_strict=False)))
