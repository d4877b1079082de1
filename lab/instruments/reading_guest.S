# A guest that fits into a boot sector and reads: 64 MiB of its disk as a system does while it boots, then on and on.
#
# It reads the first 64 MiB in pieces of 64 KiB, one after the other, and says `ready 00000400`: the number of pieces. From
# then on it reads a piece four times a second, from the beginning again and again, and says `beat XXXXXXXX` for each, the
# number of all pieces so far. It writes nothing. `error SS` is the BIOS's status of a failed transfer; it is tried again,
# and the number does not go on meanwhile.
# The disk must have 64 MiB at least, be sector-addressable by BIOS, and be the one booted from.

        .code16
        .globl  _start

        .set    pieces, 1024            # of 128 sectors, the most that SeaBIOS takes at once
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
        movl    $0, count

next:   movl    count, %eax
        andl    $(pieces - 1), %eax
        shll    $7, %eax
        movl    %eax, sector
        movw    $128, sectors           # the BIOS puts in how many it did
        movb    drive, %dl
        movw    $packet, %si
        movw    $0x4200, %ax
        int     $0x13
        jc      failed
        incl    count
        movl    count, %eax
        cmpl    $pieces, %eax
        jb      next
        movw    $beat_text, %si
        jne     1f
        movw    $ready_text, %si
1:      call    say
        movw    $4, %cx
        call    wait
        jmp     next

failed: movzbl  %ah, %eax
        movw    $error_text, %si
        call    say
        movw    $18, %cx
        call    wait
        jmp     next

# Until the tick has changed %cx times.
wait:   movl    ticks, %eax
2:      hlt
        cmpl    ticks, %eax
        je      2b
        loop    wait
        ret

# The text at %si, which ends in a zero, %eax in hexadecimal digits, and a new line.
say:    pushl   %eax
3:      lodsb
        testb   %al, %al
        jz      4f
        call    put
        jmp     3b
4:      popl    %eax
        movw    $8, %cx
5:      roll    $4, %eax
        pushl   %eax
        andb    $15, %al
        cmpb    $10, %al
        sbbb    $0x69, %al              # the digit's character by decimal adjustment
        das
        call    put
        popl    %eax
        loop    5b
        movb    $13, %al
        call    put
        movb    $10, %al
# falls through: the character %al to the serial line
put:    pushw   %ax
        movw    $0x3fd, %dx
6:      inb     %dx, %al
        testb   $0x20, %al
        jz      6b
        popw    %ax
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret

ready_text: .asciz "ready "
beat_text:  .asciz "beat "
error_text: .asciz "error "

drive:  .byte   0
        .balign 4
packet: .byte   16, 0
sectors: .word  128
        .word   0, 0x1000               # to 64 KiB: offset, segment
sector: .long   0, 0

        .org    446                     # the partition table's place stays empty
        .org    510
        .word   0xaa55
