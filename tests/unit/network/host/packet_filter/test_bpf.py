"""Packet filter programs: what they match, in our own reading of them and in the kernel's."""

import ctypes
import socket
import struct
from collections.abc import Callable

import pytest

from rocks.core.errors import BugError
from rocks.network.host.packet_filter.bpf import LOAD_LENGTH, Program, unpack
from rocks.network.host.packet_filter.programs import MAX_FOREIGN, Sender, link_local, rules_for
from tests.contract.network.packet_filter.frames import (
    CASES,
    IP,
    IPV6,
    LINK_LOCAL,
    MAC,
    OTHER_IP,
    ipv4,
    udp,
)
from tests.fakes.bpf import matches

OWN, SHARED = Sender(MAC), Sender(MAC, True, (IP,), (IPV6,))
_ATTACH_FILTER = 26


def kernel_matches(program: bytes, frame: bytes) -> bool:
    """The kernel runs the same programs for sockets: what matches is delivered."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ends[0] as sender, ends[1] as receiver:
        code = ctypes.create_string_buffer(program)
        filter_program = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
        receiver.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, filter_program)
        receiver.setblocking(False)
        sender.send(frame)
        try:
            return receiver.recv(2000) == frame
        except BlockingIOError:
            return False


@pytest.mark.parametrize("judge", [matches, kernel_matches])
def test_each_frame_is_dropped_for_its_reason(judge: Callable[[bytes, bytes], bool]) -> None:
    for case in CASES:
        for sender, expected in ((OWN, case.on_own_side), (SHARED, case.on_shared_side)):
            found = [rule.reason for rule in rules_for(sender) if judge(rule.program, case.frame)]
            assert found[:1] == ([expected] if expected else []), case.name


@pytest.mark.slow
def test_no_frame_is_too_short_to_be_judged_alike() -> None:
    """Every beginning of every frame, in both readings."""
    for case in CASES[::4]:
        for length in range(14, len(case.frame)):
            for rule in rules_for(SHARED):
                frame = case.frame[:length]
                assert matches(rule.program, frame) == kernel_matches(rule.program, frame), (
                    case.name,
                    length,
                )


def test_many_addresses_fit() -> None:
    """The most that the plan allows, the right one last: jumps reach 255 lines."""
    addresses = (*(f"fd00::{number}" for number in range(7)), IPV6)
    many = Sender(MAC, True, (IP,), addresses)
    for case in CASES:
        found = [rule.reason for rule in rules_for(many) if matches(rule.program, case.frame)]
        assert found[:1] == ([case.on_shared_side] if case.on_shared_side else []), case.name


@pytest.mark.parametrize("judge", [matches, kernel_matches])
def test_the_largest_number_of_foreign_addresses_fits(judge: Callable[[bytes, bytes], bool]) -> None:
    """Those of a host, for a guest whose address is not recorded."""
    foreign = tuple(f"10.0.0.{number}" for number in range(1, MAX_FOREIGN + 1))
    rules = rules_for(Sender(MAC, True, foreign=foreign))
    for address, reasons in ((foreign[0], ["ipv4"]), (foreign[-1], ["ipv4"]), (OTHER_IP, [])):
        frame = ipv4(address, udp(1, 2))
        assert [rule.reason for rule in rules if judge(rule.program, frame)] == reasons, address
    with pytest.raises(BugError):
        rules_for(Sender(MAC, True, foreign=(*foreign, OTHER_IP)))


def test_reasons_fit_into_a_cookie() -> None:
    """A shared interface has every rule."""
    reasons = [rule.reason for rule in rules_for(SHARED)]
    assert all(len(f"rocks:{reason}") <= 16 and reason.isalnum() for reason in reasons)


def test_link_local_address() -> None:
    assert link_local(MAC) == LINK_LOCAL
    assert link_local("52:54:00:12:34:56") == "fe80::5054:ff:fe12:3456"


def test_a_jump_out_of_range() -> None:
    program = Program()
    program.jump(1, "nowhere")
    with pytest.raises(BugError, match="'nowhere' is out of range"):
        program.pack()
    far = Program()
    far.jump(1, "end")
    for _ in range(256):
        far.load(LOAD_LENGTH)
    far.label("end")
    with pytest.raises(BugError):
        far.pack()


def test_the_end_is_no_match() -> None:
    assert unpack(Program().pack()) == [(6, 0, 0, 0)]
    assert not matches(Program().pack(), bytes(60))
