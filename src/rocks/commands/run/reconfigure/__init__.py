"""`rocks run reconfigure`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    Print the script that follows changed attributes on this frontend: the tags configure of its nodes whose phase is
    reconfigure. In them, the entity NAME_old is the value before the last rocks set attr. The script is run by
    rocks run reconfigure | bash, and the old values are removed by rocks run reconfigure clear=yes.

    <arg optional='1' type='string' name='roll' repeat='1' default='all'>
    Only nodes of these rolls.
    </arg>
    <param type='bool' name='clear' default='no'>
    Print nothing, and remove the old values of all attributes: those whose name ends with _old.
    </param>
    <param type='bool' name='showattr' default='no'>
    Print the attributes of this frontend that have an old value instead of the script.
    </param>

    <example cmd='run reconfigure'>
    Print the script.
    </example>
    <example cmd='run reconfigure clear=yes'>
    Remove the old values.
    </example>

    <related>set attr</related>
    <related>run roll</related>
    """

    NoDryRun = "it changes no host: it prints a script"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the script or the changes, or remove the old values."""
        if self.fillFlag("clear"):
            from rocks.inventory.attributes.records import delete_old_values

            delete_old_values(self.db)
            return
        from rocks.install.profile_sync import changed_attributes, reconfigure_script

        host = self.getOneHostname(["localhost"])
        if self.fillFlag("showattr"):
            header = ("attr", "old value", "value")
            self.addTable(header, changed_attributes(self.db, host), trimOwner=False)
            return
        self.addText(reconfigure_script(self.db, host, args))
