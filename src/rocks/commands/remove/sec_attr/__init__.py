"""`rocks remove sec_attr`"""

from rocks.commands._shared.secrets import SecretRemoval


class Command(SecretRemoval):
    """
    Remove a secret attribute of all hosts; those of single hosts remain. A missing attribute is not an error.

    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>

    <example cmd='remove sec_attr ipmi_password'>
    Remove it.
    </example>
    <example cmd='remove sec_attr root_pw'>
    Another secret.
    </example>

    <related>set sec_attr</related>
    <related>list sec_attr</related>
    """

    is_of_hosts = False
