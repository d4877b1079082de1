"""The lab from a terminal, behind `make lab` and its companions:

    bin/lab build [again] [isos=…]
                              make the machines' image and QEMU, if need be (again: from nothing)
    bin/lab start [cpus=2] [isos=…] [hosts=RELEASE] [nas=RELEASE]
                              build, and have all machines running and ready; with two processors each, two nested
                              guests on a host can stop it for ever (docs/lab.md); isos="dist/ROLL.iso dist/os-….iso":
                              machines from these ISOs; hosts=trixie, nas=trixie: of that release of Debian (build
                              takes it, too)
    bin/lab status            what runs
    bin/lab patch             put the modules of src over those of the packages, until the lab is stopped
    bin/lab clean             bring every machine back to the state it had after the start
    bin/lab demo              a site with a virtual cluster on them, for a person to try
    bin/lab run PROGRAM…      run a program inside the lab's network
    bin/lab ssh MACHINE …     a shell, or a program, on a machine
    bin/lab stop              end all of it and remove what it left

Needs nothing but Python itself.
"""

from __future__ import annotations

import glob
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.build.mirrors import names_of_releases
from lab.build.parts import Releases
from lab.machines import carrier
from lab.machines.checkout import (
    CHECKOUT,
    STATE,
    is_of_isos,
    is_patched,
    only_command,
    open_built_lab,
    open_lab,
    releases_there,
)
from lab.machines.demo import show_site
from lab.machines.login import ssh_command
from lab.machines.namespace import Namespace
from lab.machines.patch import patch
from lab.machines.roster import MACHINES, VMH1
from lab.progress import Progress
from rocks.core.errors import RocksError, UserError
from rocks.core.process import replace_this_process


def main(arguments: Sequence[str]) -> int:
    """Run the command that the first argument names; returns the exit status."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # a text stream, also in a pipe
    commands: dict[str, Callable[[Sequence[str]], None]] = {
        "build": _build,
        "start": _start,
        "status": _status,
        "patch": _patch,
        "clean": _clean,
        "demo": _demo,
        "run": _run,
        "ssh": _ssh,
        "stop": _stop,
    }
    try:
        if not arguments or arguments[0] not in commands:
            raise UserError(f"usage: bin/lab {'|'.join(commands)} …")
        commands[arguments[0]](arguments[1:])
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"Error: this machine refused: {error.strerror}{where}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted; the same command continues from here, `make lab-stop` ends the lab",
            file=sys.stderr,
        )
        return 130
    return 0


def _build(arguments: Sequence[str]) -> None:
    others, isos = split_isos(arguments)
    others, releases = split_releases(others, isos)
    if others not in ([], ["again"]):
        raise UserError("usage: bin/lab build [again] [isos=ISOS] [hosts=RELEASE] [nas=RELEASE]")
    carrier.build(bool(others), isos, releases)


def _start(arguments: Sequence[str]) -> None:
    others, isos = split_isos(arguments)
    others, releases = split_releases(others, isos)
    if others not in ([], ["cpus=1"], ["cpus=2"]):
        raise UserError("usage: bin/lab start [cpus=1|cpus=2] [isos=ISOS] [hosts=RELEASE] [nas=RELEASE]")
    if Namespace(STATE).surrounds_this_process():  # started by the line below
        open_lab().start(Progress())
        _report_build()
        return
    cpus = int(others[0].partition("=")[2]) if others else VMH1.cpus
    carrier.start([*_this_program(), "start"], cpus, isos, releases)
    print("The lab runs: `bin/lab ssh vmh1` is a shell on a host, `make lab-stop` ends it.")


def _status(arguments: Sequence[str]) -> None:
    _check_no_arguments("status", arguments)
    namespace = Namespace(STATE)
    if not namespace.surrounds_this_process():
        if namespace.holder() is None:
            print("the lab does not run")
            return
        replace_this_process(namespace.command([*_this_program(), "status"]))
    for name, machine in open_built_lab().machines.items():
        print(f"{name}: {machine.state().value}, {machine.description.address}")
    _report_build()


def _patch(arguments: Sequence[str]) -> None:
    _check_no_arguments("patch", arguments)
    namespace = Namespace(STATE)
    if not namespace.surrounds_this_process():
        replace_this_process(namespace.command([*_this_program(), "patch"]))
    with only_command(), Progress().step("the modules of src on all machines, in a new clean state"):
        patch(open_built_lab())


def _report_build() -> None:
    if is_of_isos():
        print("Its machines are built from ISOs.")
    else:
        print("Its hosts are of Debian {}, its NAS of {}.".format(*releases_there()))
    if is_patched():
        print("Its machines have modules of src over those of their packages, since `bin/lab patch`.")


def split_isos(arguments: Sequence[str]) -> tuple[list[str], list[Path]]:
    """(the other arguments, the files that `isos=` names: words of a shell, in which * stands for any characters).

    UserError for one that is not there.
    """
    others = [argument for argument in arguments if not argument.startswith("isos=")]
    isos: list[Path] = []
    for argument in arguments:
        if argument in others:
            continue
        try:
            patterns = shlex.split(argument.partition("=")[2])
        except ValueError as error:
            raise UserError(f"{argument}: {error}; give paths with blanks between them") from None
        for pattern in patterns:
            found = sorted(glob.glob(pattern)) or [pattern]  # noqa: PTH207 - relative and absolute patterns alike
            isos += [Path(path).absolute() for path in found]
    missing = [str(iso) for iso in isos if not iso.is_file()]
    if missing:
        raise UserError(
            f"there is no ISO {', '.join(missing)}; `make roll` and `make os-roll` build them in dist"
        )
    return others, isos


def split_releases(arguments: Sequence[str], isos: Sequence[Path]) -> tuple[list[str], Releases]:
    """(the other arguments, the releases of Debian that `hosts=` and `nas=` name).

    UserError for one that this checkout does not know, and beside ISOs, which have their own.
    """
    named: dict[str, str] = {}
    others: list[str] = []
    for argument in arguments:
        role, _, name = argument.partition("=")
        if role in Releases._fields and name:
            named[role] = name
        else:
            others.append(argument)
    unknown = sorted(set(named.values()) - set(names_of_releases() if named else ()))
    if unknown:
        raise UserError(
            f"{', '.join(unknown)} is no release of Debian that the lab has: {', '.join(names_of_releases())}"
        )
    if named and isos:
        raise UserError("machines of ISOs have the release of these: leave hosts= and nas= out")
    return others, Releases(**named)


def _clean(arguments: Sequence[str]) -> None:
    _check_no_arguments("clean", arguments)
    namespace = Namespace(STATE)
    if not namespace.surrounds_this_process():
        replace_this_process(namespace.command([*_this_program(), "clean"]))
    print(f"all machines are as they were after the start ({open_lab().return_to_clean_state():.1f} s)")


def _demo(arguments: Sequence[str]) -> None:
    _check_no_arguments("demo", arguments)
    namespace = Namespace(STATE)
    if not namespace.surrounds_this_process():
        _start([])
        replace_this_process(namespace.command([*_this_program(), "demo"]))
    show_site(open_lab())


def _run(arguments: Sequence[str]) -> None:
    if not arguments:
        raise UserError("usage: bin/lab run PROGRAM…")
    namespace = Namespace(STATE)
    command = list(arguments) if namespace.surrounds_this_process() else namespace.command(arguments)
    # bin/rocks then speaks to the database inside, and not to the demo's
    os.environ["ROCKS_STATE"] = str(STATE)
    replace_this_process(command)


def _ssh(arguments: Sequence[str]) -> None:
    machines = {machine.name: machine for machine in MACHINES}
    if not arguments or arguments[0] not in machines:
        raise UserError(f"usage: bin/lab ssh {'|'.join(machines)} [PROGRAM…]")
    machine = machines[arguments[0]]
    _run([*ssh_command(machine.name, machine.address, STATE / "keys"), *arguments[1:]])


def _stop(arguments: Sequence[str]) -> None:
    _check_no_arguments("stop", arguments)
    names = carrier.stop()
    print(
        f"ended {', '.join(names)}; the lab is stopped"
        if names
        else "the lab does not run, and nothing is left of it"
    )


def _check_no_arguments(command: str, arguments: Sequence[str]) -> None:
    if arguments:
        raise UserError(f"usage: bin/lab {command}")


def _this_program() -> list[str]:
    path = f"PYTHONPATH={CHECKOUT}:{CHECKOUT / 'src'}"
    return ["/usr/bin/env", path, sys.executable, "-m", "lab.machines"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
