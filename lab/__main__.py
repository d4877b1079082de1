"""`python3 -m lab demo|…|demo-stop`, behind the targets of these names; needs Python alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from lab import system_calls
from lab.demos.cluster import DemoCluster
from lab.demos.demo import Demo
from lab.demos.fai import DemoFai
from lab.demos.image_demo import ImageDemo
from lab.demos.launch import DemoLaunch
from lab.demos.own import DemoOwn
from lab.demos.pragma import DemoPragma
from lab.processes import locked
from lab.progress import Progress
from lab.site import Site, SiteState
from lab.slurm.demo import DemoSlurm
from rocks.core.errors import BusyError, RocksError, UserError

_STATE = Path(__file__).absolute().parent.parent / ".state"
_USAGE = (
    "usage: python3 -m lab "
    "demo|demo-cluster|demo-fai|demo-launch|demo-own-cluster|demo-pragma|demo-slurm|demo-stop"
)


def main(arguments: Sequence[str]) -> int:
    """Build or remove the demo; returns the exit status."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # a text stream, also in a pipe
    actions: dict[str, Callable[[Site], None]] = {
        "demo": _demo,
        "demo-cluster": partial(_image_demo, DemoCluster),
        "demo-fai": partial(_image_demo, DemoFai),
        "demo-launch": partial(_image_demo, DemoLaunch),
        "demo-own-cluster": partial(_image_demo, DemoOwn),
        "demo-pragma": partial(_image_demo, DemoPragma),
        "demo-slurm": _demo_slurm,
        "demo-stop": _demo_stop,
    }
    if len(arguments) != 1 or arguments[0] not in actions:
        print(_USAGE, file=sys.stderr)
        return 1
    try:
        if os.geteuid() != 0:
            raise UserError(f"make {arguments[0]} needs root: run it as root, or with sudo")
        system_calls.die_with_starter()  # make does not end its programs when it is killed
        _STATE.mkdir(exist_ok=True)
        with _locked():
            actions[arguments[0]](Site(_STATE / "demo", _STATE / "cache"))
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        if arguments[0] != "demo-stop" and not isinstance(error, BusyError) and (_STATE / "demo").exists():
            print(_after_failure(arguments[0]), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(
            f"\ninterrupted; `make {arguments[0]}` continues from here, `make demo-stop` removes it",
            file=sys.stderr,
        )
        return 130
    return 0


def _after_failure(target: str) -> str:
    site = Site(_STATE / "demo", _STATE / "cache")
    is_running = site.state() is SiteState.RUNNING and site.machine.is_released()
    left = "The site runs" if is_running else "The incomplete demo has ended; its files stay"
    return (
        f"{left}. `make {target}` repeats its steps on it, and keeps the site's records and changes; "
        f"`make demo-stop` removes it, and `make {target}` then begins anew. "
        f"Logs are in {_STATE / 'demo' / 'log'}."
    )


def _demo(site: Site) -> None:
    Demo(site, _STATE / "guest" / "kernel", _STATE / "guest" / "images", Progress()).run()


def _demo_slurm(site: Site) -> None:
    progress = Progress()
    demo = Demo(site, _STATE / "guest" / "kernel", _STATE / "guest" / "images", progress)
    DemoSlurm(site, demo, progress).run()


def _image_demo(kind: type[ImageDemo], site: Site) -> None:
    progress = Progress()
    demo = Demo(site, _STATE / "guest" / "kernel", _STATE / "guest" / "images", progress)
    kind(site, demo, _STATE / "guest" / kind.image_kind, progress).run()


def _demo_stop(site: Site) -> None:
    done = site.tear_down()
    for line in done:
        print(f"  {line}")
    print("the demo is stopped" if done else "the demo does not run and has no files")
    assert site.state() is SiteState.STOPPED


def _locked() -> AbstractContextManager[None]:
    """Under the lock that tools/demo-lock took for this program, else under one of its own."""
    taken = os.environ.pop("DEMO_LOCK", None)
    return locked(
        _STATE / "demo.lock",
        "another make demo or demo-stop of this checkout is at work. Wait for it, or end it with Ctrl-C where it runs; "
        "then repeat this, or run make demo-stop, which removes what it made",
        None if taken is None else int(taken),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
