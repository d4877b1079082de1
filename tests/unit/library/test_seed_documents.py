"""What cloud-init reads of a machine, and that no text of the database becomes more than a text there."""

import json
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Any

import pytest

from rocks.core.errors import StateError, UserError
from rocks.core.public_keys import read_keys, read_new_keys
from rocks.inventory.records import VirtualMachine
from rocks.library.guest_images import seed_path
from rocks.library.seed_documents import GuestCluster, address_warning, plan_addresses, seed_documents
from tests.unit.machines import PRIVATE, PUBLIC, interface, machine

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEpmvZ7QZ9bJc1bS7yXg0mB1hQdCkV2y3d5mYJ0Xh8aB owner@example.org"
MACS = [f"02:71:00:80:00:0{number}" for number in range(4)]


def frontend(**attributes: str) -> VirtualMachine:
    """A virtual frontend with a private interface on VLAN 3 and a public one."""
    interfaces = [
        interface("eth0", "web", mac=MACS[0], ip="10.1.255.254", vlan=3, **PRIVATE),
        interface("eth1", "web", mac=MACS[1], ip="203.0.113.20", **PUBLIC),
    ]
    return machine(
        "web", interfaces=interfaces, attributes={"vm_image": "debian", **attributes}, uuid="uuid-of-web"
    )


def compute(number: int, **attributes: str) -> VirtualMachine:
    own = interface("eth0", f"vm-web-{number}", mac=MACS[2 + number], vlan=3)
    values = {"vm_image": "debian", "vm_cluster_address": f"10.1.0.{number + 1}", **attributes}
    return machine(f"vm-web-{number}", interfaces=[own], attributes=values)


def cluster(head: VirtualMachine | None = None) -> GuestCluster:
    return GuestCluster(head or frontend(), (compute(0), compute(1)), "203.0.113.1")


def documents(vm: VirtualMachine, of: GuestCluster | None = None) -> dict[str, Any]:
    """File → its content, read as JSON."""
    texts = seed_documents(vm, of or cluster(), MACS)
    assert texts["user-data"].startswith("#cloud-config\n{")
    return {name: json.loads(text.removeprefix("#cloud-config\n")) for name, text in texts.items()}


def test_a_machine_with_vc_out_has_it_as_a_file_and_on_its_disk() -> None:
    """PRAGMA's guests read /root/vc-out.xml; mpirun on the frontend reads /tmp/machinefile."""
    text = "<?xml version='1.0'?>\n<vc><key>a &amp; b 100%</key></vc>\n"
    own = frontend(vm_vc_out=text)
    of = GuestCluster(own, (compute(0, vm_vc_out=text), compute(1, vm_vc_out=text)), "203.0.113.1")
    texts = seed_documents(own, of, MACS)
    assert texts["vc-out.xml"] == text
    found = {"user-data": json.loads(texts["user-data"].removeprefix("#cloud-config\n"))}
    assert file_of(found, "/root/vc-out.xml") == text
    assert file_of(found, "/root/machinefile") == "compute-0\ncompute-1\n"
    path = found["user-data"]["runcmd"][-1][-1]
    assert file_of(found, path) == "C /tmp/machinefile 0644 root root - /root/machinefile\n"
    assert "10.1.0.2 vm-web-1 compute-0-1 compute-1\n" in file_of(found, "/etc/hosts")
    of_compute = seed_documents(of.computes[0], of, MACS)
    assert of_compute["vc-out.xml"] == text
    assert "machinefile" not in of_compute["user-data"]
    assert "vc-out" not in seed_documents(frontend(), cluster(), MACS)["user-data"]


def file_of(found: dict[str, Any], path: str) -> str:
    (content,) = [str(file["content"]) for file in found["user-data"]["write_files"] if file["path"] == path]
    return content


def test_a_fresh_disk_is_another_instance() -> None:
    """Also where its image was made of the machine's own earlier disk, which has the UUID as its instance."""
    found = documents(frontend(vm_instance="3"))
    assert found["meta-data"] == {"instance-id": "uuid-of-web-3", "local-hostname": "web"}


def test_a_frontend_has_both_networks_and_routes_for_its_computes() -> None:
    head = frontend(vm_authorized_keys=KEY, Kickstart_PublicDNSServers="203.0.113.5, 203.0.113.6")
    found = documents(head, cluster(head))
    assert found["meta-data"] == {"instance-id": "uuid-of-web", "local-hostname": "web"}
    assert found["network-config"] == {
        "version": 2,
        "ethernets": {
            "eth0": {
                "match": {"macaddress": MACS[0]},
                "set-name": "eth0",
                "mtu": 1500,
                "addresses": ["10.1.255.254/16"],
            },
            "eth1": {
                "match": {"macaddress": MACS[1]},
                "set-name": "eth1",
                "mtu": 1500,
                "addresses": ["203.0.113.20/24"],
                "routes": [{"to": "0.0.0.0/0", "via": "203.0.113.1"}],
            },
        },
    }
    assert found["user-data"]["hostname"] == "web"
    assert found["user-data"]["ssh_authorized_keys"] == [KEY]
    assert found["user-data"]["ssh_pwauth"] is False
    assert "ip saddr 10.1.0.0/16 ip daddr != 10.1.0.0/16 masquerade" in file_of(found, "/etc/nftables.conf")
    assert file_of(found, "/etc/resolv.conf") == "nameserver 203.0.113.5\nnameserver 203.0.113.6\n"
    lines = file_of(found, "/etc/hosts").splitlines()
    assert lines[2:] == [
        "10.1.255.254 web frontend",
        "10.1.0.1 vm-web-0 compute-0-0",
        "10.1.0.2 vm-web-1 compute-0-1",
    ]


def test_a_compute_reaches_the_world_through_its_frontend() -> None:
    found = documents(compute(1))
    assert found["network-config"]["ethernets"]["eth0"]["addresses"] == ["10.1.0.2/16"]
    assert found["network-config"]["ethernets"]["eth0"]["routes"] == [
        {"to": "0.0.0.0/0", "via": "10.1.255.254"}
    ]
    assert "runcmd" not in found["user-data"]
    assert file_of(found, "/etc/hosts") == file_of(documents(frontend()), "/etc/hosts")


def test_an_interface_without_a_device_on_the_host_is_left_out() -> None:
    """cloud-init sets up no network at all when one of the MAC addresses is missing."""
    texts = seed_documents(frontend(), cluster(), [MACS[1]])
    assert list(json.loads(texts["network-config"])["ethernets"].values())[0]["addresses"] == [
        "203.0.113.20/24"
    ]


def test_a_machine_of_no_cluster_knows_itself() -> None:
    found = documents(frontend(), GuestCluster())
    assert file_of(found, "/etc/hosts").endswith("10.1.255.254 web\n")
    assert "runcmd" not in found["user-data"]


def test_a_compute_without_an_address_asks_by_dhcp() -> None:
    found = documents(compute(0, vm_cluster_address=""))
    assert found["network-config"]["ethernets"]["eth0"] == {
        "match": {"macaddress": MACS[2]},
        "set-name": "eth0",
        "dhcp4": True,
        "optional": True,
    }


def test_a_compute_without_an_address_where_others_have_one_is_named_with_a_free_one() -> None:
    """No cluster has a DHCP server of its own: the machine would be reached by nobody."""
    added = compute(1, vm_cluster_address="")
    of = GuestCluster(frontend(), (compute(0), added))
    command = (
        "rocks set host attr vm-web-1 vm_cluster_address 10.1.0.2, then rocks reinstall host vm vm-web-1"
    )
    assert command in address_warning(added, of)
    assert [address_warning(vm, of) for vm in (frontend(), compute(0))] == ["", ""]
    assert address_warning(added, GuestCluster(frontend(), (added,))) == "", "nobody has one: it is meant so"
    with_own = [interface("eth0", "vm-web-1", mac=MACS[3], ip="10.1.0.9", vlan=3, **PRIVATE)]
    own = machine("vm-web-1", interfaces=with_own, attributes={"vm_image": "debian"})
    assert address_warning(own, GuestCluster(frontend(), (compute(0), own))) == ""
    assert address_warning(added, GuestCluster()) == ""


@pytest.mark.parametrize(("address", "owner"), [("10.1.0.1", "vm-web-0"), ("10.1.255.254", "the frontend")])
def test_a_compute_with_the_address_of_another_is_named(address: str, owner: str) -> None:
    """It is started: which of the two is right, nobody knows here."""
    same = compute(1, vm_cluster_address=address)
    line = f"vm-web-1 and {owner} have the address {address} in their cluster"
    of = GuestCluster(frontend(), (compute(0), same))
    assert address_warning(same, of) == line
    documents(same, of)


@pytest.mark.parametrize(
    "comment",
    ["a: b # c", '"; rm -rf /', "$(reboot) `id`", "<a>&amp;</a>", "{{ x }}", "Grüße", "- x\\n- y", "%d"],
)
def test_the_comment_of_a_key_stays_a_comment(comment: str) -> None:
    key = KEY.replace("owner@example.org", comment)
    found = documents(frontend(vm_authorized_keys=f"{KEY}\n{key}\n"))
    assert found["user-data"]["ssh_authorized_keys"] == [KEY, key]


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "ssh-ed25519",
        f'command="reboot" {KEY}',
        f"{KEY}\x1b[2J",
        f"{KEY}\u2028runcmd: x",
        "runcmd:\n - reboot",
        "ssh-rsa AAAA$(id)",
        "x" * 40000,
    ],
)
def test_what_is_no_public_key_is_rejected(text: str) -> None:
    with pytest.raises(UserError):
        read_keys(text)
    with pytest.raises(StateError, match="web is not started"):
        documents(frontend(vm_authorized_keys=text))


@pytest.mark.parametrize(
    "text",
    [
        KEY.replace("8aB ", " "),
        KEY.replace("ssh-ed25519", "ssh-rsa"),
        "ssh-ed25519 AAAA",
        f"{KEY}\nssh-rsa AB a",
    ],
)
def test_a_new_key_is_whole(text: str) -> None:
    """One that was stored before is left to the guest, as ever: its machine starts."""
    assert read_new_keys(KEY) == read_keys(KEY)
    with pytest.raises(UserError, match="is not whole"):
        read_new_keys(text)
    documents(frontend(vm_authorized_keys=text))


def test_keys_are_read_as_their_files_have_them() -> None:
    assert read_keys(f"# mine\r\n{KEY}\r\n\n{KEY}\n") == (KEY,)
    assert read_keys("") == ()


def test_the_error_names_the_line_and_not_its_text() -> None:
    with pytest.raises(UserError, match="^line 3 is not a public SSH key") as error:
        read_keys(f"{KEY}\n\nroot:secret\n")
    assert "secret" not in str(error.value)


def test_addresses_of_an_earlier_release_that_are_not_valid_are_named() -> None:
    with pytest.raises(StateError, match="vm-web-0 is not started"):
        documents(compute(0, vm_cluster_address="10.1.0.300"))


def test_computes_get_the_lowest_addresses() -> None:
    assert plan_addresses(IPv4Interface("10.0.0.2/29"), 5) == [f"10.0.0.{n}" for n in (1, 3, 4, 5, 6)]
    with pytest.raises(StateError, match=r"10\.0\.0\.0/29 has no addresses for 6 computes"):
        plan_addresses(IPv4Interface("10.0.0.2/29"), 6)


def test_a_seed_is_for_machines_with_an_image_and_a_file_as_first_disk() -> None:
    assert seed_path(frontend()) == "/images/web.vda.seed"
    assert seed_path(machine("web")) is None
    of_device = machine("web", disks=["phy:/dev/vg/web,vda,virtio"], attributes={"vm_image": "debian"})
    assert seed_path(of_device) is None
    assert seed_path(replace(frontend(), disks=())) is None


def test_the_private_key_of_a_cluster_is_for_its_frontend_alone() -> None:
    mine = KEY.replace("owner@example.org", "root@web")
    of = replace(cluster(), private_key="the private half\n", public_key=mine)
    head, node = documents(of.frontend or frontend(), of), documents(compute(0, vm_authorized_keys=KEY), of)
    files = {file["path"]: file for file in head["user-data"]["write_files"]}
    private = files["/root/.ssh/id_ed25519"]
    assert (private["content"], private["permissions"]) == ("the private half\n", "0600")
    assert files["/root/.ssh/id_ed25519.pub"]["content"] == f"{mine}\n"
    config = files["/etc/ssh/ssh_config.d/50-cluster.conf"]["content"].splitlines()
    assert config[0].split()[1:] == ["vm-web-0", "compute-0-0", "vm-web-1", "compute-0-1", "compute-*"]
    assert head["user-data"]["ssh_authorized_keys"] == []
    assert node["user-data"]["ssh_authorized_keys"] == [KEY, mine]
    assert "the private half" not in json.dumps(node) and "the private half" not in repr(of)
