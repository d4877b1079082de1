"""Limits of CPUs and memory. Pure.

The other limits of machines: `machine.limits`.
"""

MAX_CPUS = 4096
"""The most processors of a physical host: more is a typing error."""

MAX_VM_CPUS = 255
"""The most of a virtual machine: QEMU's q35 needs a device that remaps interrupts for more."""

DEFAULT_VM_CPUS = 1
