"""iSCSI sessions of this host through open-iscsi."""
