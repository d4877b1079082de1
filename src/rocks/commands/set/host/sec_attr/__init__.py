"""`rocks set host sec_attr`"""

from rocks.commands._shared.secrets import SecretSetter


class Command(SecretSetter):
    """
    Set a secret attribute of hosts, such as the password of a power switch. Only root can read it. The value comes from
    standard input, where a terminal does not show it, or from a file: other users see command lines, and the
    system log records them.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>
    <param type='string' name='file' default='standard input' of='file'>
    File with the value, which only its owner may read (mode 0600).
    </param>

    <example cmd='set host sec_attr vm-container-0-0 vm_fence_command'>
    The command prompts for the value.
    </example>
    <example cmd='set host sec_attr vm-container-0-0 vm_fence_command file=/root/secret'>
    The value is read from a file.
    </example>

    <related>list host sec_attr</related>
    <related>remove host sec_attr</related>
    <related>set sec_attr</related>
    """

    is_of_hosts = True
