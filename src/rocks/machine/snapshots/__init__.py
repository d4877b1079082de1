"""Snapshots of disks, and machines that are saved with their memory."""
