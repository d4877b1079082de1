"""Cores, memory of NUMA nodes and PCI devices that a machine has for itself."""
