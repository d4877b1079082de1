"""The documents' numbers: the page of them, and the program that measures on hardware."""

import os
from pathlib import Path

import pytest

from bench import page, paper
from rocks.core.errors import UserError
from rocks.core.process import Finished, run
from tests.contract.ssh_programs import path_with, write_ssh_programs
from tests.unit.docs.pages import CHECKOUT
from tests.unit.docs.test_conformance import MAX_WORD_COUNT, documents, normalised

# The page of the documents' numbers is up to date, and its words are the documents'.


def test_the_page_is_up_to_date() -> None:
    text = (CHECKOUT / "docs" / "evidence" / "paper.md").read_text("utf-8")
    assert text.partition(page.BEGIN)[2].partition(page.END)[0].strip() == paper.printed(), (
        "run make paper INTO=docs/evidence/paper.md"
    )


def test_each_row_has_a_verdict_a_reason_and_a_short_quote() -> None:
    for number in paper.NUMBERS:
        assert number.verdict in paper.VERDICTS
        assert number.reason
        assert len(number.quote.split()) <= MAX_WORD_COUNT


def test_without_the_page_of_the_bench_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent.md"):
        paper.printed(tmp_path / "absent.md")


def test_the_page_of_the_bench_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    before = paper.BENCH_PAGE.read_bytes()
    assert paper.main([str(paper.BENCH_PAGE)]) != 0
    assert "INTO=docs/evidence/paper.md" in capsys.readouterr().err
    assert paper.BENCH_PAGE.read_bytes() == before


@pytest.mark.skipif(not os.environ.get("SEEDS"), reason="SEEDS does not name the folder with the documents")
def test_the_words_are_those_of_the_documents() -> None:
    assert [n.quote for n in paper.NUMBERS if normalised(n.quote) not in documents()[n.document]] == []


# `tools/paper-hardware` without the hardware: what it misses, and its numbers with programs that stand for it.


PROGRAM = Path(__file__).parents[3] / "tools" / "paper-hardware"
NAMES = ("host-0", "host-1", "host-2", "guest-0", "guest-1", "guest-2")


def called(folder: Path, *arguments: str) -> Finished:
    environment = {**os.environ, "PATH": path_with(folder / "ssh" / "programs")}
    return run([str(PROGRAM), *arguments], deadline_seconds=60.0, environment=environment)


def test_what_is_missing_is_named_and_nothing_is_measured(tmp_path: Path) -> None:
    write_ssh_programs(tmp_path / "ssh")
    (tmp_path / "ssh" / "away" / "guest-2").touch()
    found = called(tmp_path, str(tmp_path), *NAMES)
    assert (found.exit_status, found.text) == (2, "")
    lines = found.error_text.splitlines()
    assert f"  {tmp_path}/pw.in, the input of pw.x" in lines
    for name in NAMES[:-1]:
        assert f"  {name} lacks: the program pw.x" in lines
        assert f"  {name} lacks: an active port of InfiniBand" in lines
    assert "  host-0 lacks: virtual functions of its adapter" in lines
    assert "  guest-0 lacks: virtual functions of its adapter" not in lines
    assert "  guest-2 does not answer by SSH" in lines
    assert list((tmp_path / "ssh" / "host-0").iterdir()) == []


def test_another_number_of_machines_is_refused(tmp_path: Path) -> None:
    write_ssh_programs(tmp_path / "ssh")
    found = called(tmp_path, str(tmp_path), *NAMES[:-1])
    assert found.exit_status == 1 and "usage: tools/paper-hardware FOLDER HOST" in found.error_text


PERFTEST = """#!/bin/sh
# a server without arguments; a client prints as perftest 4.5 does, each time the next of the values in its home
[ $# -gt 0 ] || exit 0
value=$(sed -n 1p "$HOME/{name}"); sed -i 1d "$HOME/{name}"
echo " local address: LID 0x01 QPN 0x0010 PSN 0x1"
echo " #bytes #iterations    {columns}"
[ -z "$value" ] || echo " 65536 1000 {values}"
"""
MPIRUN = """#!/bin/sh
# as Quantum ESPRESSO 6.7 ends, with the next of the walltimes in its home
echo "$*" >>"$HOME/mpirun"
value=$(sed -n 1p "$HOME/espresso"); sed -i 1d "$HOME/espresso"
[ "$value" != fail ] || exit 1
[ -e pw.in ] && echo "     PWSCF        :   0m59.50s CPU   $value WALL"
"""


class Machines:
    """Six machines that have it all, of four CPUs each; SSH and the programs are played."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "ssh"
        programs = write_ssh_programs(self.root)
        port = self.root / "class" / "infiniband" / "mlx5_0" / "ports" / "1"
        port.mkdir(parents=True)
        (port / "state").write_text("4: ACTIVE\n")
        (port.parents[1] / "device").mkdir()
        (port.parents[1] / "device" / "sriov_numvfs").write_text("2\n")
        (self.root / "tcp").write_text("  0: 00000000:4853 00000000:0000 0A 00000000:00000000\n")
        ssh = programs / "ssh"
        places = f"s,/tmp/paper,paper,g; s,/sys/class,{self.root}/class,g; s,/dev/kvm,/dev/null,"
        places += f"; s,/proc/net,{self.root},"
        ssh.write_text(ssh.read_text().replace('"$*"', f'"$(printf %s "$*" | sed \'{places}\')"'))
        latency = {"columns": "t_min t_max t_typical t_avg", "values": "0.9 99 $value 1.9"}
        bandwidth = {"columns": "BW peak BW average MsgRate", "values": "9999 $value 0.09"}
        for name, text in {
            "ib_send_lat": PERFTEST.format(name="latency", **latency),
            "ib_write_bw": PERFTEST.format(name="bandwidth", **bandwidth),
            "mpirun": MPIRUN,
            "pw.x": "#!/bin/sh\n",
            "nproc": "#!/bin/sh\necho 4\n",
        }.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        (folder / "input").mkdir()
        (folder / "input" / "pw.in").touch()
        self.prepare("latency", "host-1", "1.5", "1.1", "99", "1.25", "1.2")
        self.prepare("latency", "guest-1", "1.5", "1.5", "1.0", "1.5", "9")
        self.prepare("bandwidth", "host-1", *["12000"] * 5)
        self.prepare("bandwidth", "guest-1", *["11400"] * 5)
        self.prepare("espresso", "host-0", "1m40.00s", "1m40.00s", "1m40.00s", "1h 1m", "9.00s")
        self.prepare("espresso", "guest-0", *["1m48.00s"] * 5)

    def prepare(self, number: str, machine: str, *values: str) -> None:
        """What a program prints there, one value a run."""
        (self.root / machine).mkdir(exist_ok=True)
        (self.root / machine / number).write_text("".join(f"{value}\n" for value in values))

    def measure(self) -> Finished:
        return called(self.folder, str(self.folder / "input"), *NAMES)


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


def test_medians_of_hosts_and_guests_stand_side_by_side(machines: Machines) -> None:
    found = machines.measure()
    assert (found.exit_status, found.text.splitlines()) == (
        0,
        [
            "| `near-native InfiniBand latency/bandwidth` | 1.25 us on hosts | 1.5 us in guests | +20.0 % |",
            "| `near-native InfiniBand latency/bandwidth` | 12000 MB/s on hosts | 11400 MB/s in guests | -5.0 % |",
            "| `8% slower w/ SR-IOV vs native IB` | 100 s of 12 processes on hosts "
            "| 108 s of 12 processes in guests | +8.0 % |",
        ],
    ), found.error_text
    started = (machines.root / "guest-0" / "mpirun").read_text().splitlines()
    assert (
        started
        == ["--allow-run-as-root --mca pml ucx --host guest-0:4,guest-1:4,guest-2:4 -n 12 pw.x -in pw.in"] * 5
    )
    assert all((machines.root / name / "paper-hardware" / "pw.in").exists() for name in NAMES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "machine", "values", "reason"),
    [
        ("latency", "guest-1", "1 1 1 1", "latency: not every run on guests printed its number"),
        ("bandwidth", "host-1", "1 1 1 1", "bandwidth: not every run on hosts printed its number"),
        ("espresso", "guest-0", "9s 9s fail", "pw.x on guest-0, guest-1 and guest-2 ended with an error"),
    ],
)
def test_a_run_without_its_number_is_no_result(
    machines: Machines, number: str, machine: str, values: str, reason: str
) -> None:
    machines.prepare(number, machine, *values.split())
    found = machines.measure()
    assert found.exit_status == 1 and reason in found.error_text
    assert "8% slower" not in found.text
