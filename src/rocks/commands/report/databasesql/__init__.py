"""`rocks report databasesql`"""

import rocks.commands
from rocks.database.ddl import component_sql


class Command(rocks.commands.Command):
    """
    Report the SQL that makes the tables and views of a component, and its first rows, in an empty database. No database
    is needed. A site's own database is made and kept up to date by rocks update database, not by this text.

    <arg type='string' name='component' values='base,kvm'>
    base: what every cluster has; kvm: what this roll adds to it. Alternative form: component=NAME.
    </arg>
    <param type='bool' name='droptable' default='no'>
    yes: statements that remove the component's tables, with all that is in them, come first.
    </param>

    <example cmd='report databasesql kvm'>
    The tables of this roll.
    </example>
    <example cmd='report databasesql kvm droptable=yes'>
    With statements that remove the tables first.
    </example>

    <related>update database</related>
    <related>report database</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the text."""
        _, component = self.fillArgument("component")
        if not component:
            self.abort("must supply a component")
        self.addText(component_sql(component, self.fillFlag("droptable")))
