"""Any text in the parameters of host records: stored and dumped as it is, or refused without a change."""

import shlex

import pytest

from tests.system.commands.conftest import Site
from tests.system.commands.test_generated_input import NASTY

pytestmark = pytest.mark.slow

TEMPLATES = (
    ("add", "distribution", "distribution=TEXT"),
    ("remove", "distribution", "TEXT"),
    ("remove", "bootaction", "TEXT"),
    ("set", "host", "comment", "vmc-0-0", "comment=TEXT"),
    ("set", "host", "bootflags", "vmc-0-0", "flags=TEXT"),
    ("remove", "host", "boot", "TEXT"),
    ("add", "host", "key", "vmc-0-0", "key=TEXT"),
    ("remove", "host", "key", "vmc-0-0", "id=TEXT"),
    ("add", "host", "roll", "head", "TEXT"),
    ("set", "host", "roll", "head", "kvm", "version=TEXT"),
    ("remove", "host", "roll", "head", "kvm", "arch=TEXT"),
    ("add", "host", "partition", "vmc-0-0", "device=TEXT"),
    ("add", "host", "partition", "vmc-0-0", "mountpoint=TEXT", "formatflags=TEXT"),
    ("remove", "host", "partition", "vmc-0-0", "partition=TEXT"),
    ("set", "host", "interface", "disablekvm", "vmc-0-0", "iface=TEXT", "disablekvm=yes"),
    ("set", "host", "power", "vmc-0-0", "action=TEXT"),
    ("run", "reconfigure", "TEXT"),
)


@pytest.mark.parametrize("template", TEMPLATES, ids=" ".join)
def test_stored_or_refused(vm_site: Site, template: tuple[str, ...]) -> None:
    vm_site.done("set attr Kickstart_PrivateHostname head")
    for text in NASTY:
        before = vm_site.contents()
        ended = vm_site.rocks(*(argument.replace("TEXT", text) for argument in template))
        assert ended.status in (0, 1), (text, ended)
        assert "Traceback" not in ended.err and "has a fault" not in ended.err, (text, ended)
        assert not any(character in ended.err for character in "\x1b\x85\u2028\u202e"), (text, ended)
        if ended.status:
            assert vm_site.contents() == before, (text, ended)
    for line in vm_site.done("dump").splitlines():
        assert line.isprintable(), line


def test_a_comment_is_one_shell_argument(vm_site: Site) -> None:
    vm_site.done("set host comment vmc-0-0", 'comment=it\'s $(id) "x" `y` \\ ; & | < > ( ) * ? [a] #')
    (line,) = [line for line in vm_site.done("dump host attr vmc-0-0").splitlines() if " comment " in line]
    assert shlex.split(line)[-1] == 'it\'s $(id) "x" `y` \\ ; & | < > ( ) * ? [a] #'
