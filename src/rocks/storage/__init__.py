"""Image storage: disks as volumes on a NAS that become local while a VM runs."""
