"""`check graph`: files that nothing reads, and files that would block their reader."""

import json
import os
from pathlib import Path

from tests.system.commands.conftest import Site


def _checked(site: Site, folder: Path) -> dict[str, tuple[str, str]]:
    """Result and detail of each file, by its name."""
    ended = site.rocks("check graph", f"basedir={folder}", "json=yes")
    found = json.loads(ended.out)
    return {
        Path(one["file"]).name: (row["result"], row["detail"]) for one in found for row in next(
            value for value in one.values() if isinstance(value, list)
        )
    }  # fmt: skip


def test_misplaced_files_are_named(site: Site, tmp_path: Path) -> None:
    for name in ("graphs/default", "nodes", "site-nodes", "site-graphs/default"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "graphs/default/ours.xml").write_text('<graph><edge from="a" to="b"/></graph>')
    for name in ("a", "b"):
        (tmp_path / f"nodes/{name}.xml").write_text("<kickstart/>")
    (tmp_path / "site-graphs/site.xml").write_text("<graph/>")
    (tmp_path / "site-nodes/extend-a.XML").write_text("<kickstart/>")
    (tmp_path / "site-nodes/extend-b.xml").symlink_to("nowhere")
    (tmp_path / "site-nodes/README").write_text("")
    os.mkfifo(tmp_path / "site-graphs/default/pipe.xml")
    (tmp_path / "site-nodes/extend-b~").write_text("")

    found = _checked(site, tmp_path)

    assert set(found) == {"site.xml", "extend-a.XML", "extend-b.xml", "pipe.xml"}
    assert {result for result, _ in found.values()} == {"wrong"}
    assert found["site.xml"][1].endswith("site-graphs/default/site.xml")
    assert found["extend-a.XML"][1] == "it is not read: its name does not end in .xml"
    assert found["pipe.xml"][1] == "it is not read: it is no file, and no link to one"


def test_a_site_without_files_has_no_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "graphs/default").mkdir(parents=True)
    ended = site.rocks("check graph", f"basedir={tmp_path}")
    assert (ended.status, ended.err) == (0, "")
