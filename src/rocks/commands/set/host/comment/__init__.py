"""`rocks set host comment`"""

from rocks.commands._shared.setters import HostSetter
from rocks.inventory.hosts import set_comment


class Command(HostSetter):
    """
    Set the comment of hosts, their attribute comment: rocks list host attr shows it.

    <shared command='set host rack' names='host'/>
    <arg type='string' name='comment'>
    One line, in quotes if it contains blanks; NULL removes the comment. Alternative form: comment=COMMENT.
    </arg>

    <example cmd='set host comment compute-0-0 "memory replaced in May"'>
    One host.
    </example>
    <example cmd='set host comment compute "to be replaced in May"'>
    All computes.
    </example>

    <related>list host attr</related>
    """

    argument = "comment"
    apply = set_comment
