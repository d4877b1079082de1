"""The installer's plan of a host, as a complete text."""

from dataclasses import replace
from pathlib import Path

import pytest

from rocks.install.installation.plan import plan_installation, plan_text
from tests.golden.files import check_golden
from tests.install_plans import HOST, SOURCE

CASES = {
    "raid1": (HOST, SOURCE, "local"),
    "smallest": (replace(HOST, attributes={"install_overwrite": "yes"}), SOURCE._replace(profile=""), ""),
}


@pytest.mark.parametrize("case", CASES)
def test_plan(case: str) -> None:
    host, source, domain = CASES[case]
    check_golden(Path(__file__).parent / f"{case}.txt", plan_text(plan_installation(host, source, domain)))
