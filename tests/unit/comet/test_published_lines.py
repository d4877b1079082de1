"""The lines of the paper's Figures 5 and 6 and of the slides' usage, as typed there, with what each does.

`cm` is the same program (`packaging/comet/pyproject.toml`), so its first word is `comet`.
"""

import shlex
from pathlib import Path

import pytest

from comet.cli.commands import COMMANDS, GLOBAL
from comet.cli.parser import normalised, parsed
from comet.client.errors import UsageError
from tests.nucleus_server import NucleusServer
from tests.unit.comet.conftest import Comet, sent

FIGURE_5 = (
    ("cm comet cluster vc2", "vm-vc2-3"),
    ("cm comet start vc2 vm-vc2-[0-3] -walltime=6h", "computeset 1 is accepted"),
    ("cm comet iso attach image.iso vc2 vm-vc2-3", "image.iso is being put into its drive"),
    ("cm comet power on vc2 vm-vc2-0", "vm-vc2-0: is being switched on"),
    ("cm comet console vc2 vm-vc2-0", "/console/"),
)

FIGURE_6 = (
    ("comet ll", "vc2"),
    ("comet ll vc2 --format=csv", "vc2"),
    ("comet cluster --format=yaml", "name: vc2"),
    ("comet cluster vc2 --format=rest", '"name": "vc2"'),
    ("comet start vc2 --count=1 --allocation=alp1 --walltime=3h", "computeset 1 is accepted"),
    ("comet start vc2 vm-vc2-[1-2] --allocation=alp1 --walltime=2d", "computeset 2 is accepted"),
    ("comet computeset", "vm-vc2-0"),
    ("comet computeset 2", "Computeset: 2"),
    ("comet computeset --allocation=alp1 --cluster=vc2 --state=running", "vm-vc2-1"),
    ("comet computeset --state=completed", ""),
    ("comet power reboot vc2 vm-vc2-0", "vm-vc2-0: is being asked to reboot"),
    ("comet power reset vc2 vm-vc2-[1-2]", "vm-vc2-2: is being reset"),
    ("comet power off vc2 vm-vc2-1", "vm-vc2-1: is being switched off"),
    ("comet power on vc2 vm-vc2-1", "vm-vc2-1: is being switched on"),
    ("comet power shutdown vc2 2", "computeset 2"),
    ("comet power on vc2", "vc2: is being switched on"),
    ("comet console vc2", "/console/"),
    ("comet iso list", "debian.iso"),
    ("comet iso upload --isoname=mine.iso {path}", "mine.iso"),
    ("comet iso attach mine.iso vc2 vm-vc2-[0-3]", "vm-vc2-3: project/alpha/mine.iso"),
    ("comet iso attach mine.iso vc2", "vc2: project/alpha/mine.iso"),
    ("comet iso detach vc2 vm-vc2-[0-3]", "vm-vc2-3: its drive is being emptied"),
    ("comet iso detach vc2", "vc2: its drive is being emptied"),
    ("comet node rename vc2 vm-vc2-0 n0", "renamed"),
    ("comet terminate 1", "computeset 1 is ending"),
)

SLIDES = (
    ("comet power on vc2 --count=2 --allocation=alp1 --walltime=3h", "computeset 1 is accepted"),
    ("comet image list", "debian.iso"),
    ("comet image upload --imagename=mine.iso {path}", "mine.iso"),
    ("comet image attach mine.iso vc2 vm-vc2-0", "vm-vc2-0: project/alpha/mine.iso"),
    ("comet image detach vc2 vm-vc2-0", "vm-vc2-0: its drive is being emptied"),
)

ORDERS = (
    ("comet ll --format=csv vc2", "vc2"),
    ("comet cluster --status vc2 --quiet", "vm-vc2-3"),
    ("comet start vc2 --walltime=6h 'vm-vc2-[0-1]'", "computeset 1 is accepted"),
    ("comet start vc2 -walltime=6h --allocation alp1 vm-vc2-2", "computeset 2 is accepted"),
    ("comet power on vc2 --walltime=6h vm-vc2-3", "computeset 3 is accepted"),
    ("comet computeset --cluster=vc2 2", "Computeset: 2"),
    *((f"comet power {it} vc2 --yes vm-vc2-0", "vm-vc2-0: is being") for it in ("reboot", "reset", "off")),
    ("comet power shutdown vc2 --yes 1", "computeset 1"),
    ("comet console vc2 --link vm-vc2-3", "/console/"),
    ("comet node info vc2 --format=json vm-vc2-3", '"name": "vm-vc2-3"'),
    ("comet iso attach debian.iso --quiet vc2 --timeout 9 vm-vc2-0", "vm-vc2-0: debian.iso"),
    ("comet iso detach vc2 --endpoint=dev vm-vc2-0", "vm-vc2-0: its drive is being emptied"),
    ("comet --format json node info vc2 -q -- vm-vc2-0", '"name": "vm-vc2-0"'),
)
"""As the old client took them: its options may be anywhere behind the command."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, server: NucleusServer) -> list[str]:
    """The pages that a browser got; the image of Figure 5 is in the library."""
    pages: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda page: pages.append(page) or True)
    server.images.append("public/image.iso")
    return pages


def _type_all(comet: Comet, lines: tuple[tuple[str, str], ...], path: Path) -> None:
    """As somebody at a terminal, who answers every question with yes."""
    path.write_bytes(bytes(0x8001) + b"CD001")
    for line, expected in lines:
        done = comet(*shlex.split(line.format(path=path).removeprefix("cm ")), terminal="y\n")
        assert done.status == 0 and expected in done.out + done.err, (line, done)


def test_each_line_of_figure_5(comet: Comet, opened: list[str], tmp_path: Path) -> None:
    """With long options that have one dash; a short one stays what it is."""
    _type_all(comet, FIGURE_5, tmp_path / "x.iso")
    assert comet("ll", "-q").status == 0
    assert [it["iso"] for it in comet.server.clusters[0]["computes"]] == [None] * 3 + ["public/image.iso"]
    assert comet.server.sets[1]["walltime_mins"] == 360 and len(comet.server.sets[1]["computes"]) == 4
    assert len(opened) == 1


def test_each_line_of_figure_6(comet: Comet, opened: list[str], tmp_path: Path) -> None:
    """`init` has tests of its own in `test_commands.py`."""
    _type_all(comet, FIGURE_6, tmp_path / "x.iso")
    assert [(it["walltime_mins"], it["state"]) for it in comet.server.sets.values()] == [
        (180, "cancelled"),
        (2880, "cancelled"),
    ]
    assert ("cluster/vc2/rename", {"map": {"vm-vc2-0": "n0"}}) in sent(comet.server, "POST")
    assert len(opened) == 1


def test_each_line_of_the_slides_that_differs(comet: Comet, tmp_path: Path) -> None:
    _type_all(comet, SLIDES, tmp_path / "x.iso")
    assert len(comet.server.sets[1]["computes"]) == 2


def test_lines_with_options_among_the_arguments(comet: Comet, tmp_path: Path) -> None:
    _type_all(comet, ORDERS, tmp_path / "x.iso")
    assert [it["walltime_mins"] for it in comet.server.sets.values()] == [360, 360, 360]


@pytest.mark.slow
def test_each_command_takes_its_options_before_its_optional_argument() -> None:
    """And before its name; with their value as a word of its own, with one dash, and where `--` ends the options."""
    checked = 0
    for it in COMMANDS:
        if not any(argument.optional for argument in it.arguments):
            continue
        *needed, last = [argument.names[0] for argument in it.arguments]
        for option in (*it.options, *GLOBAL):
            (name, *_), value = option.names, option.choices[0] if option.choices else "1"
            forms = (
                [[f"{name}={value}"], [name, value], [f"{name[1:]}={value}"]] if option.value else [[name]]
            )
            for form in forms:
                if form == ["--wait", value]:  # a word behind it is an argument
                    form = ["--wait"]
                expected = parsed(normalised([*it.path, *needed, last, *form]))
                assert getattr(expected, last) == last
                for line in ([*needed, *form, last], [*form, *needed, last], [*needed, *form, "--", last]):
                    assert parsed(normalised([*it.path, *line])) == expected, line
                    checked += 1
                assert parsed(normalised([*form, *it.path, *needed, last])) == expected, form
    assert checked > 600


def test_an_option_without_its_value_does_not_take_an_argument() -> None:
    for line in (
        "start vc2 --count",
        "start vc2 --walltime -- vm-vc2-0",
        "power on vc2 --count --yes vm-vc2-0",
    ):
        with pytest.raises(UsageError, match="expected one argument"):
            parsed(normalised(line.split()))
    assert parsed(normalised(["node", "info", "vc2", "-q", "--", "-n0"])).node == "-n0"
