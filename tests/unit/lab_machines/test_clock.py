"""The measured frequency of the time stamp counter."""

import re
from pathlib import Path

import pytest

from lab.machines.clock import counter_khz


def test_two_measurements_agree() -> None:
    """Within a hundredth, up to which the kernel of a machine corrects it by itself."""
    first, second = counter_khz(), counter_khz()
    assert abs(first - second) < first / 100


def test_it_is_what_the_kernel_says() -> None:
    """In /proc/cpuinfo, on machines where a processor's frequency is that of its counter."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    listed = [float(mhz) * 1000 for mhz in re.findall(r"^cpu MHz\s*: ([0-9.]+)$", text, re.MULTILINE)]
    if not listed or "aperfmperf" in text or Path("/sys/devices/system/cpu/cpufreq/policy0").exists():
        pytest.skip("the processors here change their frequency, or do not state it")
    assert abs(counter_khz() - listed[0]) < listed[0] / 100
