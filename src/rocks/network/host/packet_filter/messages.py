"""Netlink messages of packet filters of kind `bpf` with classic BPF programs.

pyroute2 0.7.2 supports the kind for extended BPF only; the layout is that of include/uapi/linux/pkt_cls.h.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional

from rocks.network.host.netlink import Attribute, TrafficMessage
from rocks.network.host.packet_filter.programs import Rule

ADD_QDISC, DELETE_QDISC = 36, 37
ADD_FILTER, DELETE_FILTER, GET_FILTERS = 44, 45, 46
_CLSACT = 0xFFFFFFF1
_CLSACT_HANDLE = 0xFFFF0000
SENT_BY_DEVICE, RECEIVED_BY_DEVICE = 0xFFFFFFF3, 0xFFFFFFF2
"""The two hooks of a clsact qdisc: egress and ingress."""

_ALL_PROTOCOLS = 0x0300  # ETH_P_ALL in network order
_DROP = 2
_INSTRUCTION_BYTES = 8
_COOKIE_PREFIX = "rocks:"
"""Prefix of a rule's reason in the cookie of its action (16 bytes at most); the kernel stores no name of a classic
program."""

_KIND = "bpf"


class FilterFound(NamedTuple):
    """A packet filter of the kernel; `rule` is None for one that this system did not create."""

    number: int
    rule: Optional[Rule]
    packets: int


class FilterMessage(TrafficMessage):  # type: ignore[misc] # pyroute2 has no types
    """A packet filter."""

    nla_map = (
        ("TCA_UNSPEC", "none"),
        ("TCA_KIND", "asciiz"),
        ("TCA_OPTIONS", "options"),
        ("TCA_STATS", "none"),
        ("TCA_XSTATS", "none"),
        ("TCA_RATE", "none"),
        ("TCA_FCNT", "none"),
        ("TCA_STATS2", "none"),
        ("TCA_STAB", "none"),
        ("TCA_PAD", "none"),
        ("TCA_DUMP_INVISIBLE", "none"),
        ("TCA_CHAIN", "uint32"),
    )

    class options(Attribute):  # type: ignore[misc] # noqa: N801 - pyroute2 looks for this name
        """Options of the kind `bpf`."""

        nla_map = (
            ("TCA_BPF_UNSPEC", "none"),
            ("TCA_BPF_ACT", "actions"),
            ("TCA_BPF_POLICE", "none"),
            ("TCA_BPF_CLASSID", "uint32"),
            ("TCA_BPF_OPS_LEN", "uint16"),
            ("TCA_BPF_OPS", "cdata"),
            ("TCA_BPF_FD", "uint32"),
            ("TCA_BPF_NAME", "asciiz"),
            ("TCA_BPF_FLAGS", "uint32"),
        )

        class actions(Attribute):  # type: ignore[misc] # noqa: N801
            """The list of actions; only the first is used."""

            nla_map = (("TCA_ACT_PRIO_0", "none"), ("TCA_ACT_PRIO_1", "action"))

            class action(Attribute):  # type: ignore[misc] # noqa: N801
                """The action for a matching frame."""

                nla_map = (
                    ("TCA_ACT_UNSPEC", "none"),
                    ("TCA_ACT_KIND", "asciiz"),
                    ("TCA_ACT_OPTIONS", "parameters"),
                    ("TCA_ACT_INDEX", "uint32"),
                    ("TCA_ACT_STATS", "statistics"),
                    ("TCA_ACT_PAD", "none"),
                    ("TCA_ACT_COOKIE", "cdata"),
                )

                class parameters(Attribute):  # type: ignore[misc] # noqa: N801
                    """Options of the kind `gact`."""

                    nla_map = (
                        ("TCA_GACT_UNSPEC", "none"),
                        ("TCA_GACT_TM", "none"),
                        ("TCA_GACT_PARMS", "generic"),
                    )

                    class generic(Attribute):  # type: ignore[misc] # noqa: N801
                        """The verdict and reference counts."""

                        fields = (
                            ("index", "I"),
                            ("capab", "I"),
                            ("action", "i"),
                            ("refcnt", "i"),
                            ("bindcnt", "i"),
                        )

                class statistics(Attribute):  # type: ignore[misc] # noqa: N801
                    """Statistics of the action."""

                    nla_map = (("TCA_STATS_UNSPEC", "none"), ("TCA_STATS_BASIC", "basic"))

                    class basic(Attribute):  # type: ignore[misc] # noqa: N801
                        """Bytes and packets."""

                        fields = (("bytes", "Q"), ("packets", "I"))


def qdisc_message(device: int) -> Any:
    """The clsact qdisc of the device with that index."""
    return _message(device, _CLSACT, handle=_CLSACT_HANDLE, kind="clsact")


def filter_message(device: int, hook: int, number: int, rule: Rule) -> Any:
    """A rule as the packet filter of that priority number; the lowest runs first."""
    message = _message(device, hook, handle=1, kind=_KIND)
    message["info"] = (number << 16) | _ALL_PROTOCOLS
    verdict = {"attrs": [("TCA_GACT_PARMS", {"action": _DROP})]}
    cookie = (_COOKIE_PREFIX + rule.reason).encode("ascii")
    action = {"attrs": [("TCA_ACT_KIND", "gact"), ("TCA_ACT_OPTIONS", verdict), ("TCA_ACT_COOKIE", cookie)]}
    options = [
        ("TCA_BPF_OPS_LEN", len(rule.program) // _INSTRUCTION_BYTES),
        ("TCA_BPF_OPS", rule.program),
        ("TCA_BPF_ACT", {"attrs": [("TCA_ACT_PRIO_1", action)]}),
    ]
    message["attrs"].append(("TCA_OPTIONS", {"attrs": options}))
    return message


def deletion_message(device: int, hook: int, number: int) -> Any:
    """Delete all packet filters of that number."""
    message = _message(device, hook)
    message["info"] = (number << 16) | _ALL_PROTOCOLS
    return message


def dump_message(device: int, hook: int) -> Any:
    """Dump all packet filters of a hook."""
    return _message(device, hook)


def parse_filter(message: Any) -> Optional[FilterFound]:
    """A packet filter from its message; None for the entry of a priority without handle."""
    number = message["info"] >> 16
    if not message["handle"]:
        return None
    is_program = message.get_attr("TCA_KIND") == _KIND
    program = _inner(message, "TCA_OPTIONS", "TCA_BPF_OPS") if is_program else None
    action = _inner(message, "TCA_OPTIONS", "TCA_BPF_ACT", "TCA_ACT_PRIO_1") if is_program else None
    if action is None or program is None:
        return FilterFound(number, None, 0)
    counted = _inner(action, "TCA_ACT_STATS", "TCA_STATS_BASIC")
    verdict = _inner(action, "TCA_ACT_OPTIONS", "TCA_GACT_PARMS")
    cookie = bytes(_inner(action, "TCA_ACT_COOKIE") or b"").decode("ascii", "replace")
    drops = action.get_attr("TCA_ACT_KIND") == "gact" and verdict is not None and verdict["action"] == _DROP
    rule = (
        Rule(cookie[len(_COOKIE_PREFIX) :], bytes(program))
        if drops and cookie.startswith(_COOKIE_PREFIX)
        else None
    )
    return FilterFound(number, rule, counted["packets"] if counted is not None else 0)


def _inner(message: Any, *names: str) -> Any:
    """A nested attribute; None when one is missing."""
    for name in names:
        message = message.get_attr(name) if message is not None else None
    return message


def _message(device: int, parent: int, handle: int = 0, kind: Optional[str] = None) -> Any:
    message: Dict[str, Any] = FilterMessage()
    message["index"], message["parent"], message["handle"] = device, parent, handle
    attributes: List[Any] = [("TCA_KIND", kind)] if kind else []
    message["attrs"] = attributes
    return message
