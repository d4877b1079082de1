"""No regular expression of ours takes quadratic time: 100 kB in `disk=` took 13 s."""

import importlib
import pkgutil
import re
import resource
import sys
from pathlib import Path

from rocks.core.process import run

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
