"""`rocks list host xml`"""

import rocks.commands
from rocks.commands._shared.node_documents import document_options


class Command(rocks.commands.Command):
    """
    List the nodes of hosts as XML documents, with the attributes of each host. A host needs an address on the
    network private. An entity without a value is an error.

    <arg optional='1' type='string' name='host' repeat='1' default='all'>
    Hosts.
    </arg>
    <shared command='list node xml' names='roll,eval,missing-check'/>
    <param type='bool' name='entity-check' default='yes'>
    End with an error if an entity has no value; with no, it is an empty text.
    </param>
    <shared command='list node xml' names='gen,basedir'/>

    <example cmd='list host xml compute-0-0'>
    The document of one host.
    </example>
    <example cmd='list host xml compute-0-0 roll=kvm'>
    Only its nodes of the roll kvm.
    </example>

    <related>list host profile</related>
    <related>list host graph</related>
    <related>list node xml</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the documents."""
        from rocks.install.node_documents import host_documents

        options = document_options(self, is_strict=True)
        for document in host_documents(self.db, self.getHostnames(args), options):
            self.addText(document)
