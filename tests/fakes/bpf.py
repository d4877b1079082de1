"""An interpreter of classic BPF, limited to the instructions that `programs.py` uses."""

from __future__ import annotations

from rocks.network.host.packet_filter.bpf import (
    AND,
    JUMP_EQUAL,
    JUMP_GREATER_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_HALF_INDIRECT,
    LOAD_LENGTH,
    LOAD_WORD,
    LOAD_X_HEADER_LENGTH,
    RETURN,
    VLAN_TAG_PRESENT,
    unpack,
)

_SIZES = {LOAD_WORD: 4, LOAD_HALF: 2, LOAD_BYTE: 1}


def matches(program: bytes, frame: bytes) -> bool:
    """Whether the program matches the frame; a load beyond its end is no match, as in the kernel."""
    instructions, at, value, index = unpack(program), 0, 0, 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        if code == RETURN:
            return operand != 0
        if code == LOAD_LENGTH:
            value = len(frame)
        elif code in _SIZES and operand == VLAN_TAG_PRESENT:
            value = 0
        elif code in _SIZES or code == LOAD_HALF_INDIRECT:
            start, size = (operand, _SIZES[code]) if code in _SIZES else (index + operand, 2)
            if start + size > len(frame):
                return False
            value = int.from_bytes(frame[start : start + size], "big")
        elif code == LOAD_X_HEADER_LENGTH:
            if operand >= len(frame):
                return False
            index = 4 * (frame[operand] & 0xF)
        elif code == AND:
            value &= operand
        else:
            assert code in (JUMP_EQUAL, JUMP_GREATER_EQUAL), f"no such instruction is used: {code:#x}"
            is_true = value == operand if code == JUMP_EQUAL else value >= operand
            at += if_true if is_true else if_false
