"""The guide shows what the demos of an owner's cluster and of FAI type, in their order."""

from lab.demos import fai, own
from tests.unit.docs.pages import CHECKOUT

# The guide shows what the demo of an owner's cluster types on the frontend, in its order.


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


# The guide shows what the demo of FAI types, in its order.


def test_the_guide_shows_what_the_demo_types_in_its_order() -> None:
    typed = [
        f"# {line}"
        for line in (fai.PACKAGES, fai.SOURCES, fai.ROOT, fai.MIRROR, fai.KEY, fai.BUILD, fai.NAMES)
    ]
    typed.append(f"$ comet iso upload {fai.ISO} --wait")
    typed.append(f"$ comet iso attach {fai.ISO} {fai.CLUSTER} '{fai.NODES}' --wait")
    typed.append(f"$ comet start {fai.CLUSTER} '{fai.NODES}' --walltime=6h --wait")
    typed.append(f"$ ssh -J root@{fai.ADDRESS} {fai.USER}@{fai.COMPUTES[0]} {fai.MPI}")
    at = 0
    for line in typed:
        at = GUIDE.find(f"\n{line}\n", at)
        assert at >= 0, f"the guide lacks, or has elsewhere: {line}"
