"""Netlink messages that set the GUIDs of a VF: bytes as defined in linux/if_link.h.

`struct ifla_vf_guid { __u32 vf; __u64 guid; }`, of 16 bytes with its padding, in the byte order of the machine.
"""

import os
import struct
from typing import Any

import pytest

from rocks.core.errors import StateError, ToolError
from rocks.network.infiniband.host.pkeys import colons, set_link_vf
from tests.contract.outcomes import refused

IFLA_VFINFO_LIST, IFLA_VF_INFO = 22, 1
IFLA_VF_LINK_STATE, IFLA_VF_IB_NODE_GUID, IFLA_VF_IB_PORT_GUID = 5, 10, 11
NESTED = 0x3FFF


def attributes(data: bytes) -> dict[int, bytes]:
    """Type → payload of a sequence of netlink attributes."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        found[kind & NESTED] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def test_a_functions_guids_and_link_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything up to the socket is the library's own; what it would have sent is taken apart."""
    pytest.importorskip("pyroute2", reason="the distribution's pyroute2 is not installed")
    from rocks.network.host import netlink

    sent: list[bytes] = []

    class Recorder(netlink.IPRoute):  # type: ignore[misc, name-defined] # the library has no types
        def link_lookup(self, **_: Any) -> list[int]:
            return [7]

        def nlm_request(self, message: Any, **_: Any) -> list[Any]:
            message.encode()
            sent.append(bytes(message.data))
            return []

    monkeypatch.setattr(netlink, "IPRoute", Recorder)
    values: dict[str, object] = {
        "ib_node_guid": colons("02000000000000a0"),
        "ib_port_guid": colons("02000000000000a1"),
        "link_state": 2,
    }
    set_link_vf("ib0", 3, values)
    (message,) = sent
    message_header, interface_header = 16, 16
    body = attributes(message[message_header + interface_header :])
    found = attributes(attributes(body[IFLA_VFINFO_LIST])[IFLA_VF_INFO])
    assert struct.unpack_from("i", message, message_header + 4) == (7,), "of this network device"
    assert struct.unpack_from("=IIQ", found[IFLA_VF_IB_NODE_GUID]) == (3, 0, 0x02000000000000A0)
    assert struct.unpack_from("=IIQ", found[IFLA_VF_IB_PORT_GUID]) == (3, 0, 0x02000000000000A1)
    assert struct.unpack_from("=II", found[IFLA_VF_LINK_STATE]) == (3, 2)


@pytest.mark.system
def test_a_link_that_has_no_functions() -> None:
    """The error has the message of the kernel."""
    pytest.importorskip("pyroute2", reason="the distribution's pyroute2 is not installed")
    if os.geteuid() != 0:
        pytest.skip("network devices are set by root")
    with pytest.raises(ToolError, match="did not set virtual function 0 of lo: Operation not supported"):
        set_link_vf("lo", 0, {"link_state": 0})


def test_a_link_that_is_not_there() -> None:
    pytest.importorskip("pyroute2", reason="the distribution's pyroute2 is not installed")
    for link, message in (
        ("", "has no network device: load its module ib_ipoib"),
        ("ib77", "no network device ib77"),
    ):
        refused(StateError, message, set_link_vf, link, 0, {"link_state": 0})
