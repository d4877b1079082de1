"""`rocks report post`"""

import rocks.commands
from rocks.commands._shared.piped_input import piped_text


class Command(rocks.commands.Command):
    """
    Report the sections post and configure of the node documents in the standard input as one bash script, without
    packages. Documents are node files or the output of rocks list node xml, one after the other. The tags eval,
    include and copy in them are processed. No database is needed.

    <param type='string' name='os' default='linux'>
    Operating system, for the attributes os of tags.
    </param>
    <param type='string' name='arch' default='that of this machine'>
    Architecture, for the attributes arch of tags.
    </param>
    <param type='string' name='attrs' default='none' of='file'>
    Attributes, which are entities in the documents: a dictionary, or the path of a file with lines of name:value.
    </param>

    <example cmd='report post'>
    As in: rocks list node xml client | rocks report post
    </example>
    <example cmd="report post attrs=/root/compute.attrs">
    With attributes of a host: rocks report post attrs=/root/compute.attrs &lt; site.xml
    </example>

    <related>list node xml</related>
    <related>report script</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the script."""
        from rocks.install.node_documents import given_attributes, post_script

        attributes = given_attributes(*(self.fillText(name, "") for name in ("os", "arch", "attrs")))
        self.addText(
            post_script(piped_text("the output of rocks list node xml NODE, or a node file"), attributes)
        )
