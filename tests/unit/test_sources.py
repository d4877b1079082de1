"""Rules for sources: pure modules, patterns, programs in texts."""

import ast
import importlib
import pkgutil
import re
import resource
import sys
from functools import cache
from pathlib import Path

import grimp

import rocks
from rocks.core.process import run

# Modules whose docstring says that they are pure do no I/O; the imports that point upwards only become fewer.


SOURCES = Path(rocks.__file__).parent
IMPURE = {
    "rocks.core.clock",
    "rocks.core.files",
    "rocks.core.process",
    "subprocess",
    "socket",
    "os",
    "pathlib",
    "shutil",
    "tempfile",
    "pymysql",
    "paramiko",
    "libvirt",
}


def pure_modules() -> list[str]:
    found = []
    for path in SOURCES.rglob("*.py"):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        if re.search(r"\b[Pp]ure\.", text) and "commands" not in path.parts:
            name = ".".join(("rocks", *path.relative_to(SOURCES).with_suffix("").parts))
            found.append(name.removesuffix(".__init__"))
    return found


def test_they_import_nothing_that_acts() -> None:
    names = pure_modules()
    graph = grimp.build_graph("rocks", include_external_packages=True, cache_dir=None)
    found = {name: IMPURE & graph.find_upstream_modules(name) for name in names}
    assert len(names) > 80
    assert {name: impure for name, impure in found.items() if impure} == {}


MAX_UPWARD_IMPORTS = 16


def test_imports_that_point_upwards_become_fewer() -> None:
    """A change that removes one from import-contracts.ini lowers the number."""
    contracts = (SOURCES.parents[1] / "import-contracts.ini").read_text("utf-8")
    rooms = contracts.partition("[importlinter:contract:storage-layers]")[0]
    assert len(re.findall(r"^    rocks\.\S+ -> rocks\.\S+$", rooms, re.M)) == MAX_UPWARD_IMPORTS


# No regular expression of ours takes quadratic time: 100 kB in `disk=` took 13 s.


LENGTH = 100_000  # the kernel passes at most 128 KiB as one argument
PROCESSOR_SECONDS = 60  # all together take six to nine; one that is quadratic would take minutes
PARTS = (
    [
        "a",
        "0",
        ",",
        "a,",
        " ",
        "\n",
        "-",
        "a-",
        "0-",
        "<",
        "<a",
        "<?",
        "<!--",
        "<!-- -->",
        "<?a?>",
        "'",
        '"',
        '="',
    ]
    + [
        "(",
        "[",
        "{",
        "$",
        "a.",
        ".",
        ":",
        "0:",
        "/",
        "a/",
        "\\",
        "&",
        "&a",
        "%",
        "#",
        "x=",
        "x= ",
        "\t",
        "0.",
        "1 ",
    ]
    + ["-----BEGIN X509 CRL-----", "a, ", ",\t", "\x00"]
)


def main() -> None:
    """Match every pattern of every module against every text; the last line before a kill names the pattern."""
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    texts = [part * (LENGTH // len(part)) + end for part in PARTS for end in ("", "!", "\0")]
    for place, (pattern, is_searched) in sorted(patterns().items()):
        print(place, flush=True)
        for text in texts:
            subject = text.encode() if isinstance(pattern.pattern, bytes) else text
            pattern.fullmatch(subject)
            if is_searched:
                pattern.search(subject)
    print("all")


def patterns() -> dict[str, tuple[re.Pattern, bool]]:  # type: ignore[type-arg]
    """The compiled patterns by module and name, and whether the module searches with them, at every place of a text."""
    import rocks

    found = {}
    for module in pkgutil.walk_packages(rocks.__path__, "rocks."):
        if module.name.startswith("rocks.commands."):
            continue  # no patterns but those for docstrings of commands, which no user writes
        if module.name.endswith("__main__") or "pyroute2" in module.name:
            continue
        try:
            loaded = importlib.import_module(module.name)
        except ModuleNotFoundError:
            continue  # a host's library
        source = Path(loaded.__file__ or "").read_text()
        for name, value in vars(loaded).items():
            if isinstance(value, re.Pattern):
                is_searched = re.search(rf"\b{name}\.(search|sub|subn|split|findall|finditer)\(", source)
                found[f"{module.name} {name}"] = (value, is_searched is not None)
    return found


def test_c7_no_pattern_is_quadratic() -> None:
    ended = run(
        [sys.executable, __file__],
        deadline_seconds=300,
        environment={
            "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        },
    )
    lines = ended.text.splitlines()
    assert lines[-1:] == ["all"], f"more than {PROCESSOR_SECONDS} s of processor time at {lines[-1:]}"
    assert len(lines) > 50, "patterns were found"


if __name__ == "__main__":
    main()


# Programs that tests write as texts import modules and names that exist: neither ruff nor mypy reads them.


CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("rocks", "nucleus", "owners", "comet")
IMPORT = re.compile(rf"\bfrom ((?:{'|'.join(ROOMS)})(?:\.\w+)*) import ([\w, ]+)")


def module_file(name: str) -> Path | None:
    """The file of a module or package; None when there is none."""
    for root in ("src", "roll/pragma"):
        place = CHECKOUT / root / name.replace(".", "/")
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path
    return None


@cache
def names_of(path: Path) -> frozenset[str]:
    """Every name that a module assigns, defines or imports, wherever that is."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return frozenset(found)


def missing_in(text: str) -> list[str]:
    """Modules and names that the statements in a text import and that are not there."""
    missing = []
    for module, names in IMPORT.findall(text):
        path = module_file(module)
        for name in (part.partition(" as ")[0].strip() for part in names.split(",")):
            if (
                name
                and (path is None or name not in names_of(path))
                and module_file(f"{module}.{name}") is None
            ):
                missing.append(f"{module}.{name}")
    return missing


def test_programs_in_texts_import_what_is_there() -> None:
    missing = []
    for path in sorted({*(CHECKOUT / "tests").rglob("*.py")} - {Path(__file__)}):
        source = path.read_text("utf-8")
        if not re.search(rf"from (?:{'|'.join(ROOMS)})\b", source):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                missing += [
                    f"{path.relative_to(CHECKOUT)}:{node.lineno}: {name}" for name in missing_in(node.value)
                ]
    assert missing == []


def test_a_name_that_is_gone_is_found() -> None:
    text = "from rocks.machine import gone, start as starts\nfrom rocks.nowhere import x"
    assert missing_in(text) == ["rocks.machine.gone", "rocks.nowhere.x"]
