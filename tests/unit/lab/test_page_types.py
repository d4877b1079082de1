"""What the JavaScript of Nucleus' pages is checked against."""

import json
from pathlib import Path

from lab.page_types import declarations, elements_of

ROOT = Path(__file__).parents[3]


def test_objects_of_the_interface_and_elements_of_the_pages_are_declared() -> None:
    description = json.loads((ROOT / "docs/reference/nucleus-openapi.json").read_text("utf-8"))
    pages = elements_of(sorted((ROOT / "src/owners").glob("*/static")))
    lines = list(declarations(description["components"]["schemas"], pages))
    (compute,) = (line for line in lines if line.startswith("  interface Compute {"))
    assert '"power": "on" | "off" | "paused" | "crashed" | "unknown";' in compute
    assert '"cpus": number | null;' in compute and '"interface": (Rest.Interface)[];' in compute
    assert '  "filter": HTMLElementTagNameMap["input"];' in lines  # of the HTML
    assert '  "sign-in": HTMLElementTagNameMap["form"];' in lines  # of a script


def test_an_id_of_several_pages_is_of_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "one.html").write_text('<input id="days">')
    (tmp_path / "two.html").write_text('<figure id="days"></figure>')
    assert elements_of([tmp_path]) == {"days": {"figure", "input"}}
