"""The one lab that a checkout has: its folders, the record of its build, and its `Lab` for a program inside."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

from lab.build import own_packages, parts
from lab.build.cache import Cache
from lab.build.mirrors import release
from lab.build.parts import OWN_RELEASE, Built, Keys, Releases
from lab.machines.kvm import kvm_works
from lab.machines.lab import Lab
from lab.machines.roster import MACHINES
from lab.processes import locked
from rocks.core.errors import StateError

CHECKOUT = Path(__file__).absolute().parent.parent.parent
STATE = CHECKOUT / ".state" / "lab"
"""Files of the running lab; removed at its end."""

CACHE = CHECKOUT / ".state" / "lab-cache"
"""The built parts; they stay."""

_KVM_MEMORY = CHECKOUT / ".state" / "lab-kvm"
_BUILD_RECORD = STATE / "built"
_PATCH_RECORD = STATE / "patched"
_CPUS_RECORD = STATE / "cpus"
_LOCK = CHECKOUT / ".state" / "lab.lock"


def open_lab() -> Lab:
    """The lab of this checkout, for a program inside its namespace. StateError when it is not built."""
    check_same_modules()
    return open_built_lab()


def open_built_lab() -> Lab:
    """The same, whatever modules of ours the checkout has by now."""
    check_same_build()
    built = built_parts()
    cpus = int(_CPUS_RECORD.read_text(encoding="ascii"))
    return Lab(STATE, built, with_kvm(built), [machine._replace(cpus=cpus) for machine in MACHINES])


def with_kvm(built: Built) -> bool:
    """Whether the machines run under KVM here; found out once for each boot of the carrying machine."""
    return kvm_works(built, _KVM_MEMORY)


def record_build(cpus: int, isos: str = "", releases: Releases = OWN_RELEASE) -> None:
    """Record the keys of the parts of the machines about to start, and the number of processors of each machine.

    `isos` is the key of the ISOs from which they were built, if they were.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    _CPUS_RECORD.write_text(str(cpus), encoding="ascii")
    modules = parts.modules_on_isos(Cache(CACHE), isos) if isos else ""
    own = release()
    releases = Releases(*(name or own for name in releases))
    _BUILD_RECORD.write_text(json.dumps(parts.keys(modules, isos, releases)._asdict()), encoding="ascii")
    _PATCH_RECORD.unlink(missing_ok=True)


def record_patch(key: str) -> None:
    """Record that the machines have modules of that key over those of their packages."""
    _PATCH_RECORD.write_text(key, encoding="ascii")


def is_patched() -> bool:
    """Whether the machines run modules of a checkout instead of those of their packages."""
    return _PATCH_RECORD.exists()


def built_parts() -> Built:
    """The parts that the running machines were built from, or are about to start from."""
    return parts.required(Cache(CACHE), _recorded_keys())


def check_same_build() -> None:
    """StateError when the running machines were built from other sources, our modules left aside: their image must stay
    while they run.
    """
    recorded = _recorded_keys()
    if not _BUILD_RECORD.exists() or recorded != parts.keys(
        recorded.modules, recorded.isos, Releases(*recorded.releases)
    ):
        raise StateError(
            "the lab runs, built from sources that have changed since: `make lab-stop`, then `make lab`"
        )


def check_same_modules() -> None:
    """StateError when the running machines have other modules of ours than the checkout."""
    there = _PATCH_RECORD.read_text(encoding="ascii") if is_patched() else _recorded_keys().modules
    if there != own_packages.modules_key():
        anew = (
            "`make roll`, `make lab-stop`, then `make lab ISOS=…` again puts packages with them on the machines"
            if is_of_isos()
            else "`make lab-stop`, then `make lab` builds the packages with them"
        )
        raise StateError(
            f"the lab runs with other modules than src has now: `bin/lab patch` copies these to the machines; {anew}"
        )


def is_of_isos() -> bool:
    """Whether the running machines were built from ISOs."""
    return bool(_recorded_keys().isos)


def check_same_isos(isos: str) -> None:
    """StateError when the running machines were not built from the ISOs of that key."""
    if _recorded_keys().isos != isos:
        there = "from other ISOs" if is_of_isos() else "from Debian's mirrors"
        raise StateError(f"the lab runs, built {there}: `make lab-stop`, then the same again")


def releases_there() -> Releases:
    """The names of the releases of Debian that the running machines have."""
    return _recorded_keys().releases


def check_same_releases(releases: Releases) -> None:
    """StateError when the running machines have not the releases of Debian that are named."""
    there = releases_there()
    if any(name not in ("", has) for has, name in zip(there, releases, strict=True)):
        raise StateError(
            f"the lab runs, with hosts={there.hosts} nas={there.nas}: `make lab-stop`, then the same again"
        )


def _recorded_keys() -> Keys:
    try:
        found = Keys(**json.loads(_BUILD_RECORD.read_text(encoding="ascii")))
        return found._replace(releases=Releases(*found.releases))
    except (OSError, ValueError, TypeError):  # none, or of another version of this module
        return Keys("", "", "", "", "", "", "", "")


def check_same_cpus(cpus: int) -> None:
    """StateError when the running machines have another number of processors: their saved states depend on it."""
    there = _CPUS_RECORD.read_text(encoding="ascii")
    if there != str(cpus):
        raise StateError(
            f"the lab runs with cpus={there} for each machine, not cpus={cpus}: `make lab-stop`, then the same again"
        )


def only_command() -> AbstractContextManager[None]:
    """BusyError when another command builds, starts, patches or stops the lab; else none can until the block's end."""
    _LOCK.parent.mkdir(exist_ok=True)
    return locked(_LOCK, "another command is building, starting, patching or stopping this lab; wait for it")
