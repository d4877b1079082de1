"""The changes that mutmut's operators can make in a module: each replaces one node of its syntax tree.

Code whose changes no test can or should notice is left out: annotations, decorators, imports, docstrings, blocks below
`if TYPE_CHECKING`, `raise` statements, and changes of a string's case (most of our strings are SQL or prose).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import libcst
from libcst import matchers
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

_NOT_MUTATED = (libcst.Annotation, libcst.Decorator, libcst.Import, libcst.ImportFrom, libcst.Raise)
_TYPE_CHECKING = matchers.If(test=matchers.Name("TYPE_CHECKING"))
_STATEMENTS = (libcst.BaseSmallStatement, libcst.BaseCompoundStatement)


class Change(NamedTuple):
    """A replaced node: its first line (1-based), mutmut's operator, its code before and after.

    `lines` are those from the start of its statement to the node's end: a test that executes one of them executes the
    node. `is_imported` says that an import executes it, not a call. `code` returns the changed module.
    """

    line: int
    operator: str
    before: str
    after: str
    lines: range
    is_imported: bool
    code: Callable[[], str]


class _Finder(libcst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, module: libcst.Module) -> None:
        self._module, self._statement_line, self._functions = module, 1, 0
        self.found: list[Change] = []

    def on_visit(self, node: libcst.CSTNode) -> bool:
        if isinstance(node, _NOT_MUTATED) or matchers.matches(node, _TYPE_CHECKING):
            return False
        if isinstance(node, _STATEMENTS):
            self._statement_line = self.get_metadata(PositionProvider, node).start.line
        self._functions += isinstance(node, libcst.FunctionDef)
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                name = operator.__name__.removeprefix("operator_")
                for new in list(operator(node))[: 1 if name == "string" else None]:
                    self._collect(node, name, new)
        return True

    def on_leave(self, original_node: libcst.CSTNode) -> None:
        self._functions -= isinstance(original_node, libcst.FunctionDef)

    def _collect(self, node: libcst.CSTNode, operator: str, new: libcst.CSTNode) -> None:
        place = self.get_metadata(PositionProvider, node)
        before, after = (self._module.code_for_node(one) for one in (node, new))
        lines = range(self._statement_line, place.end.line + 1)
        code = partial(_replaced, self._module, node, new)
        is_imported = self._functions == 0
        self.found.append(Change(place.start.line, operator, before, after, lines, is_imported, code))


def _replaced(module: libcst.Module, node: libcst.CSTNode, new: libcst.CSTNode) -> str:
    return libcst.ensure_type(module.deep_replace(node, new), libcst.Module).code


def changes(code: str) -> list[Change]:
    """All changes of a module, in the order of its nodes."""
    wrapper = MetadataWrapper(libcst.parse_module(code))
    finder = _Finder(wrapper.module)
    wrapper.visit(finder)
    return finder.found
