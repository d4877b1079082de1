"""The libvirt documents of `cases.py`: as in the golden files, valid by libvirt's schema, covering all code."""

import ast
import re
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from lxml import etree

import rocks.machine.domain
from rocks.machine.domain import domain_lines, with_lease
from rocks.network.filter_plan import FilterPlan, PlannedSender
from tests.golden.domain.cases import CASES, Case
from tests.golden.files import check_golden

FOLDER = Path(__file__).parent
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
SOURCES = (Path(rocks.machine.domain.__file__),)
NETWORK = FilterPlan(
    True,
    (
        PlannedSender("76:77:6e:80:00:00", False),
        PlannedSender("76:77:6e:80:0:1", True, ("203.0.113.9",), ("2001:db8::9", "2001:db8::a")),
    ),
)


BASE = "compute_on_a_bridge"
"""The files of the other cases have what differs from it."""


def render(case: Case) -> list[str]:
    return domain_lines(case.vm, case.connections, case.install, placement=case.placement)


@pytest.fixture(scope="module")
def schema() -> etree.RelaxNG:
    if not SCHEMA.exists():
        pytest.skip(f"{SCHEMA} is not installed; it belongs to the package libvirt0")
    return etree.RelaxNG(etree.parse(str(SCHEMA)))


def check(name: str, text: str) -> None:
    base = f"{BASE}.xml", "\n".join(render(CASES[BASE])) + "\n"
    check_golden(FOLDER / f"{name}.xml", f"{text}\n", base if name != BASE else ("", ""))


@pytest.mark.parametrize("name", CASES)
def test_the_document_equals_the_golden_file(name: str) -> None:
    check(name, "\n".join(render(CASES[name])))


@pytest.mark.parametrize("name", CASES)
def test_the_document_is_valid_with_and_without_a_lease(name: str, schema: etree.RelaxNG) -> None:
    lines = render(CASES[name])
    for text in ("\n".join(lines), with_lease(lines, 7, NETWORK)):
        assert schema.validate(etree.fromstring(text)), schema.error_log.last_error


def test_the_document_with_a_lease_equals_the_golden_file() -> None:
    text = with_lease(render(CASES["compute_in_a_cluster"]), 7, NETWORK)
    check_golden(FOLDER / "compute_in_a_cluster_with_lease.xml", f"{text}\n")


@pytest.mark.parametrize("name", CASES)
def test_each_line_has_one_tag_or_one_short_element(name: str) -> None:
    for line in render(CASES[name]):
        assert "\n" not in line
        assert re.fullmatch(r" *(<[^>]*>|<(\w+)[^>]*>[^<]*</\2>)", line), line


def test_every_golden_file_has_a_case() -> None:
    stored = {str(path.relative_to(FOLDER)).partition(".")[0] for path in FOLDER.rglob("*.xml*")}
    assert stored == {*CASES, "compute_in_a_cluster_with_lease"}


def test_every_line_of_the_renderer_is_run_by_some_case() -> None:
    """Except lines that raise: their input has no document."""
    completed: set[tuple[str, int]] = set()
    names = {str(source) for source in SOURCES}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in names:
            return None
        completed.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for case in CASES.values():
            with_lease(render(case), 7, NETWORK)
        lines = render(CASES["nothing_but_itself"])
        again = with_lease(lines, 7, uuid="11111111-1111-4111-8111-111111111111")
        with_lease(again.splitlines(), 8, uuid="22222222-2222-4222-8222-222222222222")
        for system in ("", "<os firmware='efi'><loader/></os>"):
            document = [f"<domain><name>web</name>{system}</domain>"]
            with_lease(document, 7, uuid="11111111-1111-4111-8111-111111111111")
        domain_lines(CASES["nothing_but_itself"].vm, [], filters={"global": list})
    finally:
        sys.settrace(before)
    never = sorted(_lines_of_functions() - _lines_that_raise() - completed)
    assert never == [], "no case comes to these lines of the renderer"


def test_every_tag_and_attribute_of_the_renderer_is_in_some_document() -> None:
    seen = {
        word
        for case in CASES.values()
        for element in etree.fromstring("\n".join(render(case))).iter()
        for word in (element.tag, *element.attrib)
    }
    assert _names_of_elements() - seen == set()


def test_every_attribute_that_the_renderer_reads_is_in_some_case() -> None:
    given = {name.lower() for case in CASES.values() for name in case.vm.host.attributes}
    assert {name.lower() for name in _attributes_read()} - given == set()


def _lines_of_functions() -> set[tuple[str, int]]:
    """Lines that hold code of functions; those of a module itself run when it is imported."""
    found: set[tuple[str, int]] = set()

    def visit(code: CodeType) -> None:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                if constant.co_flags & 0x2:  # a function's code, not a class's
                    # the first line is the definition's, which a call does not come to again
                    found.update(
                        (code.co_filename, line)
                        for *_, line in constant.co_lines()
                        if line and line > constant.co_firstlineno
                    )
                visit(constant)

    for source in SOURCES:
        visit(compile(source.read_text(), str(source), "exec"))
    return found


def _lines_that_raise() -> set[tuple[str, int]]:
    return {
        (str(source), line)
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Raise | ast.ExceptHandler)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def _calls() -> list[ast.Call]:
    trees = [ast.parse(source.read_text()) for source in SOURCES]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _names_of_elements() -> set[str]:
    """Tags, and names of attributes, that stand in calls of `element`."""
    arguments: set[str] = set()
    for call in _calls():
        if isinstance(call.func, ast.Name) and call.func.id == "element":
            arguments.update(_text(call.args[0]))
            for argument in call.args[1:2]:
                if isinstance(argument, ast.Dict):
                    arguments.update(word for key in argument.keys for word in _text(key))
    return arguments


def _attributes_read() -> set[str]:
    """Names in calls of `attribute("…")` and `is_true("…")`."""
    return {
        word
        for call in _calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("attribute", "is_true")
        for word in _text(call.args[0])
    }


def _text(node: ast.expr | None) -> list[str]:
    """The texts in an expression, `"dev" if … else "file"` among them."""
    if node is None:
        return []
    return [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
