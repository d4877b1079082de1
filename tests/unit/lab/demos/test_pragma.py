"""What `make demo-pragma` writes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lab.demos.pragma import DemoPragma
from rocks.core.process import Finished


def test_the_log_of_the_boot_is_removed_with_the_site(tmp_path: Path) -> None:
    """Other folders of the demo's machine, such as /root, are those of this machine."""
    lines: list[list[str]] = []

    def run(line: list[str], _: float) -> Finished:
        lines.append(line)
        return Finished(line, 0, b"", b"")

    site = SimpleNamespace(folder=tmp_path, machine=SimpleNamespace(run=run))
    demo: Any = SimpleNamespace(
        _site=site,
        _progress=SimpleNamespace(print=lambda _: None, record=lambda *_: None),
        _demo=SimpleNamespace(show=lambda *_: None),
    )
    DemoPragma._boot(demo, tmp_path / "config")
    (line,) = lines
    assert Path(line[line.index("-logfile") + 1]).parent == tmp_path
