"""A minimal guest that shows whether KVM is usable: one boot sector of machine code.

It tests what every guest needs: timer interrupts wake a halted processor, protected mode and paging work, and 64
million instructions run at native speed. A KVM that interprets its guests, as on some rented machines, starts SeaBIOS
within 3 s, but a kernel does not get through its decompression. The guest reports success by the exit status of
QEMU's `isa-debug-exit` device.
"""

from __future__ import annotations

_SECTOR_BYTES = 512
_EXIT_BYTE = 0x2A

EXIT_PORT = 0xF4
"""I/O port of the device."""

EXIT_STATUS = _EXIT_BYTE << 1 | 1
"""Exit status of QEMU after success."""

_PROGRAM = """
fa                    ; cli                      real mode: segments and stack
31 c0                 ; xor ax, ax
8e d8                 ; mov ds, ax
8e d0                 ; mov ss, ax
bc 00 7c              ; mov sp, 7c00
fb                    ; sti
b9 03 00              ; mov cx, 3                three ticks of the BIOS's clock
66 a1 6c 04           ; mov eax, [46c]
f4                    ; hlt
66 39 06 6c 04        ; cmp [46c], eax
74 f8                 ; je hlt
e2 f2                 ; loop mov eax
fa                    ; cli
0f 01 16 94 7c        ; lgdt [7c94]              protected mode
0f 20 c0              ; mov eax, cr0
0c 01                 ; or al, 1
0f 22 c0              ; mov cr0, eax
ea 2f 7c 08 00        ; jmp 8:7c2f
66 b8 10 00           ; mov ax, 10               from here on 32 bits
8e d8                 ; mov ds, ax
8e d0                 ; mov ss, ax
c7 05 00 00 01 00 83 00 00 00 ; mov dword [10000], 83   paging: one page of 4 MiB, mapped to itself
0f 20 e0              ; mov eax, cr4
0c 10                 ; or al, 10
0f 22 e0              ; mov cr4, eax
b8 00 00 01 00        ; mov eax, 10000
0f 22 d8              ; mov cr3, eax
0f 20 c0              ; mov eax, cr0
0d 00 00 00 80        ; or eax, 80000000
0f 22 c0              ; mov cr0, eax
b9 00 00 00 01        ; mov ecx, 1000000         work: 16 Mi rounds of adding to 1 MiB of memory
89 c8                 ; mov eax, ecx
25 fc ff 0f 00        ; and eax, ffffc
01 88 00 00 10 00     ; add [100000 + eax], ecx
49                    ; dec ecx
75 f0                 ; jnz mov eax
66 ba f4 00           ; mov dx, f4               the end
b0 2a                 ; mov al, 2a
ee                    ; out dx, al
f4                    ; hlt
eb fd                 ; jmp hlt
90                    ; nop
00 00 00 00 00 00 00 00 ; 7c7c: the descriptors   none
ff ff 00 00 00 9a cf 00 ;                         code, 4 GiB from 0
ff ff 00 00 00 92 cf 00 ;                         data, 4 GiB from 0
17 00 7c 7c 00 00     ; 7c94: their length - 1 and address
"""


def boot_sector() -> bytes:
    """The disk image of the guest: 512 bytes."""
    code = bytes.fromhex("".join(line.partition(";")[0] for line in _PROGRAM.splitlines()))
    return code.ljust(_SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"
