"""Words that a person looks for, and the commands that are meant; the commands of every day."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TOPICS = {
    "account": ("sync users", "add host key"),
    "backup": ("save site", "restore site", "load dump", "add host vm snapshot", "update database"),
    "boot": ("start", "set host boot", "list host boot"),
    "broken": ("evacuate host", "stop host vm", "check site"),
    "change": ("set",),
    "console": ("open host console", "report host vm console", "report host vm screen"),
    "delete": ("remove",),
    "destroy": ("remove",),
    "execute": ("run",),
    "cpu": ("set host cpus", "set host vm", "list host vm shape"),
    "fail": ("evacuate host", "stop host vm", "check site"),
    "grow": ("set host vm disk", "set host vm"),
    "iso": ("add image", "list image", "set host vm cdrom"),
    "limit": ("set host cpus", "set host vm", "list host vm shape", "set attr"),
    "log": ("list audit", "report bug", "open host console", "report host vm console"),
    "login": ("open host console", "add host key", "create keys"),
    "maintenance": ("drain host", "move host vm", "evacuate host"),
    "memory": ("set host vm", "list host vm shape", "list site"),
    "migrate": ("move",),
    "network": ("add network", "list network", "set network", "list host interface", "sync host network"),
    "password": ("set sec_attr", "set host sec_attr", "list sec_attr"),
    "pxe": ("set host boot", "discover host", "report host dhcpd", "start service boot", "list bootaction"),
    "quota": (
        "set host vm disk",
        "set host vm",
        "set host cpus",
        "set host storageattr",
        "set host zvolattr",
    ),
    "reboot": ("stop host vm", "stop cluster", "set host power"),
    "reinstall": ("set host boot", "set host power", "reinstall cluster"),
    "rename": ("set host name", "set host interface name"),
    "replace": ("evacuate host", "remove host", "add host"),
    "reset": ("stop host vm", "stop cluster"),
    "resize": ("set host vm disk", "set host vm", "set host cpus"),
    "restart": ("stop host vm", "stop cluster", "start"),
    "show": ("list",),
    "shutdown": ("stop host vm", "stop cluster"),
    "status": ("list site", "list host vm", "check site", "check services"),
    "undo": ("restore host vm snapshot", "restore host storageimg", "restore site"),
    "upgrade": ("update database", "sync config", "run host", "add roll", "create distro"),
}
"""A word → the commands, or the verbs, that are meant by it."""

OF_NUCLEUS = {
    "accounting": "usage",
    "allocation": "allocation",
    "charge": "usage",
    "cost": "usage",
    "owner": "user",
    "project": "project",
    "token": "token",
    "usage": "usage",
    "user": "user",
}
"""A word that a person looks for → the command of Nucleus that is meant by it: `nucleus user`."""

DAILY = {
    "Look": {
        "list site": "the site on a page; watch=yes follows it",
        "list cluster": "virtual clusters and their machines",
        "list host": "hosts",
        "list host vm": "virtual machines; status=yes shows which run",
        "list host storagemap": "the images of a NAS, and where they are",
        "list image": "the library of images",
        "list audit": "who changed what",
        "check site": "whether the site can install and run machines",
        "report host vm screen": "a picture of a machine's screen",
    },
    "Virtual clusters": {
        "add cluster": "record a frontend and its compute nodes",
        "start cluster": "start one, its frontend first",
        "stop cluster": "stop one",
        "clone cluster": "copy a cluster",
        "reinstall cluster": "install its nodes anew",
        "remove cluster": "remove its machines and, with disks=remove, their disks",
    },
    "Virtual machines": {
        "start host vm": "start machines",
        "stop host vm": "power off, shut down, reset or reboot them",
        "set host vm": "change their memory, CPUs, disks or host",
        "set host vm cdrom": "put a CD in",
        "open host console": "the console of a machine",
        "move host vm": "to another host",
        "add host vm snapshot": "keep the disks as they are now",
    },
    "Hosts": {
        "discover host": "record hosts as they boot from the network",
        "add host": "record one",
        "set host attr": "an attribute of a host; set attr is for all of them",
        "run host": "a command on hosts",
        "drain host": "move or stop its machines before its maintenance",
        "evacuate host": "free the machines of a host that has failed",
    },
    "The site": {
        "add image": "import a disk image or an ISO",
        "sync config": "write the configuration that the database states",
        "save site": "all of it into one encrypted file",
        "report bug": "collect what a report of a fault needs",
    },
}
"""A title → commands, and what each is for."""


def commands_about(text: str, commands: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The commands of that topic, then those whose names, topics and purposes have each part of the text."""
    parts = text.lower().split()
    by_topic = [path for path in commands if parts and set(parts) <= set(topics_of(path))]
    purposes = {name: purpose for named in DAILY.values() for name, purpose in named.items()}

    def has(path: Sequence[str], part: str) -> bool:
        known = {*path, *topics_of(path), *re.findall(r"\w+", purposes.get(" ".join(path), "").lower())}
        return part in known or (part.endswith("s") and part[:-1] in known)

    about = [path for path in commands if parts and all(has(path, part) for part in parts)]
    about.sort(key=lambda path: not set(parts) <= set(path))
    return list(dict.fromkeys([*by_topic, *about]))


def topics_of(command_path: Sequence[str]) -> list[str]:
    """The topics of a command: those that name it, or its verb."""
    named = {" ".join(command_path), command_path[0]}
    return [topic for topic, starts in TOPICS.items() if not named.isdisjoint(starts)]


def synonym(word: str) -> str:
    """The verb that is meant by another; the word itself when it is none."""
    starts = TOPICS.get(word, ())
    return starts[0] if len(starts) == 1 else word


def commands_of_nucleus(text: str) -> list[str]:
    """The command line of Nucleus that the text, or its plural, means; none for another text."""
    return [
        f"nucleus {command}" for word, command in OF_NUCLEUS.items() if text.lower() in (word, f"{word}s")
    ]
