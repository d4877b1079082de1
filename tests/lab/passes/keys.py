"""The content key of a lab module: a hash of the files that its result depends on.

These are the module, its imports, and what it declares in `SUBJECTS`: paths or patterns of files in the checkout that
its machines execute or read. Imports are followed from each Python file. A helper in tests/lab may declare subjects
too; those of conftest.py apply to every module. A `rocks` command that a file of tests/lab or lab/machines names
(`site.done("start", "host", "vm", …)`, or "start host vm …") counts as an import.
"""

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.build.cache import key_of

CHECKOUT = Path(__file__).absolute().parents[3]
FOLDER = CHECKOUT / "tests" / "lab"
COMMON = FOLDER / "conftest.py"
_COMMANDS = CHECKOUT / "src" / "rocks" / "commands"
_FOLDERS_NAMING_COMMANDS = (FOLDER, CHECKOUT / "lab" / "machines")
_ROOTS = {
    "rocks": CHECKOUT / "src",
    "nucleus": CHECKOUT / "src",
    "comet": CHECKOUT / "src",
    "lab": CHECKOUT,
    "tests": CHECKOUT,
}
"""Top-level package → the folder that contains it."""


def modules() -> list[str]:
    """The lab's modules, as paths relative to tests/lab."""
    found = [*FOLDER.glob("test_*.py"), *FOLDER.glob("long/test_*.py")]
    return sorted(str(path.relative_to(FOLDER)) for path in found)


def content_key(module: str) -> str:
    """The module's key; the same files give the same key on every machine."""
    return key_of(*((str(path.relative_to(CHECKOUT)), path.read_bytes()) for path in files_of(module)))


def files_of(module: str) -> list[Path]:
    """The files that the result of the module depends on, sorted."""
    # without the imports of conftest.py: each module imports the kind of site that it uses
    found = {COMMON}
    open_files = [FOLDER / module, *_subject_files(COMMON)]
    while open_files:
        path = open_files.pop()
        if path not in found:
            found.add(path)
            open_files += _needed_by(path) if path.suffix == ".py" else ()
    return sorted(found)


def subjects_of(path: Path) -> tuple[str, ...] | None:
    """What a file declares in its constant `SUBJECTS`; None without one."""
    for node in _syntax(path, path.read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SUBJECTS":
            return tuple(ast.literal_eval(node.value))
    return None


def files_of_subject(subject: str) -> list[Path]:
    """The files that match a path or pattern, with all files below matching folders; no bytecode."""
    places = list(CHECKOUT.glob(subject))
    found = [path for place in places for path in (place.rglob("*") if place.is_dir() else [place])]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def _subject_files(path: Path) -> Iterator[Path]:
    for subject in subjects_of(path) or ():
        yield from files_of_subject(subject)


def _needed_by(path: Path) -> Iterator[Path]:
    yield from _imported_by(path, path.read_bytes())
    if FOLDER in path.parents:
        yield from _subject_files(path)


@functools.cache
def _imported_by(path: Path, content: bytes) -> tuple[Path, ...]:
    nodes = list(ast.walk(_syntax(path, content)))
    names = [name for node in nodes for name in _names_of_import(node)]
    found = [file for name in names for file in _files_of_module(name)]
    if any(folder in path.parents for folder in _FOLDERS_NAMING_COMMANDS):
        found += [file for node in nodes for file in _files_of_command(_first_strings(node) or _parts(node))]
    return (*found, *(init for parent in path.parents if (init := parent / "__init__.py").is_file()))


@functools.cache
def _syntax(path: Path, content: bytes) -> ast.Module:
    return ast.parse(content, str(path))


def _names_of_import(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:  # ruff forbids relative imports
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _files_of_module(name: str) -> list[Path]:
    top, *rest = name.split(".")
    if top not in _ROOTS:
        return []
    place = _ROOTS[top].joinpath(top, *rest)
    return [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]


def _first_strings(node: ast.AST) -> list[str]:
    """The first consecutive strings among a call's arguments or the elements of a tuple or list."""
    if isinstance(node, ast.Call):
        elements: Iterable[ast.expr] = node.args
    elif isinstance(node, ast.Tuple | ast.List):
        elements = node.elts
    else:
        return []
    texts: list[str] = []
    for element in elements:
        if isinstance(element, ast.Constant) and isinstance(element.value, str):
            texts.append(element.value)
        elif texts:
            break
    return texts


def _parts(node: ast.AST) -> list[str]:
    """The words of a text, or of a part of an f-string."""
    return node.value.split() if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _files_of_command(texts: list[str]) -> list[Path]:
    folder = _COMMANDS
    for text in texts:
        if not text.isidentifier() or not (folder / text).is_dir():
            break
        folder /= text
    if len(folder.relative_to(_COMMANDS).parts) < 2:  # a verb alone is no command
        return []
    return [path for path in folder.iterdir() if path.is_file()]
