"""The guide shows what the demo of an owner's cluster types on the frontend, in its order."""

from lab.demos import own
from tests.unit.docs.pages import CHECKOUT

GUIDE = (CHECKOUT / "docs" / "guide" / "own-cluster.md").read_text("utf-8")
_MACS = ("02:71:00:80:00:06", "02:71:00:80:00:07")


def test_the_guide_shows_what_the_demo_types_on_the_frontend_in_its_order() -> None:
    typed = [*own.INSTALLATION, *own.ROLLS, *own.SERVICES, *own.HOSTS, *own.ACCOUNT, own.MPI]
    at = 0
    for line in typed:
        block = f"\n# {line.format(macs=_MACS)}\n"
        at = GUIDE.find(block, at)
        assert at >= 0, f"the guide lacks, or has elsewhere: {block}"


def test_the_guide_has_the_demos_answers() -> None:
    assert f"```\n{own.ANSWERS.format(private='10.1.255.253')}```" in GUIDE
