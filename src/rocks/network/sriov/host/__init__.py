"""SR-IOV virtual functions: created through sysfs, configured by netlink, assigned to guests."""
