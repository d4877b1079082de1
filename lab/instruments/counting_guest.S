# A guest that fits into a boot sector and counts: on its disk, and on its serial line (COM1).
#
# A count is a block of 4 KiB: "CNTG", the count n (32 bits, little-endian), then 1022 words, each the one before plus
# 0x9e3779b1, beginning with n + 0x9e3779b1. For each count the guest writes the block into slot n mod 1024 of a ring
# (slot k lies at sector 4096 + 8 k), then at sector 2048 (1 MiB), and says `count XXXXXXXX`. Then it reads the block
# of the count 64 before from the ring and compares all of it; `lost XXXXXXXX` says that it is not what was written.
# `error SS` is the BIOS's status of a failed transfer; it is tried again, and the count does not go on meanwhile.
# It begins with what sector 2048 has, and says `start XXXXXXXX`. Four counts a second, so that several guests
# on an emulated host leave it some of its time.
# The disk must have 6.1 MB at least, be sector-addressable by BIOS, and be the one booted from.

        .code16
        .globl  _start

        .set    block, 0x8000           # the count that is written
        .set    seen, 0xa000            # what was read from the ring
        .set    count, 0x0600           # variables lie in memory that nobody uses
        .set    ticks, 0x046c           # the BIOS counts them, 18.2 a second

_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        movb    %dl, drive

first:  movw    $block, address
        call    at_counter
        movb    $0x42, %ah
        call    transfer
        jc      first
        xorl    %eax, %eax
        cmpl    $0x47544e43, block
        jne     1f
        movl    block+4, %eax
1:      movl    %eax, count
        movw    $start_text, %si
        call    say

next:   incl    count
        movl    count, %eax
        call    fill
        movw    $block, address
2:      movl    count, %eax
        call    at_slot
        movb    $0x43, %ah
        call    transfer
        jc      2b
3:      call    at_counter
        movb    $0x43, %ah
        call    transfer
        jc      3b
        movl    count, %eax
        movw    $count_text, %si
        call    say
        cmpl    $64, count
        jbe     5f
        movw    $seen, address
4:      movl    count, %eax
        subl    $64, %eax
        pushl   %eax
        call    fill
        popl    %eax
        call    at_slot
        movb    $0x42, %ah
        call    transfer
        jc      4b
        movw    $block, %si
        movw    $seen, %di
        movw    $1024, %cx
        repe cmpsl
        je      5f
        movl    count, %eax
        subl    $64, %eax
        movw    $lost_text, %si
        call    say
5:      movw    $4, %cx
        call    wait
        jmp     next

# The block of count %eax into `block`.
fill:   movw    $block, %di
        pushl   %eax
        movl    $0x47544e43, %eax
        stosl
        popl    %eax
        movw    $1023, %cx
6:      stosl
        addl    $0x9e3779b1, %eax
        loop    6b
        ret

# The packet's sector: of slot %eax of the ring, or of the counter.
at_slot:
        andl    $1023, %eax
        shll    $3, %eax
        addl    $4096, %eax
        movl    %eax, sector
        ret
at_counter:
        movl    $2048, sector
        ret

# Read (%ah 0x42) or write (0x43) by the packet. Carry set: it failed, was reported, and a second has passed.
transfer:
        xorb    %al, %al                # no verification by the BIOS
        movw    $8, sectors             # the BIOS puts in how many it did
        movb    drive, %dl
        movw    $packet, %si
        int     $0x13
        jnc     7f
        movzbl  %ah, %eax
        movw    $error_text, %si
        call    say
        movw    $18, %cx
        call    wait
        stc
7:      ret

# Until the tick has changed %cx times.
wait:   movl    ticks, %eax
8:      hlt
        cmpl    ticks, %eax
        je      8b
        loop    wait
        ret

# The text at %si, which ends in a zero, %eax in hexadecimal digits, and a new line.
say:    pushl   %eax
9:      lodsb
        testb   %al, %al
        jz      10f
        call    put
        jmp     9b
10:     popl    %eax
        movw    $8, %cx
11:     roll    $4, %eax
        pushl   %eax
        andb    $15, %al
        cmpb    $10, %al
        sbbb    $0x69, %al              # the digit's character by decimal adjustment
        das
        call    put
        popl    %eax
        loop    11b
        movb    $13, %al
        call    put
        movb    $10, %al
# falls through: the character %al to the serial line
put:    pushw   %ax
        movw    $0x3fd, %dx
12:     inb     %dx, %al
        testb   $0x20, %al
        jz      12b
        popw    %ax
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret

start_text: .asciz "start "
count_text: .asciz "count "
lost_text:  .asciz "lost "
error_text: .asciz "error "

drive:  .byte   0
        .balign 4
packet: .byte   16, 0
sectors: .word  8
address: .word  block, 0
sector: .long   0, 0

        .org    446                     # the partition table's place stays empty
        .org    510
        .word   0xaa55
