"""Machines for demo, tests and bench: sites in namespaces of this machine, and virtual machines (`lab.machines`).

| to change | module |
|---|---|
| which files, devices and folders a machine has | `root_folder`, `device_nodes` |
| how it starts, ends and is entered | `namespace`, `supervisor` |
| namespaces of a whole test run | `isolation` |
| a daemon on it | `database`, `libvirtd`, `sshd`; `broker` and `mariadb` without a machine |
| a site, the demos on it | `site`; `demos`, `console`, `guest` |
| manual and reference pages, the files of a new command | `pages` |
"""
