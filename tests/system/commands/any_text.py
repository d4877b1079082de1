"""Any text of a command line: what is tried, and what must hold for a command that rejects it."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.generated import examples
from tests.system.commands.conftest import Ended, Site

NASTY = (
    *("", " ", "'", '"', "a'b", 'a"b', "<a>&amp;</a>]]>", "; rm -rf /", "'; DROP TABLE nodes; --"),
    *('"$(reboot)`reboot`"', '" OR ""="', "%s%(x)s{0}%", "select 1", "select Name from nodes where 1=1"),
    *("a\nb\r\n\tc", "a\r\nError: x", "\t", "\x1b[31m", "\x1b]0;x\x07", "\x7f", "\x85", "\u2028", "\u202e"),
    *("\ufeff", "é東\u2028\U0001f600", "ſ", "K", "İ", "os ", "ós", "private ", " private ", "prívate"),
    *("a" * 63, "a" * 64, "a" * 128, "a" * 129, "x" * 300, "é" * 256, "a" * 5000, "x" * 70_000),
    *("NULL", "null", "None", "none", "NaN", "yes", "help", "%", "_", "\\", "\\'", "\\%_"),
    *("*", "?", "~", "#"),
    *("/*", "..", "/etc/passwd", "../../etc/passwd", "file:/x,vda,virtio", "a b", "a=b", "=", "-", "--"),
    *("--help", ";", "&", "|", ",", ":", "a,b,,c", "None,None", "0.0.0.0/0", "::1", "10.1.0.0", "10.1.0.1"),
    *("10.1.0.256", "10.1.255.255", "010.1.0.1", "1.2.3", "255.255.255.0", "host.example.org"),
    *("0", "1", "-1", "-0", "+1", "007", "1.5", "1e3", "0x10", "1_000", " 1", "1 ", "٣", "４", "4095"),
    *("999999999", "4294967296", "9" * 30, "ff:ff:ff:ff:ff:ff", "00:11:22:33:44:66", "00:11:22:33:44:55"),
    *("a:b:c:d:e:f", "a:b:c:d:e:zz", ":::::", "00-11-22-33-44-55", "eth0", "eth1", "eth1:1", "eth1.100"),
    *("vlan3", "vlan7", "private", "PRIVATE", "public", "rack0", "compute", "Compute"),
    *("localhost", "head", "vc1", "compute-0-0", "COMPUTE-0-0", "compute-7-8"),
)

text = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    st.text("abz09.-_:/ %'", max_size=12),
)
"""Text of a command line: UTF-8 without NUL."""

generated = settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])


def run(site: Site, *arguments: str) -> Ended | None:
    """Run a command; None when it was rejected as it must be: with one line, and without a change."""
    before = site.contents()
    ended = site.rocks(*arguments)
    if ended.status == 0:
        warns = "cdrom" in arguments and ended.err.startswith("Warning: web will not start: its CD")
        assert ended.err == "" or (warns and len(ended.err.splitlines()) == 1), (arguments, ended)
        return ended
    lines = ended.err.splitlines()
    assert (ended.status, ended.out) == (1, ""), (arguments, ended)
    assert lines[0].startswith("Error: "), (arguments, ended)
    assert lines[1:] == [line for line in lines[1:] if line.startswith("rocks ")][:1], (arguments, ended)
    assert "has a fault" not in lines[0] and "database refused" not in lines[0], (arguments, ended)
    assert site.contents() == before, (arguments, ended)
    return None
