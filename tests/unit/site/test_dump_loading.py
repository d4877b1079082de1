"""The lines of a dump are read as a shell reads them, and only those of the site are taken over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocks.commands._framework.tree import OUR_TREE, longest_prefix
from rocks.core.errors import UserError
from rocks.core.process import run
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.rules import PROGRAMS
from rocks.site import dump_loading
from rocks.site.dump_loading import (
    FORMS,
    DumpLine,
    Stated,
    check_changes_nothing,
    check_stated_once,
    command_texts,
    is_of_new_frontend,
    plan_line,
    read_lines,
    sole_values,
    what_is_stated,
)
from tests.generated import examples
from tests.rocks_dump import quoted

TEXTS = st.text(st.sampled_from("ab1 \t\n'\"\\$`;&|<>()*?[~#=%!{}é"), min_size=1, max_size=12)


def words_of_sh(line: str) -> tuple[str, ...]:
    """The words as a POSIX shell hands them to a program."""
    done = run(["sh", "-c", f"printf '%s\\0' {line}"], deadline_seconds=60)
    assert done.exit_status == 0, done.error_text
    return tuple(done.text.split("\0")[:-1])


def in_double_quotes(text: str) -> str:
    return '"' + "".join(f"\\{c}" if c in '"\\$`' else c for c in text) + '"'


def in_single_quotes(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def after_backslashes(text: str) -> str:
    return "".join("'\n'" if c == "\n" else quoted(c) for c in text)


LINE_FORMS = st.sampled_from([in_double_quotes, in_single_quotes, after_backslashes])


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.tuples(TEXTS, LINE_FORMS), min_size=1, max_size=8))
def test_quoted_words_are_those_of_a_shell(given_texts: list[tuple[str, object]]) -> None:
    line = " ".join(form(text) for text, form in given_texts)  # type: ignore[operator]
    (read,) = read_lines(line)
    assert read.fault == ""
    assert read.texts == words_of_sh(line) == tuple(text for text, _ in given_texts)


def test_comments_blank_lines_and_joined_lines() -> None:
    text = "# a comment; with 'a quote\n\nrocks a \\\n  b#c d~\n  # another\nrocks 'two\nlines'\nrocks e\n"
    assert list(read_lines(text)) == [
        DumpLine(3, ("rocks", "a", "b#c", "d~")),
        DumpLine(6, ("rocks", "two\nlines")),
        DumpLine(8, ("rocks", "e")),
    ]


@pytest.mark.parametrize(
    "tail",
    ["; rm -rf /", "$(id)", "`id`", '"$(id)"', '"`id`"', "$HOME", "| sh", "& id", ">/etc/passwd", "*", "~"],
)
def test_what_needs_a_shell_is_a_fault_of_its_line_alone(tail: str) -> None:
    first, second = read_lines(f"rocks add attr a {tail}\nrocks add attr b c\n")
    assert "needs a shell" in first.fault and second == DumpLine(2, ("rocks", "add", "attr", "b", "c"))
    with pytest.raises(UserError, match="needs a shell"):
        command_texts(first)


@pytest.mark.parametrize("text", ["rocks add attr a 'b\n", 'rocks x\nrocks "', "rocks a\\"])
def test_a_text_that_ends_inside_quotes_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="never closed"):
        list(read_lines(text))


def test_the_program_and_two_in_one() -> None:
    assert command_texts(DumpLine(1, ("/opt/rocks/bin/rocks", "add host", "vm"))) == ("add", "host", "vm")
    for texts in (("reboot",), ("rocks",), ("/bin/notrocks", "add"), ("rocks", " ")):
        with pytest.raises(UserError, match="no command of rocks"):
            command_texts(DumpLine(1, texts))


def test_lines_of_other_systems_end_alike() -> None:
    """A file that another program converted has CR in values, too; elsewhere a CR in a value stays."""
    text = "rocks add attr a 'b\nc'\n\n# note\nrocks add attr d \\\ne\n"
    assert list(read_lines(text.replace("\n", "\r\n"))) == list(read_lines(text))
    mixed = "rocks add attr a 'b\r\nc'\nrocks add attr d e\r\n"
    assert [line.texts[-1] for line in read_lines(mixed)] == ["b\r\nc", "e"]
    assert all(line.fault == "" for line in read_lines(mixed))


def test_a_word_of_many_pieces_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The word so far was copied for each escaped character: 400,000 of them took 12 s."""
    copied = 0

    class Piece(str):
        def __radd__(self, before: str) -> str:
            nonlocal copied
            copied += len(before)
            return Piece("".join((before, self)))

    unquoted = dump_loading._unquoted
    monkeypatch.setattr(dump_loading, "_unquoted", lambda piece: Piece(unquoted(piece)))
    (line,) = read_lines("rocks add attr a " + "\\b" * 1000)
    assert line.texts[-1] == "b" * 1000 and copied == 0


def test_the_line_of_a_frontend_is_that_of_a_host() -> None:
    """`rocks dump` has it for an empty database; no other line may begin so."""
    unless = r"/a\ b/rocks list host head >/dev/null 2>&1 || "
    added = r'/a\ b/rocks "add host" head cpus=1'
    assert list(read_lines(f"\n{unless}{added}\n")) == [
        DumpLine(2, ("/a b/rocks", "add host", "head", "cpus=1"))
    ]
    for line in (
        f"{unless}/bin/sh -c id",
        f"x; {unless}{added}",
        f"{unless}{added}; id",
        f"{unless}{unless}{added}",
    ):
        (read,) = read_lines(line)
        assert "needs a shell" in read.fault


# Which lines of a dump are taken over, and as what.


HOSTS = {"localhost", "compute-0-0", "vm"}


def plan(*texts: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    planned = plan_line(texts, lambda given: longest_prefix(given, [OUR_TREE]), HOSTS)
    return planned.path, planned.texts


def test_every_line_is_a_command_of_this_system() -> None:
    for name in FORMS:
        assert longest_prefix(name.split(), [OUR_TREE]) == len(name.split())


def test_a_value_that_looks_like_a_parameter_stays_a_value() -> None:
    assert plan("add", "attr", "batch", "key=value") == (("add", "attr"), ("attr=batch", "value=key=value"))
    assert plan("add", "host", "attr", "compute-0-0", "a", "b=c")[1] == ("compute-0-0", "attr=a", "value=b=c")
    assert plan("add", "host", "attr", "compute-0-0", "attr=a", "value=b")[1] == (
        "compute-0-0",
        "attr=a",
        "value=b",
    )
    assert plan("set", "host", "interface", "options", "compute-0-0", "eth0", "a=b")[1] == (
        *("compute-0-0", "eth0", "options=a=b"),
    )


def test_a_host_may_have_the_name_of_a_command() -> None:
    assert plan("set", "host", "boot", "vm", "action=os") == (("set", "host", "boot"), ("vm", "action=os"))
    assert plan("add", "host", "vm", "rack=0") == (("add", "host"), ("vm", "rack=0", "shared-place=yes"))


def test_a_mode_of_the_processor_without_xml_is_taken_over() -> None:
    planned = plan("add", "attr", "cpu_mode", "host-passthrough")
    assert planned == (("add", "attr"), ("attr=cpu_mode", "value=host-passthrough"))
    assert plan("add", "attr", "kvm_devices", "2")[1] == ("attr=kvm_devices", "value=2")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("add host attr % a b", "not here|pattern"),
        ("add appliance attr % a b", "pattern"),
        ("add host attr gone-0-0 a b", "gone-0-0 is not here"),
        ("add host attr host=compute-0-0 attr=a value=b", "its host is missing"),
        ("add host new=compute-0-0", "its new is missing"),
        ("set host vm vm physnode=gone-0-0", "gone-0-0 is not here"),
        ("add firewall host=gone-0-0 rulename=a", "gone-0-0 is not here"),
        ("add host key vm key=/etc/shadow", "no text of a public key"),
        ("add attr root_pw x", "is a secret"),
        (
            "add attr ib_opensm_reload /tmp/x",
            "runs as root: look at it, then rocks set attr ib_opensm_reload",
        ),
        (
            "add host attr vm power_command /tmp/x",
            "runs as root: look at it, then rocks set host sec_attr HOST",
        ),
        ("add os attr linux VM_Fence_Command_old x", "runs as root"),
        (
            "add host attr vm kvm_device_0 <disk/>",
            "files of their hosts: look at it, then rocks set host attr vm kvm_device_0 VALUE",
        ),
        ("add attr KVM_device_12_old <hostdev/>", "rocks set attr KVM_device_12_old VALUE"),
        ("add appliance attr compute HVM_Features <a/>", "rocks set appliance attr compute HVM_Features"),
        ("add attr cpu_mode custom:<model/>", "is XML for virtual machines"),
        ("add attr ib_partitions_file /etc/cron.d/x", "names a file that this system writes as root"),
        ("add attr rocks_version 7.0", "sets the attribute"),
        ("add attr a", "its value is missing"),
        ("add attr a b c", '"c" is unexpected'),
        ("add attr root_pw my geheim", r'^"\*\*\*" is unexpected'),
        ("remove host vm", "only adds"),
        ("run host vm reboot", "no part of a dump"),
        ("run reconfigure", "clear=1"),
        ("add sge queue", "no command"),
        ("add host roll vm kvm x", "unexpected"),
    ],
)
def test_what_is_not_taken_over_has_a_reason(line: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        plan(*line.split())


def test_each_attribute_that_names_a_program_is_known_as_one() -> None:
    assert {name for name, known in KNOWN.items() if known.meaning.startswith("program")} == set(PROGRAMS)


def states(number: int, line: str) -> Stated:
    planned = plan_line(line.split(), lambda given: longest_prefix(given, [OUR_TREE]), HOSTS)
    arguments = [text.lower() for text in planned.arguments]
    parameters = {name: value.replace(",", " ") for name, value in planned.parameters}
    return what_is_stated(number, planned.path, arguments, parameters)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("add attr a b", "add attr attr=a value=b", "it is the same as line 3"),
        (
            "add attr a b",
            "add attr A c",
            "line 3 states the same with another value, and counts: .* 3 or line 8",
        ),
        ("add host new-0-0 rack=1", "add host NEW-0-0", "another rack"),
        ("set host vm vm mem=1", "set host vm vm mem=2 slice=1", "another mem, and"),
        ("set host interface ip vm eth0 10.1.1.1", "set host interface ip vm eth0 10.1.1.2", "another ip"),
        (
            "set host interface disablekvm vm eth0 yes",
            "set host interface disablekvm vm eth0 no",
            "disablekvm",
        ),
        ("set host sriov vm eth0 4", "set host sriov vm eth0 8", "vfs"),
        ("add host alias vm v", "add host alias vm v", "the same as line 3"),
    ],
)
def test_a_line_that_stands_twice(first: str, second: str, reason: str) -> None:
    earlier, later = states(3, first), states(8, second)
    assert earlier.about == later.about
    with pytest.raises(UserError, match=reason):
        check_stated_once(later, [earlier])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("add attr a b", "add attr c b"),
        ("add attr a b", "add os attr linux a b"),
        ("add host alias vm v", "add host alias vm w"),
        ("set host vm vm mem=1", "set host vm vm slice=2"),
        ("add route 10.0.0.0 10.1.1.1 netmask=255.0.0.0", "add route 10.0.0.0 10.1.1.1 netmask=255.255.0.0"),
        ("set host interface ip vm eth0 10.1.1.1", "set host interface name vm eth0 vm"),
        ("add host partition vm device=sda1", "add host partition vm device=sda2"),
    ],
)
def test_lines_that_complete_each_other(first: str, second: str) -> None:
    earlier, later = states(1, first), states(2, second)
    if earlier.about == later.about:
        check_stated_once(later, [earlier])
    else:
        assert earlier.about[1:] != later.about[1:]


@pytest.mark.parametrize(
    ("here", "line", "reason"),
    [
        (
            "set host vm vm mem=3000 slice=1",
            "set host vm vm mem=1024 slice=1",
            "^mem is 3000 here and 1024 in the dump: ",
        ),
        ("set host interface mac vm eth0 mac=aa", "set host interface mac vm eth0 mac=bb", "mac is aa here"),
        ("set host boot vm action=os", "set host boot vm action=install", "action is os here and install in"),
        ("set host sriov vm eth0 4", "set host sriov vm eth0 8", "vfs is 4 here and 8 in the dump"),
        (
            "set host vm vm disksize=36,9",
            "set host vm vm disksize=0,8",
            "disksize is 36 9 here and 0 8 in the",
        ),
    ],
)
def test_a_value_of_this_site_stays(here: str, line: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        check_changes_nothing(states(8, line), [states(0, here)])


def test_what_this_site_lacks_or_has_in_other_letters_is_taken() -> None:
    check_changes_nothing(states(8, "set host vm vm mem=1024"), [])
    check_changes_nothing(states(8, "set host vm vm disksize=0"), [states(0, "set host vm vm disksize=36,9")])
    check_changes_nothing(states(8, "set host vm vm mem=1024"), [states(0, "set host vm vm slice=1")])
    check_changes_nothing(
        states(8, "set host interface mac vm eth0 mac=0A"),
        [states(0, "set host interface mac vm eth0 mac=0a")],
    )


def test_secrets_of_values_are_not_named() -> None:
    here, line = (f"set host bootflags vm flags=ks.password={value}" for value in ("geheim", "heimlich"))
    with pytest.raises(UserError) as refused:
        check_changes_nothing(states(8, line), [states(0, here)])
    assert str(refused.value).startswith("flags is ks.password=*** here and ks.password=*** in the dump: ")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("set host interface mac vm eth0 00:25:90:00:00:0A", [("mac", "00:25:90:00:00:0a")]),
        ("add host interface vm 00:25:90:00:00:0a", [("mac", "00:25:90:00:00:0a")]),
        ("add host interface vm eth0:1 ip=10.1.1.9", [("ip", "10.1.1.9")]),
        ("set host vm vm mem=1024 uuid=1-A", [("uuid", "1-a")]),
        ("set host interface name vm eth0 vm", []),
        ("add attr ip 10.1.1.9", []),
    ],
)
def test_what_only_one_host_can_have(line: str, values: list[tuple[str, str]]) -> None:
    planned = plan_line(line.split(), lambda given: longest_prefix(given, [OUR_TREE]), HOSTS)
    assert sole_values(planned) == values


@pytest.mark.parametrize(
    ("line", "is_new"),
    [
        ("set host runaction localhost action=os", True),
        ("set host runaction localhost action=memtest", False),
        ("set host installaction localhost action=install", True),
        ("set host installaction compute-0-0 action=install", False),
        ("set host boot localhost action=os", False),
        ("set host interface name localhost eth1 Head", True),
        ("set host interface name localhost eth1 head-public", False),
        ("set host interface ip localhost eth1 10.1.1.1", False),
        ("set host bootflags flags=quiet", False),
        ("add host attr localhost a b", False),
    ],
)
def test_what_each_new_frontend_has(line: str, *, is_new: bool) -> None:
    assert is_of_new_frontend(states(0, line), "head") is is_new
