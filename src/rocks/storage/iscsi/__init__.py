"""iSCSI: exports of a NAS through LIO (rtslib), and sessions of a host through open-iscsi."""
