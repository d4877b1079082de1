"""`rocks list host profile`"""

import rocks.commands
from rocks.commands._shared.node_documents import document_options
from rocks.commands._shared.piped_input import is_piped, piped_text


class Command(rocks.commands.Command):
    """
    List the XML profile of hosts, with the whole file for the installer in a section: kickstart for RHEL 8 and 9, or
    preseed for Debian 12 where the attribute packaging is deb. Without a host, the document of nodes is read from the
    standard input, and no database is needed; if the standard input is a terminal, all hosts are listed.

    <arg optional='1' type='string' name='host' repeat='1' default='the document in the standard input, or on a
          terminal all hosts'>
    Hosts.
    </arg>
    <param type='string' name='basedir' default="the installed rolls and the site's own files in /etc/rocks"
          of='folder'>
    Folder with graphs, nodes, site-graphs, site-nodes and include for the named hosts.
    </param>

    <example cmd='list host profile compute-0-0'>
    The profile of one host. The document of a host may also be piped: rocks list host xml compute-0-0 | rocks list
    host profile
    </example>
    <example cmd='list host profile compute-0-0 basedir=/root/roll-hello'>
    With the node files of a roll that is being written.
    </example>

    <related>list host xml</related>
    <related>list host installfile</related>
    <related>report host profile</related>
    """

    MustBeRoot = 1

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the profiles."""
        from rocks.install.node_documents import host_documents, profile_of_document

        if not args and is_piped():
            self.addText(profile_of_document(piped_text("the output of rocks list host xml HOST")))
            return
        options = document_options(self, is_strict=True)
        for document in host_documents(self.db, self.getHostnames(args), options):
            self.addText(profile_of_document(document))
