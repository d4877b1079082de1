"""Names: what may be one, and that nothing else ever is."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core import names
from rocks.core.errors import UserError

CHECKS: tuple[Callable[[str], None], ...] = (
    names.check_host_name,
    names.check_alias,
    names.check_interface_name,
    names.check_device,
    names.check_network_name,
    names.check_appliance_name,
    names.check_membership_name,
    names.check_boot_action_name,
    names.check_attribute_name,
    lambda text: names.check_plain_name("word", text),
)


def allowed(check: Callable[[str], None], text: str) -> bool:
    """Whether the check lets the text pass; its error must be one line."""
    try:
        check(text)
    except UserError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 400
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
@given(text=st.one_of(st.text(), st.text(alphabet="aZ09-_.:/ +'\"<&\n\\", max_size=20)))
def test_a_name_needs_no_quoting_anywhere(check: Callable[[str], None], text: str) -> None:
    if allowed(check, text):
        assert re.fullmatch(r"[A-Za-z0-9_.:/ +-]{1,128}", text, re.ASCII)
        assert text == text.strip()
        assert not text.startswith("-")


@pytest.mark.parametrize(
    "name",
    [
        "compute-0-0",
        "vm-container-0-0",
        "a",
        "0",
        "node_1",
        "A" * 63,
        "vm",
        "attr",
        "xn--bcher-kva",
        "rac",
        "crack0",
    ],
)
def test_host_names(name: str) -> None:
    names.check_host_name(name, {"compute", "vm-container"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.b", "Hostname a.b can not contains any dot."),
        ("rack0", "Hostname rack0 can not be in the form of rack<number>."),
        ("RacK17", "Hostname RacK17 can not be in the form of rack<number>."),
        ("rack", "a name that begins with rack always selects a rack"),
        ("rackets", "a name that begins with rack always selects a rack"),
        ("Compute", "Hostname Compute can not be equal to an appliance name."),
        ("", "must be 1 to 63 characters"),
        ("a" * 64, "must be 1 to 63 characters"),
        ("-a", "must be 1 to 63 characters"),
        ("a-", "must be 1 to 63 characters"),
        ("a b", "must be 1 to 63 characters"),
        ("a\n", "must be 1 to 63 characters"),
        ("é", "must be 1 to 63 characters"),
        ("select", "has another meaning"),
        ("LocalHost", "has another meaning"),
        ("help", "has another meaning"),
    ],
)
def test_invalid_host_names(name: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        names.check_host_name(name, {"compute"})


@pytest.mark.parametrize(
    "name", ["eth0", "ib0.8001", "eth0:1", "enp3s0f0np0", "vlan4094", "bond0", "br-lan", "peth0.4"]
)
def test_devices(name: str) -> None:
    names.check_device(name)


@pytest.mark.parametrize(
    "name", ["", "0eth", "eth 0", "eth/0", "a" * 16, "eth0:", "eth0:x", "..", "null", "NONE"]
)
def test_invalid_device_names(name: str) -> None:
    with pytest.raises(UserError, match="interface"):
        names.check_device(name)


@pytest.mark.parametrize("name", ["www", "www.example.org", "c0-0", "a" * 32, "4u"])
def test_aliases(name: str) -> None:
    names.check_alias(name, {"compute"})


@pytest.mark.parametrize(
    "name", ["10.1.0.1", "1", "a.1", "a..b", ".a", "a.", "a" * 33, "rack1", "compute", "localhost"]
)
def test_invalid_aliases(name: str) -> None:
    with pytest.raises(UserError, match="alias"):
        names.check_alias(name, {"compute"})


@pytest.mark.parametrize("name", ["VM Container", "Power Distribution Unit", "C++", "a"])
def test_memberships(name: str) -> None:
    names.check_membership_name(name)


@pytest.mark.parametrize("name", ["install vm frontend", "os", "memtest86+"])
def test_boot_actions(name: str) -> None:
    names.check_boot_action_name(name)


@pytest.mark.parametrize("name", ["none", "None", "null", "a;b", " os", "a" * 65])
def test_invalid_boot_actions(name: str) -> None:
    with pytest.raises(UserError, match="action"):
        names.check_boot_action_name(name)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("compute-0-1", ("compute", 0, 1)),
        ("vm-container-12-7", ("vm-container", 12, 7)),
        ("compute-0-1-0", ("compute-0", 1, 0)),
        ("compute-0", None),
        ("compute-0-x", None),
        ("-0-0", None),
        ("compute-0-1234567890", None),
        ("compute-٣-0", None),
    ],
)
def test_places(name: str, place: tuple[str, int, int] | None) -> None:
    assert names.parse_place(name) == place


def test_a_percent_sign_stands_for_any_text() -> None:
    """And nothing else does; case is ignored, as in SQL."""
    for pattern in ("pragma", "PRAG%", "%", "%rag%", "p%a", "%a%a%"):
        assert names.is_like("pragma", pattern)
    for pattern in ("", "prag", "%x%", "p.agma", "prag_a", "ragma%", "a%"):
        assert not names.is_like("pragma", pattern)


@given(st.text())
def test_printable_text_is_one_short_line(text: str) -> None:
    displayed = names.printable(text)
    assert len(displayed) <= names.PRINTABLE_LONGEST
    assert displayed.isprintable()
    assert text != displayed or "\x1b" not in text


def test_printable_reports_omitted_text() -> None:
    assert names.printable("a\nb\x1b[0m") == "a\\nb\\x1b[0m"
    assert names.printable("a" * 81) == "a" * 79 + "…"
