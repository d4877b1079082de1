"""Disks of physical hosts: their partitions, and where disks of guests may be."""
