"""The frequency of this machine's time stamp counter, which an emulated machine cannot measure well.

A kernel that boots on a busy machine measures it against an emulated timer, in milliseconds in which the emulator is
interrupted: one machine took 2.6 GHz for 0.8 GHz, its clock ran three times too fast, and requests arrived after their
deadlines. Here the measurement is long, and its ends are read without an interruption.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable

_READ_COUNTER = bytes.fromhex("0f31 48c1e220 4809d0 c3")
"""rdtsc; shl rdx, 32; or rax, rdx; ret"""

_MEASURED_SECONDS = 0.25
_TRIES = 50


def counter_khz() -> int:
    """The frequency in kHz; takes a quarter of a second. For x86-64 only.

    Under QEMU's emulation (TCG) without `-icount`, the counter of a guest is that of the machine that carries it.
    """
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(_READ_COUNTER)
    code = ctypes.c_char.from_buffer(memory)
    read_counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(code))
    first_counter, first_ns = _read_both(read_counter)
    time.sleep(_MEASURED_SECONDS)
    last_counter, last_ns = _read_both(read_counter)
    return round((last_counter - first_counter) * 1_000_000 / (last_ns - first_ns))


def _read_both(read_counter: Callable[[], int]) -> tuple[int, int]:
    """Counter and clock at one moment: of some readings, the one that took the shortest time."""

    def reading() -> tuple[int, int, int]:
        before = time.monotonic_ns()
        counter = read_counter()
        after = time.monotonic_ns()
        return after - before, counter, (before + after) // 2

    _, counter, clock_ns = min(reading() for _ in range(_TRIES))
    return counter, clock_ns
