"""`rocks list host installfile`"""

import rocks.commands
from rocks.commands._shared.node_documents import document_options
from rocks.commands._shared.piped_input import piped_text


class Command(rocks.commands.Command):
    """
    List the file for a host's installer: one section of the profile, without XML. Without a host, the profile is read
    from the standard input, and no database is needed.

    <arg optional='1' type='string' name='host' default='the profile in the standard input'>
    One host.
    </arg>
    <param type='string' name='section' optional='0' values='kickstart,preseed,order'>
    kickstart (RHEL 8 and 9), preseed (Debian 12), or order (the list of nodes).
    </param>
    <param type='string' name='basedir' default="the installed rolls and the site's own files in /etc/rocks"
          of='folder'>
    Folder with graphs, nodes, site-graphs, site-nodes and include for the named host.
    </param>

    <example cmd='list host installfile compute-0-0 section=kickstart'>
    The kickstart file of a host. The profile may also be piped: rocks list host profile compute-0-0 | rocks list host
    installfile section=kickstart
    </example>
    <example cmd='list host installfile compute-0-0 section=preseed'>
    The answers for the installer of Debian.
    </example>

    <related>list host profile</related>
    <related>list host xml</related>
    """

    MustBeRoot = 1

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the file."""
        from rocks.install.node_documents import host_documents, installer_file, profile_of_document

        section = self.fillText("section")
        if not section:
            self.abort("must supply a section: section=kickstart, preseed or order")
        if args:
            options = document_options(self, is_strict=True)
            (document,) = host_documents(self.db, [self.getOneHostname(args)], options)
            profile = profile_of_document(document)
        else:
            profile = piped_text("the output of rocks list host profile HOST, or the name of a host")
        self.addText(installer_file(profile, section))
