"""The guide shows what the demo of FAI types, in its order."""

from lab.demos import fai
from tests.unit.docs.pages import CHECKOUT

GUIDE = (CHECKOUT / "docs" / "guide" / "own-cluster.md").read_text("utf-8")


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
