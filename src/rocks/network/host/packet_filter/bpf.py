"""Classic BPF programs (Documentation/networking/filter.rst), assembled and packed.

A program matches an Ethernet frame or does not; offset 0 is the destination address. A load beyond the end of the frame
ends the program without a match, so a program that needs a field checks the frame's length first. `tests/fakes`
interprets programs; tests compare it with the kernel.
"""

from __future__ import annotations

import struct
from typing import Dict, List, NamedTuple, Optional

from rocks.core.errors import BugError

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
LOAD_HALF_INDIRECT = 0x48
LOAD_LENGTH = 0x80
LOAD_X_HEADER_LENGTH = 0xB1
AND = 0x54
JUMP_EQUAL, JUMP_GREATER_EQUAL = 0x15, 0x35
RETURN = 0x06

VLAN_TAG_PRESENT = 0xFFFFF000 + 48
"""Offset of the ancillary datum SKF_AD_VLAN_TAG_PRESENT: a tag that the kernel has removed from the frame."""

MATCH, NO_MATCH = 0xFFFFFFFF, 0
_INSTRUCTION = struct.Struct("=HBBI")
_FARTHEST = 255


class Instruction(NamedTuple):
    """As in `struct sock_filter`: code, jump offsets when true and when false, operand."""

    code: int
    if_true: int
    if_false: int
    operand: int


class _Line(NamedTuple):
    code: int
    operand: int
    if_true: Optional[str]
    if_false: Optional[str]


class Program:
    """A program under construction; jumps go forward to labels. Its end is no match."""

    def __init__(self) -> None:
        self._lines: List[_Line] = []
        self._labels: Dict[str, int] = {}

    def load(self, code: int, offset: int = 0) -> None:
        """Load a word, half word or byte of the frame, or its length."""
        self._add(code, offset)

    def mask(self, bits: int) -> None:
        """AND the loaded value with the mask."""
        self._add(AND, bits)

    def jump(self, value: int, if_true: Optional[str] = None, if_false: Optional[str] = None) -> None:
        """Jump to a label by whether the loaded value is `value`; None continues with the next line."""
        self._add(JUMP_EQUAL, value, if_true, if_false)

    def match_if(self, value: int) -> None:
        """Match if the loaded value is `value`."""
        label = self.new_label()
        self._add(JUMP_EQUAL, value, None, label)
        self._add(RETURN, MATCH)
        self.label(label)

    def match_unless(self, value: int, code: int = JUMP_EQUAL) -> None:
        """Match unless the comparison of the loaded value with `value` is true."""
        label = self.new_label()
        self._add(code, value, label, None)
        self._add(RETURN, MATCH)
        self.label(label)

    def match(self) -> None:
        """End with a match."""
        self._add(RETURN, MATCH)

    def no_match(self) -> None:
        """End without a match."""
        self._add(RETURN, NO_MATCH)

    def new_label(self) -> str:
        """A new, unique label."""
        return f"line {len(self._lines)}"

    def label(self, name: str) -> None:
        """Give the next line a label."""
        self._labels[name] = len(self._lines)

    def pack(self) -> bytes:
        """The program as an array of `struct sock_filter`. BugError for a jump out of range or to an unknown label."""
        lines = [*self._lines, _Line(RETURN, NO_MATCH, None, None)]
        return b"".join(
            _INSTRUCTION.pack(
                line.code, self._skip(at, line.if_true), self._skip(at, line.if_false), line.operand
            )
            for at, line in enumerate(lines)
        )

    def _add(
        self, code: int, operand: int = 0, if_true: Optional[str] = None, if_false: Optional[str] = None
    ) -> None:
        self._lines.append(_Line(code, operand, if_true, if_false))

    def _skip(self, at: int, label: Optional[str]) -> int:
        if label is None:
            return 0
        distance = self._labels.get(label, -1) - at - 1
        if not 0 <= distance <= _FARTHEST:
            raise BugError(f"a packet filter's jump from line {at} to {label!r} is out of range: {distance}")
        return distance


def unpack(program: bytes) -> List[Instruction]:
    """The instructions of a packed program."""
    return [Instruction(*fields) for fields in _INSTRUCTION.iter_unpack(program)]
