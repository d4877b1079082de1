"""`cm` with clouds: EC2 by moto's server, OpenStack by answers as documented, Comet, and Slurm behind a real sshd."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess  # noqa: TID251 - the program is started as its users start it
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rocks.core.process import run_checked
from tests.contract.ssh_hosts import ssh_server
from tests.slurm_site import SlurmSite
from tests.system.comet.conftest import SOURCE, Result, Site
from tests.system.comet.openstack_server import PASSWORD, OpenStackServer
from tests.system.nucleus.conftest import slurm
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.system.pragma.cloud_server import CloudServer

__all__ = ["slurm"]
SECRET = "s3cret/of+the-owner"


class Owner:
    """A person with a home, who types `cm`."""

    def __init__(self, user_folder: Path) -> None:
        self.folder = user_folder / ".config/comet"
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = {"HOME": str(user_folder), "PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]}
        self.environment = {**paths, "USER": "ann"}

    def has(self, text: str) -> None:
        """Write clouds.toml."""
        (self.folder / "clouds.toml").write_text(text)
        (self.folder / "clouds.toml").chmod(0o600)

    def start(self, line: str) -> subprocess.Popen[str]:
        pipes = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        command = [sys.executable, str(SOURCE / "comet/cm"), *line.split()]
        return subprocess.Popen(command, env=self.environment, **pipes)  # type: ignore[call-overload,no-any-return]

    def cm(self, line: str) -> Result:
        process = self.start(line)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        assert SECRET not in out + err and PASSWORD not in out + err
        return Result(process.returncode, out, err)

    def done(self, line: str) -> str:
        ended = self.cm(line)
        assert ended.status == 0, ended.err
        return ended.out

    def refused(self, line: str, status: int) -> str:
        ended = self.cm(line)
        assert (ended.status, ended.out) == (status, ""), ended
        return ended.err

    def rows(self, line: str) -> list[dict[str, Any]]:
        """`cm` numbers its rows, as the old client did."""
        return list(json.loads(self.done(f"{line} --format=json")).values())


def table(url: str, region: str = "us-east-1") -> str:
    return f'[clouds.aws]\nprovider = "ec2"\nuser = "AKIA1"\nsecret = "{SECRET}"\nregion = "{region}"\nurl = "{url}"\n'


@pytest.fixture
def cloud() -> Iterator[CloudServer]:
    from tests.system.pragma.cloud_server import CloudServer  # moto's import takes seconds

    with CloudServer("debian", "other") as server:
        yield server


@pytest.fixture
def owner(tmp_path: Path, cloud: CloudServer) -> Owner:
    """Whose default cloud is EC2, with an image and a size."""
    found = Owner(tmp_path)
    found.has(table(cloud.url))
    found.done("default cloud=aws image=debian flavor=t3.small")
    return found


def test_the_life_of_a_machine_in_ec2(owner: Owner, cloud: CloudServer, tmp_path: Path) -> None:
    run_checked(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], deadline_seconds=60
    )
    assert [it["name"] for it in owner.rows("image list")] == ["debian", "other"]
    small = next(it for it in owner.rows("flavor list") if it["name"] == "t3.small" or it["id"] == "t3.small")
    assert (small["cpus"], small["ram"]) == (2, 2048)
    owner.done(f"key add laptop {tmp_path / 'id.pub'}")
    assert [it["name"] for it in owner.rows("key list")] == ["laptop"]
    owner.done("secgroup add web tcp 22 203.0.113.0/24")
    owner.done("secgroup add web tcp 8000-8010 0.0.0.0/0")
    (web,) = (it for it in owner.rows("secgroup list") if it["name"] == "web")
    assert web["rules"] == ["tcp:22:203.0.113.0/24", "tcp:8000-8010:0.0.0.0/0"]
    owner.done("default key=laptop secgroup=web login=admin")
    assert "ann-1 (i-" in owner.done("vm boot")
    assert "ann-2 (i-" in owner.done("vm boot --image=other --flavor=t3.micro --secgroup=default")
    one, two = (cloud.machines()[name] for name in ("ann-1", "ann-2"))
    assert (one.instance_type, two.instance_type) == ("t3.small", "t3.micro")
    assert (one.key_name, [it.name for it in one.security_groups]) == ("laptop", ["web"])
    assert cloud.actions.count("RunInstances") == 2 and "CreateTags" not in cloud.actions
    assert [(it["name"], it["state"]) for it in owner.rows("vm list")] == [
        ("ann-1", "running"),
        ("ann-2", "running"),
    ]
    addresses = owner.done("vm ip ann-1").split()
    assert addresses == [one.public_ip, one.private_ip]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "bin/ssh").chmod(0o755)
    owner.environment["PATH"] = f"{tmp_path / 'bin'}:{owner.environment['PATH']}"
    assert owner.done("vm ssh ann-1") == f"-- admin@{addresses[0]}\n"
    assert owner.done("vm ssh root@ann-1") == f"-- root@{addresses[0]}\n"
    assert "add --yes" in owner.refused("vm delete ann-1", 2)
    owner.done("vm delete ann-1 --yes")
    owner.done(f"vm delete {two.id} --yes")
    assert owner.rows("vm list") == [] and cloud.machines() == {}
    owner.done("key delete laptop --yes")
    owner.done("secgroup delete web --yes")
    assert owner.rows("key list") == []
    assert "web" not in [it["name"] for it in owner.rows("secgroup list")]


def test_a_network_and_a_group_by_its_id(owner: Owner, cloud: CloudServer) -> None:
    owner.done("secgroup add web udp 53 203.0.113.0/24")
    subnet = next(iter(cloud.cloud.describe_subnets()))
    owner.done(f"vm boot one --network={subnet.id} --secgroup=web")
    made = cloud.machines()["one"]
    assert (made.subnet_id, [it.name for it in made.security_groups]) == (subnet.id, ["web"])


def test_an_image_of_others_by_its_id(owner: Owner, cloud: CloudServer) -> None:
    found = next(it for it in cloud.cloud.describe_images() if it.owner_id != "123456789012")
    assert found.id not in {it["id"] for it in owner.rows("image list")}
    owner.done(f"vm boot one --image={found.id}")
    assert cloud.machines()["one"].image_id == found.id


def test_what_is_refused_makes_nothing(owner: Owner, cloud: CloudServer, tmp_path: Path) -> None:
    owner.done("vm boot one")
    for line, status, text in (
        ("vm boot one", 5, "has a machine one already"),
        ("vm boot two --image=absent", 4, "has no image 'absent'. List them: cm image list"),
        ("vm boot two --flavor=huge", 4, "has no flavor 'huge'"),
        ("vm boot two --key=absent", 4, "has no key 'absent'"),
        ("vm boot two --secgroup=absent", 4, "has no secgroup 'absent'"),
        ("vm boot two --network=absent", 4, "has no network 'absent'"),
        ("vm boot -x", 2, "unrecognized arguments: -x"),
        ("vm boot a_b", 2, "no machine's name"),
        ("vm start", 2, "cm vm boot [NAME]"),
        ("vm delete absent --yes", 4, "has no vm 'absent'"),
        ("vm list --cloud=absent", 4, "it has: comet, aws"),
        ("key add k /absent", 2, "cannot be read"),
        (f"key add k {tmp_path / '.config/comet/clouds.toml'}", 2, "not one public SSH key"),
        ("key delete k --yes", 4, "has no key 'k'"),
        ("secgroup add web icmp 1 0.0.0.0/0", 2, "give tcp or udp"),
        ("secgroup add web tcp 9-8 0.0.0.0/0", 2, "give tcp or udp"),
        ("secgroup add web tcp 80 203.0.113.7/24", 2, "has host bits set"),
        ("default colour=red", 2, "no default 'colour'"),
        ("default cloud=absent", 4, "no cloud 'absent'"),
        ("default cloud", 2, "is not KEY=VALUE"),
        ("hpc run job.sh", 4, "no HPC system is chosen"),
    ):
        assert text in owner.refused(line, status), line
    assert list(cloud.machines()) == ["one"]
    cloud.cloud.run_instances(
        cloud.machines()["one"].image_id, 1, None, [], instance_type="t3.small", tags={"instance": {"Name": "one"}},
        region_name="us-east-1", security_group_ids=[], placement=None, is_instance_type_default=False,
    )  # fmt: skip
    assert "several of the name 'one': give an id of i-" in owner.refused("vm delete one --yes", 5)


def test_errors_of_the_cloud_are_translated(owner: Owner, cloud: CloudServer) -> None:
    """EC2's codes as it documents them; moto has no clock, quota or limit of requests."""
    for action, status, code, message, exit_status, text in (
        (
            "RunInstances",
            "400",
            "RequestExpired",
            "Request has expired.",
            5,
            "the clock of this machine is off",
        ),
        (
            "RunInstances",
            "403",
            "SignatureDoesNotMatch",
            "Signature not yet current",
            5,
            "the clock of this machine",
        ),
        (
            "RunInstances",
            "400",
            "InstanceLimitExceeded",
            "You have 0 left",
            5,
            "a quota of cloud aws is used up",
        ),
        (
            "RunInstances",
            "400",
            "VcpuLimitExceeded",
            "more vCPU capacity",
            5,
            "a quota of cloud aws is used up",
        ),
        ("RunInstances", "500", "InternalError", f"secret {SECRET}", 5, "InternalError: secret …"),
        (
            "DescribeInstances",
            "401",
            "AuthFailure",
            "not able to validate",
            3,
            "does not take user and secret of",
        ),
    ):
        cloud.refusals[action] = [(f"{status} X", code, message)]
        error = owner.refused("vm boot one", exit_status)
        assert text in error, error
        assert ("cloud aws has no machine one" in error) == (action == "RunInstances")
    assert cloud.machines() == {}
    owner.has(table(cloud.url, region="mars-1"))
    assert "has no such region: correct region of [clouds.aws]" in owner.refused("vm list", 2)


def test_a_limit_of_requests_is_waited_for(owner: Owner, cloud: CloudServer) -> None:
    limit = ("503 Service Unavailable", "RequestLimitExceeded", "Request limit exceeded.")
    cloud.refusals["RunInstances"] = [limit, limit]
    ended = owner.cm("vm boot one")
    assert ended.status == 0 and ended.err.count("limits requests: asking again in") == 2
    assert list(cloud.machines()) == ["one"]


def test_keys_that_moto_does_not_know_are_wrong(
    owner: Owner, cloud: CloudServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto import settings

    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    error = owner.refused("vm list", 3)
    assert (
        f"does not take user and secret of [clouds.aws] in {owner.folder / 'clouds.toml'}: AuthFailure"
        in error
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_boot_names_what_is_left(
    owner: Owner, cloud: CloudServer, number: signal.Signals
) -> None:
    """The machine is made, and its answer has not come."""
    cloud.held["RunInstances"] = threading.Event()
    process = owner.start("vm boot one")
    wait_until(lambda: "one" in cloud.machines(), "the machine is made")
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    cloud.held.pop("RunInstances").set()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    remove = re.search("cloud aws has the machine one .*Remove it: cm (.*)", err)
    assert remove is not None, err
    owner.done(f"{remove[1]} --yes")
    assert cloud.machines() == {}


def test_a_boot_that_is_interrupted_twice_names_what_may_be_left(owner: Owner, cloud: CloudServer) -> None:
    """The cloud does not answer, and the person has no patience."""
    cloud.held["RunInstances"] = threading.Event()
    process = owner.start("vm boot one")
    wait_until(lambda: "one" in cloud.machines(), "the machine is made")
    looks = cloud.actions.count("DescribeInstances")
    cloud.held["DescribeInstances"] = threading.Event()
    process.send_signal(signal.SIGINT)
    wait_until(lambda: cloud.actions.count("DescribeInstances") > looks, "what is left is looked for")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    for action in ("RunInstances", "DescribeInstances"):
        cloud.held.pop(action).set()
    assert (process.returncode, out) == (130, "")
    assert "it may have made one" in err and "remove it: cm vm delete one --cloud=aws" in err


def test_a_cut_answer_names_what_is_left(owner: Owner, cloud: CloudServer) -> None:
    """Of each request of a boot, the answer is lost."""
    cuts = 0
    while True:
        cloud.cut = cuts + 1
        ended = owner.cm("vm boot one")
        if cloud.cut > 0:
            break
        cloud.cut, cuts = 0, cuts + 1
        assert ended.status == 6, ended
        assert ("cm vm delete one --cloud=aws" in ended.err) == ("one" in cloud.machines())
        if cloud.machines():
            owner.done("vm delete one --yes")
    assert ended.status == 0 and cuts >= 4


def test_a_cloud_that_is_away_has_its_last_answer(owner: Owner, cloud: CloudServer) -> None:
    owner.done("vm boot one")
    known = owner.rows("vm list")
    owner.has(table("http://127.0.0.1:1"))
    ended = owner.cm("vm list --format=json")
    assert ended.status == 6 and list(json.loads(ended.out).values()) == known
    assert "cloud aws does not answer" in ended.err and "from the cache" in ended.err
    assert "cloud aws does not answer" in owner.refused("key list", 6)
    assert "cloud aws does not answer" in owner.refused("vm boot two", 6)


def test_openstack_by_answers_as_documented(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    with OpenStackServer() as cloud:
        text = '[clouds.chameleon]\nprovider = "openstack"\nuser = "ann"\nproject = "CH-1"\n'
        text += f'url = "{cloud.url}"\nsecret = "{PASSWORD}"\nregion = "RegionOne"\n'
        owner.has(text)
        assert "chameleon" in owner.done("cloud list")
        owner.done("default cloud=chameleon image=debian-12 flavor=m1.small network=private")
        run_checked(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], deadline_seconds=60
        )
        owner.done(f"key add laptop {tmp_path / 'id.pub'}")
        owner.done("secgroup add web tcp 80-81 203.0.113.0/24")
        assert [it["rules"] for it in owner.rows("secgroup list")] == [["tcp:80-81:203.0.113.0/24"]]
        assert owner.rows("flavor list")[0] == {
            "name": "m1.small",
            "cpus": 2,
            "ram": 2048,
            "disk": 20,
            "id": "f-1",
        }
        # the machine is made, and the request for its state refused: it is not made again
        limit = ("429 Too Many Requests", {"Retry-After": "1"}, "slow down")
        cloud.refusals["GET /compute/v2.1/servers/s-1"] = [limit]
        ended = owner.cm("vm boot one --key=laptop --secgroup=web")
        assert ended.status == 0 and "limits requests: asking again in 1 seconds" in ended.err
        (made,) = cloud.servers.values()
        asked = made["asked"]
        assert (asked["name"], asked["key_name"], asked["networks"]) == ("one", "laptop", [{"uuid": "n-1"}])
        assert asked["security_groups"] == [{"name": "web"}]
        assert owner.done("vm ip one") == "192.0.2.7\n"
        cloud.refusals["GET /compute/v2.1/servers/detail"] = [("429 X", {"Retry-After": "3600"}, "slow down")]
        assert "repeat it in 3600 seconds" in owner.refused("vm list", 5)
        cloud.refusals["POST /compute/v2.1/servers"] = [("403 Forbidden", {}, "Quota exceeded for instances")]
        assert "a quota of cloud chameleon is used up" in owner.refused("vm boot two", 5)
        owner.done("vm delete one --yes")
        owner.done("secgroup delete web --yes")
        owner.done("key delete laptop --yes")
        assert (cloud.servers, cloud.groups, cloud.keys) == ({}, {}, {})
        owner.has(text.replace("RegionOne", "Mars"))
        assert "has no such region" in owner.refused("vm list", 2)
        owner.has(text.replace('user = "ann"', 'user = "bob"'))
        assert "does not take user and secret" in owner.refused("vm list", 3)


def test_the_lines_of_the_slides(day: Site, cloud: CloudServer) -> None:
    """The switch of one name boots the next machine elsewhere."""
    owner = Owner(day.folder / "ann")
    owner.has(table(cloud.url).replace("clouds.aws", "clouds.chameleon"))
    with day.at_work():
        owner.done("default cloud=comet")
        assert re.search("^computeset [0-9]+ is accepted", owner.done("vm boot"))
        wait_until(
            lambda: any(it.state == "active" for it in day.simulator.guests.values()), "a compute is on"
        )
    owner.done("default cloud=chameleon image=debian flavor=t3.small")
    owner.done("vm boot")
    assert list(cloud.machines()) == ["ann-1"]
    assert "vm-vc2-0" in owner.done("vm list --cloud=comet")
    assert "vm-vc2-0" in owner.done("vm list --cloud comet --format=csv")
    assert "name" in owner.done("vm ip vm-vc2-0 --cloud=comet")
    owner.done("default cloud=comet")
    assert "ends as a whole" in owner.refused("vm delete vm-vc2-0", 2)
    assert "the cloud comet has none" in owner.refused("flavor list", 2)
    assert "no such defaults" in owner.refused("default image=x", 2)
    assert "no image" in owner.cm("image list").err.lower() or owner.cm("image list").status == 0


def test_a_batch_job_by_ssh_on_the_default_system(tmp_path: Path, slurm: SlurmSite) -> None:
    owner = Owner(tmp_path)
    owner.has(
        '[hpc.bridges]\nhost = "bridges.example.org"\nuser = "root"\n[hpc.comet]\nhost = "comet.example.org"\n'
    )
    run_checked(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], deadline_seconds=60
    )
    script = tmp_path / "job-one.sh"
    script.write_text(f"#!/bin/sh\n#SBATCH -p batch -D / -o {slurm.folder}/out\necho by $SLURM_JOB_NAME\n")
    public = (tmp_path / "id.pub").read_text().strip()
    with ssh_server(tmp_path / "sshd", public, f"SetEnv PATH={slurm.root_bin}:/usr/bin:/bin") as (server, _):
        (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        (tmp_path / "bin").mkdir()
        options = f"-F none -i {tmp_path}/id -p {server.port} -o UserKnownHostsFile={tmp_path}/known"
        names = f"-o HostName=127.0.0.1 -o HostKeyAlias=[127.0.0.1]:{server.port}"
        (tmp_path / "bin/ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh {options} {names} "$@"\n')
        (tmp_path / "bin/ssh").chmod(0o755)
        owner.environment["PATH"] = f"{tmp_path / 'bin'}:{owner.environment['PATH']}"
        assert "no HPC system is chosen" in owner.refused(f"hpc run {tmp_path}/job-one.sh", 4)
        owner.done("default hpc=bridges")
        assert re.fullmatch("Submitted batch job [0-9]+\n", owner.done(f"hpc run {tmp_path}/job-one.sh"))
        wait_until(lambda: (slurm.folder / "out").exists() and (slurm.folder / "out").read_text())
        assert (slurm.folder / "out").read_text() == "by job-one.sh\n"
        ssh = (tmp_path / "bin/ssh").read_text()
        (tmp_path / "bin/ssh").write_text(f"{ssh.replace('exec ', '')}kill -INT $PPID; exec sleep 60\n")
        interrupted = owner.cm(f"hpc run {tmp_path}/job-one.sh")
        assert interrupted.status == 130 and "Submitted batch job" in interrupted.out
        assert (
            "Slurm may have the job. Look for it: ssh root@bridges.example.org squeue --me" in interrupted.err
        )
        (tmp_path / "bin/ssh").write_text(ssh)
        (tmp_path / "bad.sh").write_text("#!/bin/sh\n#SBATCH -p absent\n")
        assert "invalid partition" in owner.refused(f"hpc run {tmp_path}/bad.sh", 1)
    (tmp_path / "bad.sh").write_text("echo\n")
    assert "is no script" in owner.refused(f"hpc run {tmp_path}/bad.sh", 2)
    assert "cannot be read" in owner.refused("hpc run /absent", 2)
    assert "no HPC system 'mars'" in owner.refused("hpc run /absent --hpc=mars", 4)
