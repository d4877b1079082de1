"""Limits of CPUs and memory. Pure.

The other limits of machines: `machine.limits`.
"""

MAX_CPUS = 4096
"""Of a physical host: more is a typing error."""

MAX_VM_CPUS = 255
"""Of a virtual machine: QEMU's q35 has more only with a device that remaps interrupts, which our domains lack."""

DEFAULT_VM_CPUS = 1
