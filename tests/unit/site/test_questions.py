"""The answers that make a frontend, and what is wrong with them."""

import contextlib

import pytest

from rocks.core.errors import UserError
from rocks.site.questions import QUESTIONS, SiteInterface, read_answers, read_answers_text

PRIVATE = {
    "Kickstart_PrivateHostname": "head",
    "Kickstart_PrivateInterface": "eth0",
    "Kickstart_PrivateAddress": "10.1.1.1",
    "Kickstart_PrivateNetmask": "255.255.0.0",
}
PUBLIC = {
    "Kickstart_PublicInterface": "eth1",
    "Kickstart_PublicAddress": "203.0.113.2",
    "Kickstart_PublicNetmask": "255.255.255.0",
    "Kickstart_PublicGateway": "203.0.113.1",
    "Kickstart_PublicDNSServers": "192.0.2.53, 192.0.2.54",
    "Kickstart_PublicDNSDomain": "example.org",
}


def test_a_site_with_both_networks() -> None:
    plan = read_answers(PRIVATE | PUBLIC)
    assert plan.frontend == "head"
    assert [(one.name, one.subnet, one.netmask, one.dns_zone) for one in plan.networks] == [
        ("private", "10.1.0.0", "255.255.0.0", "local"),
        ("public", "203.0.113.0", "255.255.255.0", "example.org"),
    ]
    assert plan.interfaces == (
        SiteInterface("eth0", "10.1.1.1", "private"),
        SiteInterface("eth1", "203.0.113.2", "public"),
    )
    assert plan.attributes["Kickstart_PrivateNetwork"] == "10.1.0.0"
    assert plan.attributes["Kickstart_PrivateKickstartHost"] == "10.1.1.1"
    assert plan.attributes["vm_mac_base_addr"] == "02:71:00:80:00:00", "of the public address"


def test_a_site_without_a_public_network() -> None:
    plan = read_answers(PRIVATE | dict.fromkeys(PUBLIC, ""))
    assert [network.name for network in plan.networks] == ["private"]
    assert not [name for name in plan.attributes if "Public" in name]
    assert plan.attributes["vm_mac_base_addr"] == "02:01:01:40:00:00", "of the private address"


def test_every_error_is_listed_at_once() -> None:
    answers = {
        "Kickstart_PrivateHostname": "head node",
        "Kickstart_PrivateAddress": "10.1.1",
        "Kickstart_PrivateNetmask": "255.0.255.0",
        "Kickstart_PublicGateway": "x",
        "Kickstart_PublicAdress": "203.0.113.2",
    }
    with pytest.raises(UserError) as caught:
        read_answers(answers)
    for part in (
        "Kickstart_PrivateHostname: ",
        "Kickstart_PrivateInterface is missing",
        "Kickstart_PrivateAddress: ",
        "Kickstart_PrivateNetmask: ",
        "Kickstart_PublicInterface is missing",
        "Kickstart_PublicAddress is missing",
        "Kickstart_PublicNetmask is missing",
        "Kickstart_PublicGateway: ",
        "Kickstart_PublicAdress is not a question",
    ):
        assert part in str(caught.value), part


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"Kickstart_PrivateAddress": "10.1.0.0"}, "is not an address of a host in 10.1.0.0/16"),
        ({"Kickstart_PrivateAddress": "10.1.255.255"}, "is not an address of a host in 10.1.0.0/16"),
        ({"Kickstart_PublicGateway": "192.0.2.1"}, "is outside of the public network 203.0.113.0/24"),
        ({"Kickstart_PublicInterface": "eth0"}, "both networks have the device eth0"),
        ({"Kickstart_PublicAddress": "10.1.2.3", "Kickstart_PublicGateway": ""}, "overlap"),
        ({"Kickstart_PublicDNSServers": "192.0.2.53,one.example.org"}, "Kickstart_PublicDNSServers: "),
        ({"Kickstart_PrivateInterface": "eth0; reboot"}, "Kickstart_PrivateInterface: "),
    ],
)
def test_answers_that_do_not_fit_each_other(changed: dict[str, str], what: str) -> None:
    with pytest.raises(UserError) as caught:
        read_answers(PRIVATE | PUBLIC | changed)
    assert what in str(caught.value)


@pytest.mark.parametrize("value", ["x" * 5000, "\n", "\x1b[2J", "\ud800", "256;1", "-", "10.1.1.1/16"])
def test_no_value_is_worse_than_an_error(value: str) -> None:
    accepted = []
    for question in QUESTIONS:
        with contextlib.suppress(UserError):
            read_answers(PRIVATE | PUBLIC | {question.name: value})
            accepted.append(question.name)
    assert accepted == []


def _text(answers: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in answers.items())


def test_a_file_of_answers_is_read_as_its_answers() -> None:
    """Comments, blanks, Windows' line ends and a byte order mark do not count."""
    text = "\ufeff# the site\r\n\n" + _text(PRIVATE | PUBLIC).replace(" = ", "=\t").replace("\n", " \r\n")
    assert read_answers_text(text) == read_answers(PRIVATE | PUBLIC)


def test_every_error_of_a_file_is_listed_with_its_line() -> None:
    text = (
        "# a comment\n"
        "Kickstart_PrivateHostname = head node\n"
        "Kickstart_PrivateAdress = 10.1.1.1\n"
        "what is this\n"
        "Kickstart_PrivateNetmask = 255.0.255.0\n"
        "Kickstart_PrivateNetmask = 255.0.0.0\n"
        "Kickstart_PrivateInterface = eth\x1b0\n"
        "[section]\n"
        " = x\n"
        "Kickstart_PublicAddress = 203.0.113.2\n"
    )
    with pytest.raises(UserError) as caught:
        read_answers_text(text)
    problems = str(caught.value).split("; line ")
    assert [one.removeprefix("line ")[:2] for one in problems] == [
        "2:",
        "3:",
        "4:",
        "5:",
        "6:",
        "7:",
        "8:",
        "9:",
    ]
    for part in (
        "line 2: Kickstart_PrivateHostname: ",
        "line 3: Kickstart_PrivateAdress is not a question; did you mean Kickstart_PrivateAddress",
        "line 4: what is this is not NAME = VALUE",
        "line 5: Kickstart_PrivateNetmask: ",
        "line 6: Kickstart_PrivateNetmask is given again, as in line 5",
        "line 7: Kickstart_PrivateInterface has characters that cannot be printed",
        "line 8: [section] is not NAME = VALUE",
        "line 9: nothing is not a question",
        "; Kickstart_PublicInterface is missing",
        "; Kickstart_PrivateAddress is missing",
    ):
        assert part in str(caught.value), part
    assert "Kickstart_PrivateInterface is missing" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "\x00", "x\n" * 30000, "= \n" * 20000, "\u202e=\u202e", "a" * 60000, "[" * 9]
)
def test_a_file_of_something_else_is_an_error(text: str) -> None:
    with pytest.raises(UserError) as caught:
        read_answers_text(text)
    assert "\x00" not in str(caught.value) and "\u202e" not in str(caught.value)
    assert len(str(caught.value)) < 20000


def test_only_the_name_that_a_line_gives_is_no_longer_missing() -> None:
    """Another name that begins with it is not it; a line without = gives its first word."""
    with pytest.raises(UserError) as caught:
        read_answers_text("Kickstart_PrivateHostname of = head\nKickstart_PrivateInterface eth0\n")
    text = str(caught.value)
    assert "Kickstart_PrivateHostname is missing" in text
    assert "Kickstart_PrivateInterface is missing" not in text


def test_an_answer_for_the_installer_is_checked_without_showing_a_password() -> None:
    text = _text(PRIVATE) + (
        "install_partitions = boot:1:ext4:/boot root:rest:ext4:/\n"
        "install_root_password = short\n"
        "install_timezone = Mars base\n"
    )
    with pytest.raises(UserError) as caught:
        read_answers_text(text)
    assert str(caught.value) == (
        "line 5: install_partitions: /boot must be on the partition of /; "
        "line 6: install_root_password: it must be at least 8 characters; "
        "line 7: install_timezone: it must be a time zone such as Europe/Berlin"
    )
