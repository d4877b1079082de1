"""The driver of clouds on moto's EC2: what machines get, what is refused, and requests that are cut."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lxml import etree

from tests.system.comet.openstack_server import OpenStackServer
from tests.system.commands.conftest import Site
from tests.system.pragma.conftest import KEY

if TYPE_CHECKING:
    from tests.system.pragma.cloud_server import CloudServer


def user_data(machine: Any) -> bytes:
    return base64.b64decode(str(machine.user_data))


BOOT = "pragma boot dock6 6 mem=2048:4096"


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "key.pub").write_text(f"{KEY}\n")
    return f"key={tmp_path / 'key.pub'}"


@pytest.mark.slow
def test_machines_get_their_sizes_and_vc_out(local: Site, cloud: CloudServer, key: str) -> None:
    """6 CPUs are two computes of 3, whose size has 4; memory decides, too."""
    local.done(BOOT, key)
    # a machine has its name from the request that makes it: no death leaves one that is not known
    assert cloud.actions.count("RunInstances") == 3 and "CreateTags" not in cloud.actions
    frontend, *computes = sorted(cloud.machines().items())
    assert [one.instance_type for _, one in (frontend, *computes)] == ["t3.small", "t3.xlarge", "t3.xlarge"]
    root = etree.fromstring(user_data(frontend[1]))
    nodes = [dict(node.attrib) for node in root.findall("compute/node")]
    assert nodes == [
        {"name": f"compute-{number}", "ip": one.private_ip, "cpus": "3"}
        for number, (_, one) in enumerate(computes)
    ]
    assert root.findtext("key") == f"{KEY}\n"
    assert root.find("frontend/public").get("fqdn") == f"{frontend[0]}.local"  # type: ignore[union-attr]
    own = etree.fromstring(user_data(computes[1][1]))
    assert own.find("compute/private").get("fqdn") == "compute-1"  # type: ignore[union-attr]
    # a machine that was stopped is started by the same driver; others of the account are not ours
    cloud.cloud.run_instances(
        frontend[1].image_id, 1, None, [], instance_type="t3.small", tags={"instance": {"Name": "web-0123abcd"}},
        region_name="us-east-1", security_group_ids=[], placement=None, is_instance_type_default=False,
    )  # fmt: skip
    local.done(f"pragma shutdown {frontend[0]}")
    local.done(f"pragma clean {frontend[0]}")
    assert list(cloud.machines()) == ["web-0123abcd"]


def test_what_is_refused_creates_nothing(local: Site, cloud: CloudServer, key: str, tmp_path: Path) -> None:
    for arguments, text in (
        (("1",), "give key=FILE"),
        (("1", key, "add-iface=ent"), "does not take add-iface"),
        (("1", key, "hosts=vmc-0-0"), "does not take hosts"),
        (
            ("1", key, "mem=2048:65536"),
            "no size of the attribute pragma_cloud_sizes (t3.small t3.xlarge) has 1 CPUs",
        ),
        (("1", key, "dry-run=yes"), "a dry run cannot know"),
        (("2000", key), "a cloud takes 16384"),
    ):
        assert text in local.refused("pragma boot dock6", *arguments), arguments
    assert "has 0 images only" in local.refused("pragma boot alone 0", key)
    for attribute, value, text in (
        ("sizes", "t3.small huge", "no size huge"),
        ("network", "absent", "has 0 of absent"),
        ("region", "nowhere", "Invalid region"),
        ("url", "http://cloud.example.org", "https://HOST/PATH"),
        ("url", "http://127.0.0.1:1", "the cloud has not done"),
    ):
        local.done("set attr", f"attr=pragma_cloud_{attribute}", f"value={value}")
        assert text in local.refused("pragma boot dock6 1", key), attribute
        local.done("remove attr", f"pragma_cloud_{attribute}")
        if attribute == "sizes":
            local.done("set attr pragma_cloud_sizes 't3.small t3.xlarge'")
        if attribute == "url":
            local.done("set attr pragma_cloud_url", cloud.url)
    local.done("remove sec_attr pragma_cloud_secret")
    assert "the key of the cloud is not set" in local.refused("pragma boot dock6 1", key)
    assert cloud.machines() == {}


@pytest.mark.parametrize("driver", ["cloudstack", "openstack"])
def test_other_clouds_are_asked_at_their_url(local: Site, cloud: CloudServer, driver: str) -> None:
    """Libcloud takes the settings, and reaches the server, which is none of that kind."""
    local.done(f"set attr pragma_driver {driver}")
    local.done(f"set attr pragma_cloud_url {cloud.url}/client/api")
    assert "the cloud has not done list_nodes" in local.refused("pragma list cluster")


def test_no_message_has_the_secret_of_a_sign_in_that_the_cloud_repeats(
    local: Site, cloud: CloudServer, tmp_path: Path
) -> None:
    secret = 'of "ours" ü'
    (tmp_path / "secret").write_text(secret)
    local.done(f"set sec_attr pragma_cloud_secret file={tmp_path / 'secret'}")
    local.done("set attr pragma_driver openstack")
    local.done("set attr pragma_cloud_project CH-1")
    with OpenStackServer() as openstack:
        local.done(f"set attr pragma_cloud_url {openstack.url}")
        sign_in = json.dumps({"password": secret})
        openstack.refusals["POST /v3/auth/tokens"] = [("400 Bad Request", {}, sign_in)]
        assert '"password": "…"' in local.refused("pragma list cluster")


@pytest.mark.slow
def test_a_boot_whose_request_is_cut_leaves_nothing_that_clean_does_not_remove(
    local: Site, cloud: CloudServer, key: str
) -> None:
    cuts = 0
    while True:
        cloud.cut = cuts + 1
        ended = local.rocks("pragma boot dock6 2", key)
        is_cut, cloud.cut = cloud.cut <= 0, 0
        listed = json.loads(local.done("pragma list cluster json=yes") or "[]")
        for one in listed:
            local.done(f"pragma shutdown {one['frontend']}")
            local.done(f"pragma clean {one['frontend']}")
        assert cloud.machines() == {}
        if not is_cut:
            break
        cuts += 1
        assert ended.status != 0
    assert ended.status == 0
    assert cuts >= 6
