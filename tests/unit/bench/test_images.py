"""What the figures of image storage are made of: the writer's requests, the domain of a local disk, lost figures."""

import json
from pathlib import Path

from bench import lab_part
from bench.images.boots import local_domain
from bench.images.cut_overs import CutOver, Switch, histogram, judge, longest_wait
from bench.images.figures import FIGURES

REQUESTS = [(10.0, 0.01), (10.01, 0.3), (10.31, 0.02), (10.33, 0.05), (10.38, 0.01)]


def test_the_longest_wait_is_that_of_requests_under_way_then() -> None:
    assert longest_wait(REQUESTS, 10.32, 10.34) == 0.05
    assert longest_wait(REQUESTS, 10.30, 10.34) == 0.3
    assert longest_wait(REQUESTS, 11.0, 12.0) == 0.0


def test_the_longest_of_a_phase_lies_in_it_whole() -> None:
    assert longest_wait(REQUESTS, 10.0, 10.3, whole=True) == 0.01
    assert longest_wait(REQUESTS, 10.0, 10.4, whole=True) == 0.3


class _FinishedHost:
    """The host of a cut-over that is over: the writer's times, and what its daemon has logged."""

    def __init__(self) -> None:
        self.host = self

    def read_file(self, path: str) -> bytes:
        return b"".join(b"%.6f %.6f w\n" % request for request in TIMES)

    def logged(self, machine: object, since: float) -> list[tuple[float, str]]:
        name = "INFO rocks.storage.host.devices: cut-3-vol"
        return [
            (
                105.0,
                "INFO rocks.storage.host.copies: vmpool/.seed/cut-3-vol: 64000000 bytes received in 4.00 s",
            ),
            (110.5, f"{name}-origin switched to Linear: no I/O for 12.0 ms, begun 0.500 s ago"),
            (111.5, f"{name}-snap switched to SnapshotMerge: no I/O for 30.0 ms, begun 0.400 s ago"),
            (115.0, f"{name}-snap switched to Linear: no I/O for 8.0 ms, begun 3.000 s ago"),
        ]


TIMES = [(100.0, 0.5), (101.0, 0.09), (110.0, 0.02), (111.1, 0.07), (112.0, 0.01), (114.9, 0.9)]


def test_each_switch_has_the_wait_of_its_own_moment() -> None:
    found = judge(_FinishedHost(), "cut-3-vol", 99.0)  # type: ignore[arg-type] # all of a site that it looks at
    assert [(one.kind, round(one.at, 1), one.kernel_seconds) for one in found.switches] == [
        ("A", 110.0, 0.012),
        ("B", 111.1, 0.03),
        ("C", 112.0, 0.008),
    ]
    assert [one.seen_seconds for one in found.switches] == [0.02, 0.07, 0.01]
    assert found.copy_seconds == 0.09  # the first moments are the writer's own
    assert found.rate == 16e6


def test_histogram_counts_every_stall_once() -> None:
    switches = tuple(Switch(kind, 1.0, 0.004, seen) for kind, seen in (("A", 0.005), ("B", 0.03), ("C", 2.0)))
    text = histogram([CutOver(switches, 0.15, 1e6)] * 3)
    rows = [line[44:].split("ms, ")[0].split()[:9] for line in text.splitlines()[4:-1]]
    assert [row.count("3") for row in rows] == [1] * 7
    assert rows[0].index("3") == 0  # 5 ms are not more than 5 ms
    assert rows[4].index("3") == 8  # longer than the last bound


def test_a_domain_on_a_local_disk_is_nobodys_lease() -> None:
    document = (
        "<domain type='kvm' id='3'><name>vm-vc1-0</name><uuid>1-2</uuid>"
        "<metadata><rocks:lease xmlns:rocks='urn:rocks:lease' token='7'/></metadata>"
        "<source dev='/dev/mapper/vm-vc1-0-vol-snap' index='1'/>"
        "<log file='/var/log/libvirt/qemu/1-2.console.log' append='on'/>"
        "<interface type='direct'><mac address='0a:71:00:00:00:01'/></interface></domain>"
    )
    assert local_domain(document) == (
        "<domain type='kvm'><name>bench-local</name><source dev='/dev/zvol/vmpool/bench-local' index='1'/>"
        "<log file='/var/log/libvirt/qemu/bench-local.console.log' append='on'/></domain>"
    )


def test_figures_that_were_not_come_to_say_why(tmp_path: Path) -> None:
    result = tmp_path / "result"
    result.write_text(
        json.dumps({"rows": [["R7", "space", "1.0", "<= 1.05", True, "so"]], "tables": ["a table"]}) + "\n",
        encoding="utf-8",
    )
    found = lab_part.collect(FIGURES, result, "there is no /dev/net/tun")
    assert found.tables == ("a table",)
    assert found.rows[0].verdict == "met"
    rest = [row for figure in FIGURES[1:] for row in figure.rows]
    assert [(row.number, row.what) for row in found.rows[1:]] == rest
    assert {row.how for row in found.rows[1:]} == {"not measured: there is no /dev/net/tun"}


def test_no_two_rows_of_the_figures_are_alike() -> None:
    rows = [row for figure in FIGURES for row in figure.rows]
    assert len(set(rows)) == len(rows)
