"""The next free address of a network."""

from tests.system.commands.conftest import Site


def test_report_nextip(computes: Site) -> None:
    computes.done("add host interface compute-0-0 eth0 ip=10.1.0.10 subnet=private")
    assert computes.done("report nextip private") == "10.1.255.254\n"
    computes.done("set host interface ip compute-0-0 eth0 10.1.255.254")
    assert computes.done("report nextip Private") == "10.1.255.253\n"
    assert computes.done("report nextip private increment=1") == "10.1.0.1\n"
    assert computes.done("report nextip private increment=1 baseip=10.1.0.7") == "10.1.0.7\n"
    assert computes.done("report nextip private increment=-2 baseip=10.1.255.254") == "10.1.255.252\n"


def test_report_nextip_refuses(computes: Site) -> None:
    for arguments, message in (
        (["nowhere"], "subnet nowhere is not valid"),
        ([], "must supply a subnet"),
        (["private", "increment=0"], 'increment "0" must be a step'),
        (["private", "baseip=x"], "The ip address x is invalid"),
        (["private", "baseip=10.2.0.1"], 'not in the network "private"'),
        (
            ["private", "increment=1", "baseip=10.1.255.255"],
            "has only 0 of 1 free addresses left from 10.1.255.255 on",
        ),
    ):
        assert message in computes.refused("report nextip", *arguments), arguments
