"""Metrics for Prometheus: their text, and the alert rules and the dashboard that use them, as promtool reads them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from nucleus.api.metrics import Metrics
from rocks.core.process import run
from rocks.site.overview import SiteCounts, metrics_text, site_metrics
from rocks.site.overview_rules import ClusterLine, Concern, HostLine, ImageLine, SiteOverview

MONITORING = Path(__file__).parents[3] / "packaging/monitoring"
HOSTILE = 'h"2\\\n{} \u00fc'
SITE = SiteOverview(
    "2026-11-22 04:30:12",
    (
        HostLine("h1", "up", 8, 1.5, 16000, 1536, 3, 2, 2),
        HostLine(HOSTILE, "silent", None, None, None, None, None, None, 1),
    ),
    (ClusterLine("vc1", (2, 5), 4, 2, 1, 2),),
    (ImageLine("a-vol", "nas-0", "blocked", "h1", ""), ImageLine("b-vol", "nas-0", "NAS->VM", "h1", "")),
    (Concern("host h2", "does not answer"), Concern("image a-vol", "blocked")),
)
METRICS = site_metrics(SITE, SiteCounts(41, 1, {"running": 3, "fence": 1}), 0.25)
TEXT = metrics_text(METRICS)


def test_each_value_has_its_labels() -> None:
    lines = TEXT.splitlines()
    for line in (
        'rocks_host_up{host="h1"} 1',
        'rocks_host_up{host="h\\"2\\\\\\n{} \u00fc"} 0',
        'rocks_host_load1{host="h1"} 1.5',
        'rocks_host_vm_memory_bytes{host="h1"} 1610612736',
        'rocks_cluster_vms_unknown{cluster="vc1"} 1',
        'rocks_images_in_transfer{nas="nas-0",state="blocked"} 1',
        'rocks_problems{subject="image"} 1',
        'rocks_leases{state="fence"} 1',
        "rocks_audit_entries_total 41",
        "rocks_site_read_seconds 0.25",
    ):
        assert line in lines
    assert sum(line.startswith("rocks_host_load1") for line in lines) == 1, "a silent host has no load"


def test_each_metric_has_help_and_type_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for name in names:
        assert TEXT.count(f"# TYPE {name} ") == TEXT.count(f"# HELP {name} ") == 1


@pytest.mark.parametrize("file", ["rocks-alerts.yml", "rocks-dashboard.json"])
def test_rules_and_dashboard_use_metrics_that_there_are(file: str) -> None:
    text = (MONITORING / file).read_text()
    if file.endswith(".json"):
        text = " ".join(target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"])
    else:
        text = " ".join(re.findall(r"expr: (.*)", text))
    used = set(re.findall(r"\b(?:rocks|nucleus)_\w+", text))
    owners = set(re.findall(r"^# TYPE (\w+)", Metrics().text({}).decode(), re.MULTILINE))
    assert used and used <= {metric.name for metric in METRICS} | owners


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken = set()
    for panel in json.loads((MONITORING / "rocks-dashboard.json").read_text())["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken and x < 24, panel["title"]
                taken.add((x, y))
    assert taken


def test_promtool_accepts_metrics_and_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    checked = run([promtool, "check", "metrics"], standard_input=TEXT.encode(), deadline_seconds=60)
    assert (checked.exit_status, checked.error_text) == (0, "")
    rules = run([promtool, "check", "rules", str(MONITORING / "rocks-alerts.yml")], deadline_seconds=60)
    assert rules.exit_status == 0 and "18 rules found" in rules.text
    (tmp_path / "test.yml").write_text(
        f"rule_files: [{MONITORING / 'rocks-alerts.yml'}]\n"
        "evaluation_interval: 1m\n"
        "tests:\n"
        "  - interval: 1m\n"
        "    input_series:\n"
        "      - series: 'rocks_host_up{host=\"h1\"}'\n"
        "        values: '0x20'\n"
        "      - series: 'rocks_host_up{host=\"h2\"}'\n"
        "        values: '1x20'\n"
        "      - series: 'node_textfile_mtime_seconds{file=\"/var/lib/rocks.prom\"}'\n"
        "        values: '0x20'\n"
        "      - series: 'nucleus_alarms{kind=\"vm-on-without-job\"}'\n"
        "        values: '2x20'\n"
        "      - series: 'nucleus_alarms{kind=\"image-sync-timeout\"}'\n"
        "        values: '0x20'\n"
        "    alert_rule_test:\n"
        "      - eval_time: 10m\n"
        "        alertname: NucleusImagesNotWrittenBack\n"
        "      - eval_time: 10m\n"
        "        alertname: NucleusMachinesWithoutJob\n"
        "        exp_alerts:\n"
        "          - exp_labels: {severity: warning, kind: vm-on-without-job}\n"
        "            exp_annotations:\n"
        '              summary: "2 machines of owners are on, and no computeset has their host"\n'
        '              description: "They use hosts that nobody has given them. On the frontend: nucleus status."\n'
        "      - eval_time: 10m\n"
        "        alertname: RocksHostSilent\n"
        "        exp_alerts:\n"
        "          - exp_labels: {severity: critical, host: h1}\n"
        "            exp_annotations:\n"
        '              summary: "Host h1 does not answer, or cannot be asked"\n'
        '              description: "Its machines may still run. On the frontend: rocks list site, rocks list host vm '
        'lease."\n'
        "      - eval_time: 9m\n"
        "        alertname: RocksMetricsOld\n"
        "      - eval_time: 18m\n"
        "        alertname: RocksMetricsOld\n"
        "        exp_alerts:\n"
        "          - exp_labels: {severity: warning, file: /var/lib/rocks.prom}\n"
        "            exp_annotations:\n"
        '              summary: "The metrics of the site are older than ten minutes, and so are the other alerts"\n'
        '              description: "On the frontend: systemctl status rocks-metrics.timer rocks-metrics.service."\n'
    )
    tried = run([promtool, "test", "rules", str(tmp_path / "test.yml")], deadline_seconds=60)
    assert tried.exit_status == 0, tried.text + tried.error_text
