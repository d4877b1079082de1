"""A start or stop that is killed at any step is completed or undone by the next one (decision 2)."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import libvirt  # noqa: TID251 - past the system
import pytest

from tests.system.vms.site import IMAGES, ThreeMachines, wait_until

KILLING_HOOK = '''
import os, signal
import rocks.commands

class Plugin(rocks.commands.Plugin):
    """Kills the command in the middle of its work."""

    def run(self, *arguments):
        os.kill(os.getpid(), signal.SIGKILL)
'''

KILL_REQUEST = "/var/lib/rocks/kill-request"

KILLING_AGENT = """
#!/bin/sh
# Stands before the agent on a host: has the frontend's command killed when it calls "{call}", {when} the agent works.
[ "$1" != hook ] || exec /opt/rocks/libexec/real-agent "$@"
victim() {{ touch {request}; while [ -e {request} ]; do sleep 0.01; done; }}
while read -r line; do
  kill_at=
  case $line in *'"call":"{call}"'*) kill_at={when} ;; esac
  [ "$kill_at" != before ] || victim
  reply=$(printf '%s\\n' "$line" | /opt/rocks/libexec/real-agent)
  [ "$kill_at" != after ] || victim
  printf '%s\\n' "$reply"
done
"""


@pytest.mark.parametrize("stage", ["plugin_allocate", "plugin_preboot"])
def test_killed_in_a_hook(site: ThreeMachines, hook_tree: Path, stage: str) -> None:
    vm = site.add_vm("hooked", "vmh1")
    hook = hook_tree / f"{stage}_kill.py"
    hook.write_text(KILLING_HOOK)
    assert site.rocks(f"start host vm {vm}").exit_status == -9
    assert site.running(vm) == []
    assert site.lease(vm)[1] == "starting"
    hook.unlink()
    site.done(f"start host vm {vm}")
    assert site.running(vm) == ["vmh1"]
    assert site.lease(vm)[1:] == ("running", "vmh1")


@pytest.fixture
def killing_agent(site: ThreeMachines) -> Iterator[object]:
    """Call with (call, "before" or "after") to have vmh1 request, by the returned file, that the command is killed.

    The host goes on when the file is removed.
    """
    place = site.machines["vmh1"].outside("/opt/rocks/libexec")
    request = site.machines["vmh1"].outside(KILL_REQUEST)

    def arm(call: str, when: str) -> Path:
        if not (place / "real-agent").exists():
            (place / "rocks-agent").rename(place / "real-agent")
        text = KILLING_AGENT.format(call=call, when=when, request=KILL_REQUEST)
        (place / "rocks-agent").write_text(textwrap.dedent(text).lstrip())
        (place / "rocks-agent").chmod(0o755)
        return request

    yield arm
    if (place / "real-agent").exists():
        (place / "real-agent").replace(place / "rocks-agent")


POINTS = [("perform", "stop"), ("perform", "start")]
"""(call of the agent after which the command is killed, the next command); every step: tests/system/machines"""


def _run_and_be_killed(site: ThreeMachines, killing_agent: object, line: str, call: str) -> None:
    request = killing_agent(call, "after")  # type: ignore[operator]
    process = site.begin(line)
    wait_until(request.exists)
    assert process.kill() == -9
    request.unlink()


def _disarm(site: ThreeMachines) -> None:
    place = site.machines["vmh1"].outside("/opt/rocks/libexec")
    (place / "real-agent").replace(place / "rocks-agent")


@pytest.mark.parametrize(("call", "next_command"), POINTS)
def test_a_start_killed_at_a_step(
    site: ThreeMachines, killing_agent: object, call: str, next_command: str
) -> None:
    vm = site.add_vm("cut", "vmh1")
    site.done("sync vm lease")  # the first start of a site would ask for facts before it records its own
    _run_and_be_killed(site, killing_agent, f"start host vm {vm}", call)
    _disarm(site)
    assert site.lease(vm)[1:] == ("starting", "vmh1"), "the intent was on record before the host was asked"
    site.done(f"{next_command} host vm {vm}")
    if next_command == "start":
        assert site.running(vm) == ["vmh1"]
        assert site.lease(vm)[1:] == ("running", "vmh1")
        assert "already running" in site.refused(f"start host vm {vm}")
    else:
        assert site.running(vm) == []
        assert site.domains("vmh1") == []
        assert site.lease(vm)[1:] == ("released", "NULL")


def test_an_agent_that_dies_leaves_a_start_that_can_be_finished(site: ThreeMachines) -> None:
    vm = site.add_vm("orphan", "vmh1")
    place = site.machines["vmh1"].outside("/opt/rocks/libexec/rocks-agent")
    real = place.rename(place.with_name("real-agent"))
    place.write_text(
        '#!/bin/sh\n[ "$1" != hook ] || exec /opt/rocks/libexec/real-agent "$@"\n'
        "while read -r line; do\ncase $line in *perform*) kill -9 $$ ;; esac\n"
        "printf '%s\\n' \"$line\" | /opt/rocks/libexec/real-agent\ndone\n"
    )
    place.chmod(0o755)
    try:
        error = site.refused(f"start host vm {vm}")
        assert "vmh1" in error
        assert site.lease(vm)[1:] == ("starting", "vmh1"), "no host has reported that it does not run"
    finally:
        real.replace(place)
    site.done(f"start host vm {vm}")
    assert site.running(vm) == ["vmh1"]


def test_a_start_killed_at_any_moment(site: ThreeMachines) -> None:
    vm = site.add_vm("whenever", "head")
    process = site.begin(f"start host vm {vm}")
    try:
        process.end(0.4)
    except TimeoutError:
        pass
    except Exception as error:
        assert type(error).__name__ == "TimeoutExpired"
        process.kill()
    first = site.rocks(f"start host vm {vm}")
    assert first.exit_status == 0 or "already running" in first.error_text, first.error_text
    assert site.running(vm) == ["head"]
    assert len(site.domains("head", libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING)) == 1
    site.done(f"stop host vm {vm}")
    assert site.running(vm) == []
    images = site.machines["head"].outside(IMAGES).iterdir()
    assert [image.name for image in images] == ["whenever.vda"], "no half-made image is left"
