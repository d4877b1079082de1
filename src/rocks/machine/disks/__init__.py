"""Disks and drives of machines: files on hosts, volumes of NASes, media."""
