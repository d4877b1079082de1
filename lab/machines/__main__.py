"""The lab from a terminal, behind `make lab` and its companions:

    python3 -m lab.machines build [again]     make the machines' image and QEMU, if need be (again: from nothing)
    python3 -m lab.machines start             build, and have all machines running and ready
    python3 -m lab.machines status            what runs
    python3 -m lab.machines clean             bring every machine back to the state it had after the start
    python3 -m lab.machines demo              a site with a virtual cluster on them, for a person to try
    python3 -m lab.machines run PROGRAM…      run a program inside the lab's network
    python3 -m lab.machines ssh MACHINE …     a shell, or a program, on a machine
    python3 -m lab.machines stop              end all of it and remove what it left

Needs nothing but Python itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.build import parts
from lab.build.cache import Cache
from lab.machines import surroundings
from lab.machines.demo import show_site
from lab.machines.kvm import kvm_works
from lab.machines.lab import Lab
from lab.machines.namespace import Namespace
from lab.machines.roster import MACHINES
from lab.progress import Progress
from rocks.errors import BusyError, RocksError, StateError, UserError
from rocks.process import replace_this_process, run_interactively

CHECKOUT = Path(__file__).absolute().parent.parent.parent
STATE = CHECKOUT / ".state" / "lab"
CACHE = CHECKOUT / ".state" / "lab-cache"
_KVM_MEMORY = CHECKOUT / ".state" / "lab-kvm"
_BUILD_RECORD = STATE / "built"
_LOCK = CHECKOUT / ".state" / "lab.lock"


def main(arguments: Sequence[str]) -> int:
    """Do what the first word says; returns the exit status."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # a text stream, whatever it is tied to
    deeds: dict[str, Callable[[Sequence[str]], None]] = {
        "build": _build,
        "start": _start,
        "status": _status,
        "clean": _clean,
        "demo": _demo,
        "run": _run,
        "ssh": _ssh,
        "stop": _stop,
    }
    try:
        if not arguments or arguments[0] not in deeds:
            raise UserError(f"usage: python3 -m lab.machines {'|'.join(deeds)} …")
        deeds[arguments[0]](arguments[1:])
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"Error: this machine refused: {error.strerror}{where}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted; the same command goes on from here, `make lab-stop` ends the lab", file=sys.stderr
        )
        return 130
    return 0


def open_lab() -> Lab:
    """The lab of this checkout, for a program inside its namespace. StateError when it is not built."""
    _refuse_other_build()
    built = parts.required(Cache(CACHE))
    return Lab(STATE, built, kvm_works(built, _KVM_MEMORY))


def _build(words: Sequence[str]) -> None:
    if words not in ([], ["again"]):
        raise UserError("usage: python3 -m lab.machines build [again]")
    with _alone():
        _build_if_needed(again=bool(words))


def _build_if_needed(again: bool = False) -> None:
    cache = Cache(CACHE)
    if parts.is_built(cache) and not again:
        return
    surroundings.require_root_to_build()
    surroundings.require_room(CACHE, surroundings.BUILD_BYTES, "building the lab")
    print("Building the lab's machines, from Debian's packages:")
    surroundings.ensure_packages()
    if again:
        shutil.rmtree(CACHE, ignore_errors=True)
    parts.build(cache, Progress())


def _start(words: Sequence[str]) -> None:
    _no_words("start", words)
    namespace = Namespace(STATE)
    if namespace.surrounds_this_process():  # started by the lines below
        progress = Progress()
        lab = open_lab()
        lab.start(progress)
        return
    surroundings.require_writable(CHECKOUT / ".state")
    surroundings.require_tun()
    with _alone():
        if namespace.holder() is not None:
            _refuse_other_build()
        _build_if_needed()
        if namespace.holder() is None:
            _clear(namespace)
            surroundings.require_room(STATE, surroundings.RUN_BYTES, "running the lab")
            wanted_mb = sum(machine.memory_mb for machine in MACHINES) + surroundings.MEMORY_RESERVE_MB
            surroundings.require_memory(wanted_mb)
            STATE.mkdir(parents=True, exist_ok=True)
            _BUILD_RECORD.write_text(repr(parts.keys()), encoding="ascii")
            namespace.start()
        built = parts.required(Cache(CACHE))
        accelerator = (
            "KVM" if kvm_works(built, _KVM_MEMORY) else "emulation (TCG): no guest boots under KVM here"
        )
        print(f"The lab's machines, by {accelerator}:")
        status = run_interactively(namespace.command([*_this_program(), "start"]))
        if status != 0:
            raise SystemExit(status)
    print("The lab runs: `python3 -m lab.machines ssh vmh1` is a shell on a host, `make lab-stop` ends it.")


def _refuse_other_build() -> None:
    """StateError when the machines that run were built from other sources: their image must stay as long as they do."""
    if not _BUILD_RECORD.exists() or _BUILD_RECORD.read_text(encoding="ascii") != repr(parts.keys()):
        raise StateError(
            "the lab runs, built from sources that have changed since: `make lab-stop`, then `make lab`"
        )


def _clear(namespace: Namespace) -> None:
    """End and remove what a lab left that was not stopped."""
    names = namespace.stop()
    if names or STATE.exists():
        print("An earlier lab was cut off; what it left is removed.")
    shutil.rmtree(STATE, ignore_errors=True)


def _status(words: Sequence[str]) -> None:
    _no_words("status", words)
    namespace = Namespace(STATE)
    if not namespace.surrounds_this_process():
        if namespace.holder() is None:
            print("the lab does not run")
            return
        replace_this_process(namespace.command([*_this_program(), "status"]))
    for name, machine in open_lab().machines.items():
        print(f"{name}: {machine.state().value}, {machine.description.address}")


def _clean(words: Sequence[str]) -> None:
    _no_words("clean", words)
    namespace = Namespace(STATE)
    if not namespace.surrounds_this_process():
        replace_this_process(namespace.command([*_this_program(), "clean"]))
    print(f"all machines are as they were after the start ({open_lab().return_to_clean_state():.1f} s)")


def _demo(words: Sequence[str]) -> None:
    _no_words("demo", words)
    namespace = Namespace(STATE)
    if not namespace.surrounds_this_process():
        _start([])
        replace_this_process(namespace.command([*_this_program(), "demo"]))
    show_site(open_lab())


def _run(words: Sequence[str]) -> None:
    if not words:
        raise UserError("usage: python3 -m lab.machines run PROGRAM…")
    namespace = Namespace(STATE)
    command = list(words) if namespace.surrounds_this_process() else namespace.command(words)
    # bin/rocks then speaks to the database inside, and not to the demo's
    os.environ["ROCKS_STATE"] = str(STATE)
    replace_this_process(command)


def _ssh(words: Sequence[str]) -> None:
    machines = {machine.name: machine for machine in MACHINES}
    if not words or words[0] not in machines:
        raise UserError(f"usage: python3 -m lab.machines ssh {'|'.join(machines)} [PROGRAM…]")
    keys = STATE / "keys"
    options = [
        "-F",
        "none",
        "-i",
        str(keys / "operator_key"),
        "-o",
        f"UserKnownHostsFile={keys / 'known_hosts'}",
    ]
    options += ["-o", f"HostKeyAlias={words[0]}", "-o", "IdentitiesOnly=yes"]
    _run(["ssh", *options, f"root@{machines[words[0]].address}", *words[1:]])


def _stop(words: Sequence[str]) -> None:
    _no_words("stop", words)
    with _alone():
        names = Namespace(STATE).stop()
        shutil.rmtree(STATE, ignore_errors=True)
    print(
        f"ended {', '.join(names)}; the lab is stopped"
        if names
        else "the lab does not run, and nothing is left of it"
    )


def _no_words(deed: str, words: Sequence[str]) -> None:
    if words:
        raise UserError(f"usage: python3 -m lab.machines {deed}")


def _this_program() -> list[str]:
    path = f"PYTHONPATH={CHECKOUT}:{CHECKOUT / 'src'}"
    return ["/usr/bin/env", path, sys.executable, "-m", "lab.machines"]


@contextmanager
def _alone() -> Iterator[None]:
    _LOCK.parent.mkdir(exist_ok=True)
    with _LOCK.open("a", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                "another command is building, starting or stopping this lab; wait for it"
            ) from None
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
