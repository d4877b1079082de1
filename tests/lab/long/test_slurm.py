"""Computesets on real hosts that are nodes of Slurm: slurmd under systemd, guests, and their images on a NAS."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.machines import sample_image
from lab.machines.sample_cluster import GUESTS
from lab.nucleus import ALLOCATION, OPERATOR_COMMANDS, OWNER
from tests.lab.image_site import GUEST, ImageSite
from tests.lab.lab_site import LabSite
from tests.lab.long.slurm_frontend import CONFIGURATION, SlurmFrontend
from tests.lab.nucleus_site import HOSTS, URL, NucleusSite
from tests.waiting import wait_until

SUBJECTS = (
    "src/nucleus",
    "src/owners",
    "roll/pragma/owners",
    "src/comet",
    "src/rocks/commands",
    "src/rocks/storage",
)

_PHYSICS = "physics"


@pytest.fixture
def slurm(site: LabSite) -> Iterator[SlurmFrontend]:
    """Slurm of the site with image storage."""
    ImageSite(site).set_up()
    made = SlurmFrontend(site)
    try:
        made.start([ALLOCATION, _PHYSICS], ["root", "nucleus"])
        yield made
    finally:
        made.stop()


@pytest.fixture
def nucleus(site: LabSite, slurm: SlurmFrontend, tmp_path: Path) -> Iterator[NucleusSite]:
    """Nucleus, whose computesets are jobs."""
    batch = {"kind": "slurm", "partition": "virt"}
    made = NucleusSite(site, tmp_path, batch, {"SLURM_CONF": str(CONFIGURATION)})
    try:
        (tmp_path / "token").write_text(made.set_up(OPERATOR_COMMANDS), encoding="ascii")
        made.start_server()
        made.does(
            f"init --endpoint=lab --url={URL} --user={OWNER} --token-file={tmp_path}/token", "is written"
        )
        yield made
    finally:
        made.stop()


def test_a_set_waits_behind_jobs_runs_and_writes_its_image_back(
    site: LabSite, slurm: SlurmFrontend, nucleus: NucleusSite
) -> None:
    print(nucleus.operator("check", "slurm"))
    images = ImageSite(site)
    jobs = {host: slurm.batch(host, _PHYSICS) for host in HOSTS}
    for number in jobs.values():
        slurm.wait("the batch job runs", "squeue", "-h", "-j", number, "-o", "%T", text="RUNNING")
    nucleus.does(f"start vc1 {GUEST} --walltime=8m", "computeset 1 is accepted")
    wait_until(lambda: bool(_set(nucleus)["waiting"]), "the set waits", 120)
    assert site.domain_state("vmh1", GUEST) == "absent"

    slurm.ask("scancel", jobs["vmh1"])
    nucleus.does("computeset 1 --wait=900", "State: running")
    assert slurm.ask("squeue", "-h", "--user=nucleus", "-o", "%N") == "vmh1"
    site.wait_for_count("vmh1", GUEST, beyond=0)
    assert slurm.state_of(jobs["vmh2"]) == "RUNNING", "the job beside it goes on"
    images.wait_until_local("vmh1")

    _kill_slurmd(site, slurm)
    count = site.count("vmh1", GUEST)
    site.wait_for_count("vmh1", GUEST, beyond=count)
    late = slurm.batch("vmh1", _PHYSICS)
    assert slurm.state_of(late) == "PENDING", "no job beside a machine"

    wait_until(lambda: _set(nucleus)["state"] == "completed", "its walltime has ended", 1200)
    count = site.count("vmh1", GUEST)
    assert site.domain_state("vmh1", GUEST) in ("absent", "shut off")
    assert images.state() == "unmapped"
    images.count_on_nas(count)
    assert images.leftovers("vmh1") == []
    slurm.wait("the next job runs", "squeue", "-h", "-j", late, "-o", "%T", text="RUNNING")
    _is_charged_as_one_job(nucleus, slurm, nodes=1)


def test_a_set_of_two_nodes_is_one_job_on_both_hosts(
    site: LabSite, slurm: SlurmFrontend, nucleus: NucleusSite
) -> None:
    """It waits while one host has a job; each image is copied to its host and written back; the job is charged once."""
    images = ImageSite(site)
    _, other = GUESTS
    sample_image.put(site.lab, site.frontend, other)
    job = slurm.batch("vmh2", _PHYSICS)
    slurm.wait("the batch job runs", "squeue", "-h", "-j", job, "-o", "%T", text="RUNNING")
    nucleus.does("start vc1 vm-vc1-[0-1] --walltime=10m", "computeset 1 is accepted")
    wait_until(lambda: bool(_set(nucleus)["waiting"]), "the set waits", 120)
    assert {site.domain_state(host, guest) for host in HOSTS for guest in GUESTS} == {"absent"}

    slurm.ask("scancel", job)
    nucleus.does("computeset 1 --wait=900", "State: running")
    assert slurm.ask("squeue", "-h", "--user=nucleus", "-o", "%T %D") == "RUNNING 2"
    places = {guest: _host_of(site, guest) for guest in GUESTS}
    assert sorted(places.values()) == list(HOSTS), places
    for guest, host in places.items():
        site.wait_for_count(host, guest, beyond=0)
    for guest in GUESTS:
        images.wait_for_state("mapped", 600, volume=f"{guest}-vol")

    wait_until(lambda: _set(nucleus)["state"] == "completed", "its walltime has ended", 1200)
    for guest, host in places.items():
        volume, counted = f"{guest}-vol", site.count(host, guest)
        assert site.domain_state(host, guest) in ("absent", "shut off")
        assert images.state(volume) == "unmapped"
        images.count_on_nas(counted, volume)
    assert [left for host in HOSTS for left in images.leftovers(host)] == []
    slurm.wait("both hosts are idle", "sinfo", "-h", "-p", "virt", "-t", "idle", "-o", "%D", text="2")
    _is_charged_as_one_job(nucleus, slurm, nodes=2)


def _host_of(site: LabSite, guest: str) -> str:
    """The only host that runs the guest."""
    (host,) = [host for host in HOSTS if site.domain_state(host, guest) == "running"]
    return host


def _is_charged_as_one_job(nucleus: NucleusSite, slurm: SlurmFrontend, nodes: int) -> None:
    """The set's charge is its nodes' time in the only job that Slurm's accounting has of Nucleus."""
    wait_until(lambda: _set(nucleus)["charged_seconds"] is not None, "it is charged", 120)
    rows = slurm.ask("sacct", "-n", "-X", "-D", "-P", "--user=nucleus", "-o", "State,ElapsedRaw,AllocNodes")
    (state, seconds, allocated), *others = [row.split("|") for row in rows.splitlines()]
    assert (state, allocated, others) == ("COMPLETED", str(nodes), []), rows
    assert _set(nucleus)["charged_seconds"] == nodes * int(seconds)


def _kill_slurmd(site: LabSite, slurm: SlurmFrontend) -> None:
    """slurmd is killed beside a machine: systemd starts it again, and the host stays that of the set."""
    host = site.lab["vmh1"]
    host.run(["systemctl", "kill", "--kill-who=main", "--signal=KILL", "slurmd.service"])
    wait_until(
        lambda: host.run_any(["systemctl", "is-active", "slurmd.service"]).text.strip() == "active",
        "systemd has started slurmd again",
        120,
    )
    slurm.wait("it is registered", "sinfo", "-h", "-n", "vmh1", "-p", "virt", "-o", "%T", text="allocated")


def _set(nucleus: NucleusSite) -> dict[str, object]:
    """The first computeset, as the interface has it."""
    found = json.loads(nucleus.comet("computeset 1 --format=rest").text)
    return dict(found[0] if isinstance(found, list) else found)
