"""`rocks set sec_attr`"""

from rocks.commands._shared.secrets import SecretSetter


class Command(SecretSetter):
    """
    Set a secret attribute of all hosts, such as the password of a power switch. Only root can read it. The
    value comes from standard input, where a terminal does not show it, or from a file: other users see command
    lines, and the system log records them. A secret attribute of a host takes precedence.

    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>
    <param type='string' name='file' default='standard input' of='file'>
    File with the value, which only its owner may read (mode 0600).
    </param>

    <example cmd='set sec_attr ipmi_password file=/root/secret'>
    The value is the content of the file.
    </example>
    <example cmd='set sec_attr ipmi_password'>
    The value is read from standard input, on a terminal without being printed.
    </example>

    <related>list sec_attr</related>
    <related>remove sec_attr</related>
    <related>set host sec_attr</related>
    """

    is_of_hosts = False
