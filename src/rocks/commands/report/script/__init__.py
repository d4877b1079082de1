"""`rocks report script`"""

import rocks.commands
from rocks.commands._shared.piped_input import piped_text


class Command(rocks.commands.Command):
    """
    Report the text in the standard input, in which tags file describe files, as one bash script that writes these
    files and executes the rest. In another shell, such as Debian's sh, it prints an error and ends.
    No database is needed.

    <shared command='report post' names='os,arch'/>
    <param type='string' name='attrs' default='none' of='file'>
    Attributes, which are entities in the text: a dictionary, or the path of a file with lines of name:value.
    </param>

    <example cmd='report script'>
    As in: echo '&lt;file name="/etc/motd"&gt;Welcome&lt;/file&gt;' | rocks report script | bash
    </example>
    <example cmd='report script os=linux arch=x86_64'>
    For another architecture than this machine's.
    </example>

    <related>report post</related>
    <related>report host attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the script."""
        from rocks.install.node_documents import file_script, given_attributes

        attributes = given_attributes(*(self.fillText(name, "") for name in ("os", "arch", "attrs")))
        self.addText(file_script(piped_text("a text with tags <file>"), attributes))
