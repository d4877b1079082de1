"""iSCSI exports through LIO (rtslib)."""
