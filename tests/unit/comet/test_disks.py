"""Fresh disks, by `comet reinstall` and `comet clone`, against a small server."""

from tests.unit.comet.conftest import Comet, sent


def test_nodes_get_fresh_disks_after_a_yes(comet: Comet) -> None:
    """The name of each is sent once more; what is on, and a no, changes nothing."""
    asked = comet("reinstall", "vc2", "vm-vc2-[0-1]", "--image=debian", terminal="n\n")
    assert asked.status == 2 and sent(comet.server, "POST") == []
    assert "This gives vm-vc2-[0-1] a fresh disk; all that is on the old one is lost. Go on?" in asked.err
    assert comet("reinstall", "vc2", "vm-vc2-0").status == 2, "nobody can answer"
    done = comet("reinstall", "vc2", "vm-vc2-[0-1]", "--image=debian", "--yes")
    assert done.out == "vm-vc2-0: gets a fresh disk\nvm-vc2-1: gets a fresh disk\n"
    assert sent(comet.server, "POST") == [
        (f"cluster/vc2/compute/{name}/reinstall", {"confirm": name, "image": "debian"})
        for name in ("vm-vc2-0", "vm-vc2-1")
    ]
    comet.server.clusters[0]["frontend"]["power"] = "off"
    waited = comet("reinstall", "vc2", "--yes", "--wait")
    assert waited.out == "vc2: a fresh disk from the next power-on\n"
    assert sent(comet.server, "POST")[-1] == ("cluster/vc2/frontend/reinstall", {"confirm": "vc2"})
    comet.server.clusters[0]["computes"][0]["power"] = "on"
    some = comet("reinstall", "vc2", "vm-vc2-[0-1]", "--yes")
    assert some.status == 9 and "vm-vc2-0 is on; power it off first" in some.out


def test_computes_get_clones_of_a_disk(comet: Comet) -> None:
    asked = comet("clone", "vc2", "vm-vc2-0", "vm-vc2-1", terminal="n\n")
    question = "This gives vm-vc2-1 a clone of the disk of vm-vc2-0; all that is on theirs is lost. Go on?"
    assert asked.status == 2 and question in asked.err and sent(comet.server, "POST") == []
    done = comet("clone", "vc2", "vm-vc2-0", "vm-vc2-1", "--yes", "--wait")
    assert done.out == "vm-vc2-1: has a clone of the disk of vm-vc2-0\n"
    body = {"confirm": "vm-vc2-1", "original": "vm-vc2-0"}
    assert sent(comet.server, "POST") == [("cluster/vc2/compute/vm-vc2-1/clone", body)]
    assert comet("clone", "vc2", "vm-vc2-0").status == 2
