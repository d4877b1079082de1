"""Programs in the kernel's classic packet filter language (Documentation/networking/filter.rst), written and packed.

A program looks at one Ethernet frame, offset 0 being its destination address, and matches it or does not. Where it
loads beyond the frame's end the kernel ends it without a match, so a program that must see a field asks for the
frame's length first. Python has no other way to such a program; `fake/bpf.py` runs them, held to the kernel by tests.
"""

from __future__ import annotations

import struct
from typing import Dict, List, NamedTuple, Optional

from rocks.errors import BugError

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
LOAD_HALF_INDIRECT = 0x48
LOAD_LENGTH = 0x80
LOAD_X_HEADER_LENGTH = 0xB1
AND = 0x54
JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL, JUMP_ANY_BIT = 0x05, 0x15, 0x25, 0x35, 0x45
RETURN = 0x06

VLAN_TAG_PRESENT = 0xFFFFF000 + 48
"""Offset of the ancillary datum SKF_AD_VLAN_TAG_PRESENT: the tag that the kernel has taken out of the frame."""

MATCH, NO_MATCH = 0xFFFFFFFF, 0
_INSTRUCTION = struct.Struct("=HBBI")
_FARTHEST = 255


class Instruction(NamedTuple):
    """As in `struct sock_filter`: code, how many to skip when true and when false, operand."""

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
    """A program that grows line by line; labels lie behind the jumps to them. Its end is no match."""

    def __init__(self) -> None:
        self._lines: List[_Line] = []
        self._labels: Dict[str, int] = {}

    def load(self, code: int, offset: int = 0) -> None:
        """Load a word, half word or byte of the frame, or its length."""
        self._add(code, offset)

    def keep_bits(self, mask: int) -> None:
        """Clear all other bits of what was loaded."""
        self._add(AND, mask)

    def jump(
        self, code: int, value: int, if_true: Optional[str] = None, if_false: Optional[str] = None
    ) -> None:
        """Compare what was loaded, and go on at a label, or with the next line where that is None."""
        self._add(code, value, if_true, if_false)

    def match_if(self, value: int, code: int = JUMP_EQUAL) -> None:
        """Match when the comparison of what was loaded with `value` holds."""
        label = self.new_label()
        self._add(code, value, None, label)
        self._add(RETURN, MATCH)
        self.label(label)

    def match_unless(self, value: int, code: int = JUMP_EQUAL) -> None:
        """Match unless the comparison of what was loaded with `value` holds."""
        label = self.new_label()
        self._add(code, value, label, None)
        self._add(RETURN, MATCH)
        self.label(label)

    def match(self) -> None:
        """End with a match."""
        self._add(RETURN, MATCH)

    def no_match(self) -> None:
        """End without one."""
        self._add(RETURN, NO_MATCH)

    def new_label(self) -> str:
        """A label that nobody else uses."""
        return f"line {len(self._lines)}"

    def label(self, name: str) -> None:
        """The next line can be jumped to by this name."""
        self._labels[name] = len(self._lines)

    def pack(self) -> bytes:
        """The program as the kernel takes it. BugError for a jump that is too far or leads nowhere."""
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
            raise BugError(f"a packet filter's jump from line {at} to {label!r} cannot be: {distance}")
        return distance


def unpack(program: bytes) -> List[Instruction]:
    """The instructions of a packed program."""
    return [Instruction(*fields) for fields in _INSTRUCTION.iter_unpack(program)]
