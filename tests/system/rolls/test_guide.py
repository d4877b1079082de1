"""The roll author's guide: its first part as printed, and the code of the others in a roll."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from rocks.install.rolls.content import check_python, read_description
from rocks.install.rolls.iso import create_roll
from tests.rolls import write_roll
from tests.system.commands.conftest import Site, silent_hosts, vm_site

__all__ = ["silent_hosts", "vm_site"]

CHECKOUT = Path(__file__).resolve().parents[3]
GUIDE = (CHECKOUT / "docs/guide/roll-author.md").read_text("utf-8")


def part(title: str) -> str:
    """The text of one part of the guide."""
    return GUIDE.split(f"## {title}\n")[1].split("\n## ")[0]


def code(kind: str, first: str) -> str:
    """The code block of a kind that contains a text."""
    (found,) = [block for block in re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL) if first in block]
    return str(found)


def typed(text: str) -> list[tuple[str, str]]:
    """(command, printed text) of the blocks with a prompt."""
    blocks = re.findall(r"```\n(# .*?)```", text, re.DOTALL)
    parts = [piece for block in blocks for piece in re.split(r"^# ", block, flags=re.MULTILINE)[1:]]
    return [(piece.partition("\n")[0], piece.partition("\n")[2]) for piece in parts]


@pytest.mark.slow
def test_the_first_part_prints_what_it_shows(
    roll_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("xorriso", "make"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (tools/setup test)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{CHECKOUT}/bin", prepend=":")
    roll_site.done("add", "host", "compute-0-0")
    commands = typed(part("A roll with one command and one file on computes"))
    assert len(commands) >= 12
    for command, printed in commands:
        arguments = shlex.split(command.replace("/root/", f"{tmp_path}/"))
        if arguments[0] == "make":
            done = run_checked([*arguments, f"ROCKS={CHECKOUT}/bin/rocks"], deadline_seconds=300)
            output = done.text
        else:
            ended = roll_site.rocks(*arguments[1:])
            assert ended.status == 0, (command, ended)
            output = ended.out + ended.err
        assert output.replace(f"{tmp_path}/", "/root/") == printed, command
    assert not (tmp_path / "export/install/rolls/hello").exists()


def test_a_new_roll_names_the_program_that_the_path_lacks(
    roll_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ROCKS_LAUNCHER", "/checkout/bin/rocks")
    printed = roll_site.done("create", "new", "roll", "hello", f"dir={tmp_path}")
    assert f"make -C {tmp_path}/hello roll ROCKS=/checkout/bin/rocks\n" in printed
    assert f"{tmp_path}/hello/commands /checkout/bin/rocks list host hello\n" in printed


def test_the_file_is_in_the_profile_of_computes(roll_site: Site, tmp_path: Path) -> None:
    roll_site.done("create", "new", "roll", "hello", f"dir={tmp_path}")
    roll_site.done("create", "roll", str(tmp_path / "hello/roll-hello.xml"), f"dir={tmp_path}")
    assert roll_site.rocks("add", "roll", str(tmp_path / "hello-1.0-1.noarch.disk1.iso")).status == 0
    roll_site.done("enable", "roll", "hello")
    roll_site.done("add", "host", "compute-0-0")
    roll_site.done("set", "appliance", "attr", "compute", "hello_message", "good morning")
    profile = roll_site.done("report", "host", "profile", "compute-0-0")
    assert "message = good morning\n" in profile and "rocks_file /etc/hello.conf" in profile
    ended = roll_site.rocks("remove", "host", "compute-0-0")
    assert "the file /etc/hello.conf stays on compute-0-0, if it has one\n" in ended.err


def test_the_code_of_the_other_parts_works_as_a_roll(roll_site: Site, vm_site: Site, tmp_path: Path) -> None:
    source = tmp_path / "sources/diskcache-1.0-noarch"
    files = {
        "commands/list/host/diskcache/__init__.py": code("python", "`rocks list host diskcache`"),
        "commands/report/host/vm/config/plugin_disk_cache.py": code("python", "Sets the cache mode"),
        "commands/start/host/vm/plugin_allocate_licences.py": code("python", "Reserves a licence"),
        "nodes/diskcache.xml": code("xml", "rocks_service diskcache.service"),
        "graphs/default/diskcache.xml": code("xml", '<order head="kvm-base"'),
    }
    description = write_roll(source, "diskcache")
    for path, text in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text)
    iso = create_roll(description, tmp_path)
    assert vm_site.rocks("add", "roll", str(iso)).status == 0
    vm_site.done("enable", "roll", "diskcache")
    vm_site.done("add", "host", "vm", "vmc-0-0", "compute", "name=vm-a")
    vm_site.done("set", "host", "attr", "vm-a", "disk_cache", "none")
    vm_site.done("set", "host", "attr", "vmc-0-0", "disk_cache", "none")
    assert vm_site.done("list", "host", "diskcache", "vm-a") == "CACHE\nnone \n"
    assert "<driver name='qemu' cache=\"none\"" in vm_site.rocks("report", "host", "vm", "config", "vm-a").out
    assert "mode = none" in vm_site.done("report", "host", "profile", "vmc-0-0")
    check_python(source / "commands/start/host/vm/plugin_allocate_licences.py", "the hook")


def test_the_description_is_one() -> None:
    text = code("xml", '<roll name="hello"')
    description = read_description(text.encode(), "the guide")
    assert str(description.roll) == "hello 1.0 x86_64"
    assert [str(one) for one in description.requirements] == ["other>=1.2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Hello"], 'the name of the roll is "Hello"; it must match'),
        (["../hello"], 'the name of the roll is "../hello"'),
        (["hello", "version=1/0"], 'the version of the roll is "1/0"'),
        (["hello", "arch=X"], 'the arch of the roll is "X"'),
        (["kvm-base"], 'the node "kvm-base" is there already'),
        (["vm"], 'the command "list host vm" is there already'),
        (["hello", "dir=/nowhere"], "cannot write /nowhere/hello: No such file or directory"),
        (["there"], "there is there already; give another name, or remove it"),
        ([], "must supply one name for the roll"),
    ],
)
def test_a_new_roll_that_cannot_be(
    roll_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert message in roll_site.refused("create", "new", "roll", *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
