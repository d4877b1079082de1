"""The hooks of Slurm on a host: what each does, with programs of Slurm that answer from files."""

import fcntl
import sys
from pathlib import Path

import pytest

from rocks.agent import host_free
from rocks.agent.host_free import Node, change_of, find_unsaved, find_use, main, run_hook
from rocks.agent.main import main as agent_main
from rocks.core import job_user
from rocks.core.drain_reasons import VM_WITHOUT_JOB
from rocks.fleet.host.state_folder import Place, ensure_folder
from rocks.machine.host import facts
from rocks.storage.mapped_volumes import MappedImage, forget_mapped, write_mapped
from tests.slurm_site import write_zfs

_DOMAIN = "<domain type='test'><name>vm-0</name><memory>1024</memory><os><type>hvm</type></os></domain>"
_NODE = """
<node><cpu><mhz>1</mhz><model>i686</model><active>1</active><nodes>1</nodes><sockets>1</sockets><cores>1</cores>
<threads>1</threads></cpu><memory>8192000</memory>{}</node>
"""
_SQUEUE = """
for option; do
    case $option in --jobs=*)
        for number in $(echo "${{option#--jobs=}}" | tr , ' '); do cat {folder}/$number.job; done
        exit ;;
    esac
done
cat {folder}/squeue.txt
"""


class Programs:
    """sinfo and squeue print what a test says; scontrol records its arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("sinfo", f"cat {folder}/sinfo.txt")
        self.write("squeue", _SQUEUE.format(folder=folder))
        users = "UserName=nucleus(990) DefAccount=a\nUserName=ann(1001) DefAccount=a"
        self.write(
            "scontrol", f'if [ $1 = show ]; then printf "{users}"; else echo "$@" >>{folder}/changes; fi'
        )
        self.say("idle|none")

    def write(self, name: str, command: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{command}\n", "ascii")
        path.chmod(0o755)

    def say(self, node: str, *jobs: tuple[int, str]) -> None:
        """State and reason of the node; UID and name of each of its jobs."""
        (self.folder / "sinfo.txt").write_text(f"{node}\n", "ascii")
        for number, (_, name) in enumerate(jobs):
            (self.folder / f"{number}.job").write_text(f"{name}\n", "ascii")
        lines = [f"{user} {number}\n" for number, (user, _) in enumerate(jobs)]
        (self.folder / "squeue.txt").write_text("".join(lines), "ascii")

    @property
    def changes(self) -> list[str]:
        path = self.folder / "changes"
        return path.read_text("ascii").splitlines() if path.exists() else []

    def run(self, context: str, *found: list[str]) -> int:
        answers = list(found)
        return run_hook(
            context, "n1", self.folder / "note", lambda: answers.pop(0) if len(answers) > 1 else answers[0]
        )


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(host_free, "wait_seconds", lambda _: None)
    return Programs(tmp_path)


def test_what_a_health_check_changes() -> None:
    assert change_of(True, Node(False, "", False)) == "drain"
    for node in (Node(False, "", True), Node(True, VM_WITHOUT_JOB, False), Node(True, "new disks", False)):
        assert change_of(True, node) is None
    assert change_of(False, Node(True, VM_WITHOUT_JOB, False)) == "resume"
    for node in (Node(True, "new disks", False), Node(False, "", False)):
        assert change_of(False, node) is None


def test_a_prolog_refuses_a_host_with_a_machine_and_its_epilog_does_not_wait(programs: Programs) -> None:
    assert programs.run("prolog_slurmd", []) == 0 and programs.changes == []
    assert programs.run("prolog_slurmd", ["machine vm-0"]) == 1
    assert programs.changes == [f"update nodename=n1 state=drain reason={VM_WITHOUT_JOB}"]
    assert programs.run("epilog_slurmd", ["machine vm-0"]) == 0
    assert not (programs.folder / "note").exists() and len(programs.changes) == 1


def test_an_epilog_waits_although_the_job_was_refused_before(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host was switched off before the epilog of the refused job, which Slurm gives the same number again."""
    assert programs.run("prolog_slurmd", ["machine vm-0"]) == 1
    assert programs.run("prolog_slurmd", []) == 0
    monkeypatch.setattr(host_free, "EPILOG_SECONDS", 0.0)
    assert programs.run("epilog_slurmd", ["machine vm-0"]) == 1


def test_an_epilog_waits_and_resumes_what_a_health_check_has_drained(programs: Programs) -> None:
    assert programs.run("epilog_slurmd", ["machine vm-0"], ["image /dev/x"], []) == 0
    assert programs.changes == []
    programs.say(f"draining|{VM_WITHOUT_JOB}")
    assert programs.run("epilog_slurmd", ["machine vm-0"], []) == 0
    assert programs.changes == ["update nodename=n1 state=resume"]


def test_an_epilog_ends_after_an_hour(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_free, "EPILOG_SECONDS", 0.0)
    assert programs.run("epilog_slurmd", ["machine vm-0"]) == 1
    assert programs.changes == ["update nodename=n1 state=drain reason=image-sync-timeout"]


def test_a_health_check_asks_for_the_job_of_a_computeset_or_a_reservation(programs: Programs) -> None:
    for job in ("VC-JOB-7-01jd", "nucleus-7"):
        programs.say("allocated|none", (1001, "simulation"), (990, "simulation"), (990, job))
        assert programs.run("", ["machine vm-0"]) == 0 and programs.changes == []
    programs.write("sinfo", "exit 1")
    assert programs.run("", []) == 0, "slurmctld is away"


@pytest.mark.parametrize(
    "jobs",
    [
        [(990, "simulation")],
        [(1001, "VC-JOB-7-01jd"), (0, "nucleus-7")],
        [(990, "x|nucleus-7")],
        [(1001, "x\n990|nucleus-7\n990 0\nnucleus-7"), (990, "simulation")],
    ],
)
def test_a_health_check_believes_no_job_of_another_name_or_user(
    programs: Programs, jobs: list[tuple[int, str]]
) -> None:
    programs.say("allocated|none", *jobs)
    assert programs.run("", ["machine vm-0"]) == 0
    assert programs.changes == [f"update nodename=n1 state=drain reason={VM_WITHOUT_JOB}"]


def test_the_user_of_nucleus_is_that_of_the_hosts_settings(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = programs.folder / "host-free.conf"
    monkeypatch.setattr(job_user, "SETTINGS", settings)
    programs.say("allocated|none", (1001, "nucleus-7"))
    settings.write_text("user = ann\n")
    assert programs.run("", ["machine vm-0"]) == 0 and programs.changes == []
    settings.write_text("users = ann\n")
    assert programs.run("", ["machine vm-0"]) == 0 and programs.changes == []
    assert f"{settings} line 1: 'users = ann'" in capsys.readouterr().err
    settings.write_text("user = bob\n")
    assert programs.run("", ["machine vm-0"]) == 0 and programs.changes == []
    error = capsys.readouterr().err
    assert "slurmctld has no user bob" in error and str(settings) in error
    settings.unlink()
    assert programs.run("", ["machine vm-0"]) == 0
    assert programs.changes == [f"update nodename=n1 state=drain reason={VM_WITHOUT_JOB}"]


def test_machines_and_images_of_the_host_are_its_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "libvirt.xml"
    monkeypatch.setenv("ROCKS_LIBVIRT_URI", f"test://{file}")
    file.write_text(_NODE.format(""), "ascii")
    assert find_use(tmp_path) == []
    file.write_text(_NODE.format(_DOMAIN), "ascii")
    write_mapped(Place.MAPPED.below(tmp_path), "zvol", MappedImage("/dev/mapper/zvol-snap", "i", 1))
    assert find_use(tmp_path) == ["machine vm-0", "image /dev/mapper/zvol-snap"]
    file.unlink()
    assert "does not answer" in find_use(tmp_path)[0], "what is not known is not free"


def test_a_host_without_libvirt_is_free_and_one_without_its_module_for_python_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a site's own Slurm, hosts that run no machines have the hook as well."""
    monkeypatch.setattr(host_free, "_DAEMONS", (str(tmp_path / "libvirtd"),))
    monkeypatch.setattr(host_free, "_PROCESSES", tmp_path / "proc")
    monkeypatch.setenv("ROCKS_LIBVIRT_URI", f"test://{tmp_path}/absent.xml")
    assert find_use(tmp_path) == []
    (tmp_path / "libvirtd").touch()
    assert "does not answer" in find_use(tmp_path)[0]
    monkeypatch.setitem(sys.modules, "rocks.machine.host.libvirt.domains", None)
    with pytest.raises(ImportError):  # a hook that ends with an error
        find_use(tmp_path)


def test_machines_and_images_that_outlive_the_package_of_libvirt_are_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_free, "_DAEMONS", ())
    monkeypatch.setattr(host_free, "_PROCESSES", tmp_path / "proc")
    monkeypatch.setattr(host_free, "_PEOPLE", range(0))
    for number, program in (
        ("7", "/usr/bin/qemu-system-x86_64 (deleted)"),
        ("8", "/bin/sh"),
        ("10", "/usr/libexec/qemu-kvm"),
    ):
        process = tmp_path / "proc" / number
        process.mkdir(parents=True)
        (process / "exe").symlink_to(program)
    (tmp_path / "proc/9").mkdir()  # a thread of the kernel
    write_mapped(Place.MAPPED.below(tmp_path), "zvol", MappedImage("/dev/mapper/zvol-snap", "i", 1))
    with (ensure_folder(Place.MEMORY.below(tmp_path)) / "vm-1").open("w") as promise:
        fcntl.flock(promise, fcntl.LOCK_EX)
        start, image = "start of vm-1", "image /dev/mapper/zvol-snap"
        assert find_use(tmp_path) == [start, "process 7 of QEMU", "process 10 of QEMU", image]
        monkeypatch.setattr(host_free, "_PEOPLE", range(1 << 32))
        assert find_use(tmp_path) == [start, image], "people may run QEMU in a job"


def test_an_epilog_waits_for_what_is_not_written_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is gone and its record too, before the changes are sent."""
    (tmp_path / "node.xml").write_text(_NODE.format(""), "ascii")
    monkeypatch.setenv("ROCKS_LIBVIRT_URI", f"test://{tmp_path}/node.xml")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    write_zfs(tmp_path, "dirty")
    assert find_unsaved(tmp_path) == [], "the host never had an image"
    forget_mapped(ensure_folder(Place.MAPPED.below(tmp_path)), "vm-vc2-0-vol")
    assert find_use(tmp_path) == [] and find_unsaved(tmp_path) == ["changes of tank/vm-vc2-0-vol"]
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.setattr(host_free, "EPILOG_SECONDS", 0.0)
    for context, status in (("prolog_slurmd", 0), ("epilog_slurmd", 1)):
        monkeypatch.setenv("SLURM_SCRIPT_CONTEXT", context)
        assert main(tmp_path) == status
    write_zfs(tmp_path, "clean")
    assert find_unsaved(tmp_path) == [] and main(tmp_path) == 0
    (tmp_path / "zpool").unlink()
    assert len(find_unsaved(tmp_path)) == 1, "what is not known is not free"


def test_a_start_whose_domain_does_not_exist_yet_is_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may copy an image for minutes; its promise of memory is locked as long."""
    node = tmp_path / "node.xml"
    node.write_text(_NODE.format(""), "ascii")
    monkeypatch.setenv("ROCKS_LIBVIRT_URI", f"test://{node}")
    promise = ensure_folder(Place.MEMORY.below(tmp_path)) / "vm-1"
    with promise.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("1024")
        file.flush()
        assert find_use(tmp_path) == ["start of vm-1"]
    assert find_use(tmp_path) == []


def test_two_that_look_at_once_see_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prolog and a health check: the second looks while the first has the file of a start that has ended."""
    (ensure_folder(Place.MEMORY.below(tmp_path)) / "vm-1").write_text("1024", "ascii")
    lock, seen = fcntl.flock, list[dict[str, int]]()

    def and_look_again(descriptor: int, how: int) -> None:
        lock(descriptor, how)
        if not seen:
            seen.append({})
            seen.append(facts.starts_in_progress(tmp_path))

    monkeypatch.setattr(fcntl, "flock", and_look_again)
    assert facts.starts_in_progress(tmp_path) == {}
    assert seen == [{}, {}]


def test_a_person_who_starts_it_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    assert main(tmp_path) == 2
    assert "slurmd" in capsys.readouterr().err


def test_a_state_folder_that_cannot_be_created_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The prolog fails then: no job begins on a host whose use is not known."""
    (tmp_path / "state").write_text("")
    monkeypatch.setenv("ROCKS_STATE_FOLDER", str(tmp_path / "state"))
    monkeypatch.setenv("SLURMD_NODENAME", "vmc-0-0")
    assert agent_main(["host-free"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rocks: cannot create the state folder ")
