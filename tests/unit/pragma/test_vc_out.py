"""vc-out.xml: one file for both generations, which strict readers of both accept."""

from ipaddress import IPv4Interface

import pytest

from pragma._shared.vc_out import (
    Common,
    Compute,
    ComputeFile,
    Frontend,
    FrontendFile,
    Interface,
    compute_text,
    frontend_text,
)
from rocks.core.errors import UserError
from tests.unit.pragma.strict_readers import generation_one, generation_two
from tests.unit.pragma.vc_out_reader import read_vc_out

KEY = "ssh-ed25519 AAAAC3Nz ann & bob <a@b> 100%\nssh-rsa AAAAB3 two ]]> é"
COMMON = Common(("203.0.113.53", "203.0.113.54"), KEY)
PRIVATE = IPv4Interface("10.1.0.1/24")


def interface(number: int, network: str = "private") -> Interface:
    return Interface(network, f"02:00:00:00:00:{number:02x}", IPv4Interface(f"10.1.0.{number}/24"))


PUBLIC = Interface("public", "02:00:00:00:01:01", IPv4Interface("203.0.113.20/25"), 9000)
FRONTEND = Frontend("dock6.example.org", "203.0.113.1", (interface(1), PUBLIC))
COMPUTES = tuple(
    Compute(f"compute-{n}", n + 1, "10.1.0.1", (interface(n + 2), interface(n + 9, "ent"))) for n in range(2)
)
FILE = FrontendFile(FRONTEND, COMPUTES, COMMON)
COMPUTE_FILE = ComputeFile("dock6.example.org", Compute("compute-1", 0, "10.1.0.1", (interface(3),)), COMMON)


def test_the_frontends_file_for_readers_of_the_first_generation():
    """Scenario 7, with the next three."""
    found = generation_one(frontend_text(FILE))
    assert found["public"] == {
        "fqdn": "dock6.example.org",
        "ip": "203.0.113.20",
        "netmask": "255.255.255.128",
        "gw": "203.0.113.1",
        "name": "dock6",
        "mac": "02:00:00:00:01:01",
    }
    assert found["private"] == {"ip": "10.1.0.1", "netmask": "255.255.255.0", "mac": "02:00:00:00:00:01"}
    assert found["nodes"][1] == {
        "name": "compute-1",
        "mac": "02:00:00:00:00:03",
        "ip": "10.1.0.3",
        "cpus": "2",
    }
    assert found["dns"] == {"ip": "203.0.113.53,203.0.113.54", "search": "local", "domain": ""}
    assert found["key"] == KEY


def test_the_frontends_file_for_readers_of_the_second_generation():
    found = generation_two(frontend_text(FILE))
    assert found["frontend"] == {"fqdn": "dock6.example.org", "name": "dock6", "gw": "203.0.113.1"}
    assert list(found["networks"]) == ["private", "public"]
    assert found["networks"]["public"]["mtu"] == "9000"
    node, networks = found["nodes"][0]
    assert node == {"name": "compute-0", "cpus": "1", "gw": "10.1.0.1"}
    assert networks["private"]["subnet"] == "10.1.0.0"
    assert networks["ent"]["ip"] == "10.1.0.9"
    assert found["key"] == KEY


def test_a_computes_file_for_readers_of_both_generations():
    text = compute_text(COMPUTE_FILE)
    one, two = generation_one(text), generation_two(text)
    assert one["private"] == {
        "fqdn": "compute-1",
        "ip": "10.1.0.3",
        "netmask": "255.255.255.0",
        "gw": "10.1.0.1",
        "mac": "02:00:00:00:00:03",
    }
    assert two["compute"] == {"name": "compute-1", "gw": "10.1.0.1"}
    assert one["fqdn"] == two["fqdn"] == "dock6.example.org"
    assert one["key"] == two["key"] == KEY


def test_a_frontend_alone_has_no_computes():
    assert generation_one(frontend_text(FrontendFile(FRONTEND, (), COMMON)))["nodes"] == []


@pytest.mark.parametrize("key", ["", KEY, "a\r\nb\n\n", " & < > ' \" % \t"])
def test_write_parse_and_write_is_identity(key):
    common = Common((), key, "local", "example.org")
    for file, write in (
        (FrontendFile(FRONTEND, COMPUTES, common), frontend_text),
        (ComputeFile("a.b", COMPUTE_FILE.compute, common), compute_text),
    ):
        text = write(file)
        assert read_vc_out(text.encode()) == file
        assert write(read_vc_out(text.encode())) == text


@pytest.mark.parametrize(
    "file",
    [
        FrontendFile(Frontend("a.b", "", (PUBLIC,)), (), COMMON),
        FrontendFile(Frontend("a.b", "", (interface(1),)), (), COMMON),
        FrontendFile(FRONTEND, (Compute("compute-0", 1, "", ()),), COMMON),
        FrontendFile(FRONTEND, (), Common((), "a\0b")),
        FrontendFile(Frontend("a\x1b", "", FRONTEND.interfaces), (), COMMON),
        FrontendFile(Frontend("a.b", "", (*FRONTEND.interfaces, interface(4, "no name"))), (), COMMON),
    ],
)
def test_what_cannot_be_written(file):
    with pytest.raises(UserError):
        frontend_text(file)


@pytest.mark.parametrize(
    "text",
    [
        "<vc/>",
        "<other/>",
        frontend_text(FILE).replace('count="2"', 'count="3"'),
        frontend_text(FILE).replace("255.255.255.0", "255.0.255.0"),
        "<!DOCTYPE vc [<!ENTITY x SYSTEM 'file:///etc/shadow'>]>" + frontend_text(FILE).partition("?>")[2],
    ],
)
def test_another_document_is_not_read(text):
    with pytest.raises(UserError):
        read_vc_out(text.encode())
