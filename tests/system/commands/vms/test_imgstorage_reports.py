"""`report host imgstorage`: the configuration of the daemons of a host, from words, attributes and networks."""

import json
from typing import Any

import pytest

from rocks.core.errors import StateError
from rocks.storage.volumes.access import open_transfer
from tests.system.commands.conftest import Site

REPORT = ("report", "host", "imgstorage")


BLOCK = '<file name="/etc/imgstorage.conf">\n%s\n</file>\n'


def configuration(site: Site, *texts: str) -> dict[str, dict[str, Any]]:
    """Host → content of its file, from the report of several hosts."""
    lines = [line.split(" ", 1) for line in site.done(*REPORT, *texts).splitlines()]
    return {host.rstrip(":"): json.loads(text)[0] for host, text in lines if text.startswith("[")}


def test_the_sample_of_one_host(images: Site) -> None:
    assert images.done(*REPORT, "nas-0-0") == BLOCK % (
        '[{"name": "nas-0-0", "frontend_name": "head", "network": "local", "default_pool": "tank",'
        ' "img_sync_workers": "8"}]'
    )
    assert images.done(*REPORT, "head") == BLOCK % (
        '[{"name": "head", "frontend_name": "head", "network": "local", "default_pool": "tank",'
        ' "img_sync_workers": "8", "secur_server": true}]'
    )


def test_words_beat_attributes_which_beat_the_network_private(images: Site) -> None:
    images.done("set network zone private zone=cluster")
    images.done("set host attr vmc-0-0 vm_container_zpool slow")
    assert configuration(images, "vmc-0-0", "vmc-0-1") == {
        "vmc-0-0": described("vmc-0-0", "cluster", "slow", "8"),
        "vmc-0-1": described("vmc-0-1", "cluster", "tank", "8"),
    }
    images.done("set attr imgstorage-network storage")
    images.done("set host attr vmc-0-0 imgstorage-pool fast")
    images.done("set appliance attr vm-container IMGSTORAGE-workers 2")
    assert configuration(images, "vmc-0-0", "vmc-0-1") == {
        "vmc-0-0": described("vmc-0-0", "storage", "fast", "2"),
        "vmc-0-1": described("vmc-0-1", "storage", "tank", "2"),
    }
    content = ("network=example.org", "pool=mine", "workers=16")
    assert configuration(images, "vmc-0-0", "vmc-0-1", *content) == {
        name: described(name, "example.org", "mine", "16") for name in ("vmc-0-0", "vmc-0-1")
    }


def described(name: str, network: str, pool: str, workers: str) -> dict[str, Any]:
    """The file of a host that is not the frontend."""
    return {
        **{"name": name, "frontend_name": "head", "network": network},
        **{"default_pool": pool, "img_sync_workers": workers},
    }


def test_no_host_gets_the_values_of_another_in_any_order(images: Site) -> None:
    own = {"imgstorage-network": "first.example", "imgstorage-pool": "first", "imgstorage-workers": "3"}
    for name in ("a-first", "m-middle", "z-last"):
        images.done("add host", name, "membership=compute", "rack=9", f"rank={ord(name[0])}")
    alone = {
        name: json.loads(images.done(*REPORT, name).splitlines()[1])[0] for name in ("a-first", "z-last")
    }
    for attribute, value in own.items():
        images.done("set host attr m-middle", attribute, value)
    found = configuration(images, "z-last", "m-middle", "a-first")
    assert found.pop("m-middle") == described("m-middle", "first.example", "first", "3")
    assert found == alone
    for attribute, value in own.items():
        images.done("set host attr a-first", attribute, value)
        images.done("remove host attr m-middle", attribute)
    found = configuration(images)
    assert found["a-first"] == described("a-first", "first.example", "first", "3")
    assert found["m-middle"] == described("m-middle", "local", "tank", "8")
    assert found["z-last"] == alone["z-last"]
    assert found["head"]["default_pool"] == "tank"


def test_an_import_is_sent_to_the_configured_address(images: Site) -> None:
    """Commands use the same zone of a NAS as its daemon, with and without the attribute."""
    asked: list[tuple[str, str]] = []

    def storage_address(node: str, network: str) -> str:
        asked.append((node, network))
        return "10.1.0.9"

    images.patch.setattr("rocks.storage.configuration.storage_address", storage_address)
    images.patch.setattr("rocks.storage.stream.transport.client_context", lambda _: None)

    def same_zone() -> str:
        images.database.rollback()
        assert open_transfer(images.database, "nas-0-0")[0] == "10.1.0.9"
        (described,) = json.loads(images.done(*REPORT, "nas-0-0").splitlines()[1])
        assert asked.pop() == ("nas-0-0", described["network"])
        return str(described["network"])

    assert same_zone() == "local"
    images.done("set network zone private zone=cluster")
    assert same_zone() == "cluster"
    images.done("set host attr nas-0-0 imgstorage-network storage")
    assert same_zone() == "storage"
    images.done("remove host attr nas-0-0 imgstorage-network")
    assert same_zone() == "cluster"
    images.change("UPDATE subnets SET dnszone = NULL")
    images.database.rollback()
    with pytest.raises(StateError, match="host nas-0-0 has no network for images"):
        open_transfer(images.database, "nas-0-0")


def test_report_host_imgstorage_refuses(images: Site) -> None:
    for texts, message in [
        (("nas-0-0", "network=a b"), 'dnszone "a b" is not valid'),
        (("nas-0-0", "pool=a/b"), 'zpool "a/b" is not valid'),
        (("nas-0-0", "workers=0"), 'workers "0" must be an integer from 1'),
    ]:
        assert message in images.refused(*REPORT, *texts), texts
    images.set_as_before("imgstorage-workers", "all", "nas-0-1")
    assert "the attributes of host nas-0-1 are not valid" in images.refused(*REPORT, "nas-0-0", "nas-0-1")
    assert images.done(*REPORT, "nas-0-0") != ""
    images.change("UPDATE subnets SET dnszone = NULL")
    assert "host nas-0-0 has no network for images" in images.refused(*REPORT, "nas-0-0")
    assert images.done(*REPORT, "nothing%") == ""
