"""Operations on the carrying machine, outside the namespace: build the lab, start the namespace, end it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.build import parts
from lab.build.cache import Cache
from lab.build.iso_images import key_of_isos
from lab.build.parts import OWN_RELEASE, Releases
from lab.machines import surroundings
from lab.machines.checkout import (
    CACHE,
    CHECKOUT,
    STATE,
    built_parts,
    check_same_build,
    check_same_cpus,
    check_same_isos,
    check_same_modules,
    check_same_releases,
    only_command,
    record_build,
    with_kvm,
)
from lab.machines.namespace import Namespace
from lab.machines.roster import MACHINES
from lab.progress import Progress
from rocks.core.errors import StateError
from rocks.core.process import run_interactively


def build(again: bool = False, isos: Sequence[Path] = (), releases: Releases = OWN_RELEASE) -> None:
    """Have every part in the cache, with machines from the ISOs if some are given; `again`: from nothing.

    StateError while machines run from the present parts.
    """
    with only_command():
        if again and Namespace(STATE).holder() is not None:
            raise StateError("the lab runs on the parts that would be removed: `make lab-stop` first")
        if Namespace(STATE).holder() is not None:
            check_same_build()
            check_same_modules()
            if isos:
                check_same_isos(key_of_isos(isos))
            check_same_releases(releases)
        else:
            _ensure_built(again, isos, releases)


def start(
    start_machines: Sequence[str], cpus: int, isos: Sequence[Path] = (), releases: Releases = OWN_RELEASE
) -> None:
    """Have the lab built, its namespace there, and the program `start_machines` run inside to its end.

    With ISOs its machines are built from these; without, a lab that runs goes on, whatever it was built from.
    RocksError with what to do when this machine cannot carry it; SystemExit with the program's status when it fails.
    """
    surroundings.require_writable(CHECKOUT / ".state")
    _ensure_programs(to_build=False)
    surroundings.require_tun()
    namespace = Namespace(STATE)
    with only_command():
        if namespace.holder() is not None:
            check_same_build()
            check_same_modules()
            check_same_cpus(cpus)
            if isos:
                check_same_isos(key_of_isos(isos))
            check_same_releases(releases)
        else:
            key = _ensure_built(isos=isos, releases=releases)
            _clear(namespace)
            surroundings.require_free_space(STATE, surroundings.RUN_BYTES, "running the lab")
            needed_mb = sum(machine.memory_mb for machine in MACHINES) + surroundings.MEMORY_RESERVE_MB
            surroundings.require_memory(needed_mb)
            record_build(cpus, key, releases)
            namespace.start()
        kvm = with_kvm(built_parts())
        accelerator = "KVM" if kvm else "emulation (TCG): no guest boots under KVM here"
        print(f"The lab's machines, by {accelerator}:")
        _run_to_its_end(namespace.command(start_machines))


def stop() -> list[str]:
    """End the lab, in any state, and remove its files; returns the names of the programs that were ended."""
    with only_command():
        names = Namespace(STATE).stop()
        shutil.rmtree(STATE, ignore_errors=True)
    return names


def _ensure_built(again: bool = False, isos: Sequence[Path] = (), releases: Releases = OWN_RELEASE) -> str:
    """Returns the key of the ISOs, '' without."""
    cache = Cache(CACHE)
    key = key_of_isos(isos) if isos else ""
    if parts.is_built(cache, key, releases) and not again:
        return key
    surroundings.require_root_to_build()
    _ensure_programs(to_build=True)
    if isos and surroundings.missing_programs_for_isos(CHECKOUT):
        _run_to_its_end([str(CHECKOUT / "tools" / "setup"), "roll"])
    if again:
        shutil.rmtree(CACHE, ignore_errors=True)
    surroundings.require_free_space(CACHE, surroundings.BUILD_BYTES, "building the lab")
    origin = ", ".join(iso.name for iso in isos) or "Debian's packages"
    print(f"Building the lab's machines, from {origin}:")
    parts.build(cache, Progress(), isos, releases)
    return key


def _ensure_programs(to_build: bool) -> None:
    if surroundings.missing_programs(to_build):
        _run_to_its_end([str(CHECKOUT / "tools" / "setup"), "lab"])


def _run_to_its_end(arguments: Sequence[str]) -> None:
    status = run_interactively(arguments)
    if status != 0:
        raise SystemExit(status)


def _clear(namespace: Namespace) -> None:
    """End the programs and remove the files of a lab that was not stopped."""
    names = namespace.stop()
    if names or STATE.exists():
        print("An earlier lab was interrupted; its programs and files are removed.")
    shutil.rmtree(STATE, ignore_errors=True)
