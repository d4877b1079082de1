"""`comet-slurm`: a cluster's own Slurm starts and ends computesets. Both are real, the site is simulated."""

from collections.abc import Iterator

import pytest

from nucleus.api.access.authentication import store_token
from nucleus.mirror import identity
from tests.guest_slurm import GuestSlurm, guest_slurm
from tests.system.comet.conftest import Site
from tests.waiting import at_once, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def slurm(day: Site) -> Iterator[GuestSlurm]:
    """The Slurm of vc2, with a token of ann's."""
    with guest_slurm() as started:
        started.permit(day.service.url, token(day, "computeset"))
        yield started


def token(day: Site, *scopes: str) -> str:
    """A token of ann."""
    with day.pool.transaction() as session:
        user = identity.user_by_name(session, "ann")
        return store_token(session, user.id, list(scopes), None, None, "comet-slurm")[1].text


def submit(slurm: GuestSlurm, *options: str, seconds: int = 1) -> str:
    """A job; its number."""
    more = ("--parsable", "--chdir=/", "--output=/dev/null", f"--wrap=exec sleep {seconds}")
    return slurm.ask("sbatch", *options, *more)


def sets(day: Site) -> list[tuple[object, ...]]:
    return day.rows("SELECT walltime_minutes, account, state, end_reason FROM computeset ORDER BY id")


def reason(slurm: GuestSlurm, node: str) -> str:
    """What an owner reads of a node."""
    return slurm.ask("sinfo", "--noheader", f"--nodes={node}", "--Format=Reason:200")


def test_jobs_get_computesets_which_end_after_them_and_one_that_ends_before_its_job(
    day: Site, slurm: GuestSlurm
) -> None:
    def is_on(name: str) -> bool:
        return day.simulator.guests[name].state == "active"

    def states(*numbers: str) -> list[str]:
        return [
            slurm.ask("squeue", "-h", "--states=all", f"--jobs={number}", "-o", "%T") for number in numbers
        ]

    # Slurm takes any text of up to 1,024 bytes, also one that looks like another job
    account = "alp1\n9-00:00:00|vm-vc2-2|x"
    with day.at_work(), slurm.computes_follow(is_on):
        pair = submit(slurm, "--nodes=2", "--nodelist=vm-vc2-[0-1]", "--time=10", f"--account={account}")
        long = submit(slurm, "--nodelist=vm-vc2-2", "--time=1-0", seconds=3600)
        wait_until(lambda: len(sets(day)) == 3, lambda: slurm.ask("scontrol", "show", "nodes"))
        at_once(lambda _: slurm.comet_slurm(), [1, 2])
        wait_until(
            lambda: states(pair, long) == ["COMPLETED", "RUNNING"],
            lambda: f"{slurm.ask('squeue')}\n{slurm.ask('scontrol', 'show', 'nodes')}\n{sets(day)}",
        )
        found = slurm.node("vm-vc2-2")
        number = found.partition("Comment=computeset ")[2].split()[0]
        assert day.comet("ann", "terminate", number).status == 0
        wait_until(lambda: (slurm.comet_slurm(), reason(slurm, "vm-vc2-2") != "none")[1])
        assert reason(slurm, "vm-vc2-2").startswith(f"computeset {number} is ")
        assert "user" in reason(slurm, "vm-vc2-2")
        wait_until(lambda: states(long) == ["PENDING"], "the job is in the queue again")
        slurm.ask("scancel", long)
        lost = submit(slurm, "--nodelist=vm-vc2-3", "--time=1-0", seconds=3600)
        wait_until(lambda: states(lost) == ["RUNNING"], lambda: slurm.node("vm-vc2-3"))
        assert day.comet("ann", "power", "off", "vc2", "vm-vc2-3").status == 0
        wait_until(lambda: not is_on("vm-vc2-3"), "its owner has powered it off")
        # as Slurm does after SlurmdTimeout, 300 seconds
        slurm.ask("scontrol", "update", "nodename=vm-vc2-3", "state=down", "reason=Not responding")
        wait_until(lambda: (slurm.comet_slurm(), "it is off" in reason(slurm, "vm-vc2-3"))[1])
        slurm.ask("scancel", lost)
        wait_until(
            lambda: {state for _, _, state, _ in sets(day)} == {"cancelled"},
            lambda: f"{slurm.ask('scontrol', 'show', 'nodes')}\n{sets(day)}",
        )
        wait_until(lambda: (slurm.comet_slurm(), "Comment=" not in slurm.ask("scontrol", "show", "nodes"))[1])
        assert "State=DOWN" not in slurm.ask("scontrol", "show", "nodes")
    assert sorted(map(str, sets(day))) == sorted(
        map(str, [(25, "alp1", "cancelled", "user")] * 2 + [(1455, "alp1", "cancelled", "user")] * 2)
    ), "each once"


def test_what_goes_wrong_while_a_node_is_powered_up(day: Site, slurm: GuestSlurm) -> None:
    """No computeset begins here: nothing drives them."""

    def refused(node: str, text: str, *options: str) -> None:
        number = submit(slurm, f"--nodelist={node}", *options)
        wait_until(lambda: text in reason(slurm, node), lambda: slurm.node(node))
        assert "POWERING_UP" not in slurm.node(node)
        slurm.ask("scancel", number)

    slurm.permit(day.service.url, "nuc_12345678_" + "y" * 43)
    refused("vm-vc2-0", "these credentials are unknown")
    slurm.permit(day.service.url, token(day, "power"))
    refused("vm-vc2-1", "this needs the scope computeset, and your credentials have read, power")
    slurm.permit(day.service.url, token(day, "computeset"))
    refused("vm-vc2-2", "a walltime of 57615 minutes is not possible here", "--time=40-0")
    assert sets(day) == []

    slurm.permit("http://127.0.0.1:9/nucleus", token(day, "computeset"))
    submit(slurm, "--nodelist=vm-vc2-3", "--time=10")
    wait_until(lambda: "POWERING_UP" in slurm.node("vm-vc2-3"), lambda: slurm.node("vm-vc2-3"))

    def is_away() -> bool:
        away = slurm.comet_slurm(is_checked=False)
        return (away.exit_status, "cannot be reached" in away.error_text) == (6, True)

    # a run ends at once, without an error, while another one waits: Slurm starts some, too
    wait_until(is_away, "Nucleus is away")
    assert "POWERING_UP" in slurm.node("vm-vc2-3")
    with slurm.killed_before_it_notes():
        slurm.permit(day.service.url, token(day, "computeset"))
        wait_until(
            lambda: slurm.comet_slurm(is_checked=False).exit_status != 0,
            lambda: f"no run was killed: {slurm.node('vm-vc2-3')} {sets(day)}",
        )
        assert len(sets(day)) == 1 and "Comment=computeset 0" in slurm.node("vm-vc2-3")
    ((number,),) = day.rows("SELECT id FROM computeset")

    def is_adopted() -> bool:
        slurm.comet_slurm()
        return f"Comment=computeset {number}" in slurm.node("vm-vc2-3")

    wait_until(is_adopted, lambda: slurm.node("vm-vc2-3"))
    ((minutes, account, state, _),) = sets(day)
    assert (minutes, account, state) == (25, "alp1", "created")
