"""Generated requests against the whole description: no answer that it does not have, no error of the service.

A few in `make test`; `make test-nucleus-api` tries many (NUCLEUS_API_EXAMPLES).
"""

import dataclasses
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI

from lab.simulator import Simulator
from nucleus.api import operations
from nucleus.api.access import credentials, throttles
from nucleus.api.app import create_application
from nucleus.backends.rocks import Rocks
from nucleus.configuration import Configuration, ListenSettings
from nucleus.mirror import identity
from nucleus.mirror.pool import Pool
from rocks.core.process import run
from tests.generated import PROFILE
from tests.servers import free_port
from tests.system.nucleus.api.conftest import changed
from tests.system.nucleus.api.http_client import answering
from tests.system.nucleus.api.known_objects import add_known_objects

pytestmark = pytest.mark.slow
HOOKS = Path(__file__).with_name("schema_hooks.py")
EXAMPLES = int(os.environ.get("NUCLEUS_API_EXAMPLES", "1"))
PHASES = "examples,coverage,fuzzing,stateful" if EXAMPLES > 1 else "examples,fuzzing"
DEADLINE_SECONDS = 1200.0

EXCLUDED = "unsupported_method,missing_required_header,positive_data_acceptance"
"""Checks that do not hold by design: 405 of one path for several routes is tested elsewhere, and what is valid by its
shape is refused by the state of a cluster."""

SETTINGS = """\
hooks = "{hooks}"

[[operations]]
include-path = "/v1/events"
request-timeout = 0.5

[operations.checks]
response_schema_conformance.enabled = false
"""
"""The stream of events never ends by itself, and its description has all of it as one string."""


def answers(application: FastAPI) -> dict[str, Counter[int]]:
    """Operation → HTTP status → how many answers had it; those of no operation have the empty name."""
    names = {
        (method.upper(), path): operation["operationId"]
        for path, methods in application.openapi()["paths"].items()
        for method, operation in methods.items()
    }
    found: dict[str, Counter[int]] = {name: Counter() for name in (*names.values(), "")}
    text = application.state.service.metrics.text({}).decode()
    sample = r'^nucleus_requests_total{method="(\w+)",route="([^"]*)",status="(\d+)"} ([\d.]+)$'
    for method, route, status, count in re.findall(sample, text, re.M):
        found[names.get((method, route), "")][int(status)] += int(float(count))
    return found


@pytest.mark.hypothesis
@pytest.mark.parametrize("who", ["ann", "root"] if EXAMPLES > 1 else ["ann"])
def test_no_answer_that_is_not_described(
    who: str,
    configuration: Configuration,
    pool: Pool,
    people: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for limit in ("MAX_FAILURES", "MAX_FAILURES_OF_KIND"):
        monkeypatch.setattr(throttles, limit, 1_000_000)
    monkeypatch.setattr(operations, "LONGEST_WAIT_SECONDS", 1)
    monkeypatch.setattr(Rocks, "read_screen", lambda _rocks, _name: b"\x89PNG")  # nothing simulated has one
    (tmp_path / "sealing.key").write_bytes(Fernet.generate_key())
    changes = {"signatures": True, "sealing_key_file": str(tmp_path / "sealing.key")}
    configuration = changed(configuration, "authentication", **changes)
    application = create_application(configuration, pool, Simulator())
    for rate in ("change_rate", "request_rate", "unknown_rate"):
        setattr(application.state.service, rate, throttles.Rate(rate, 1_000_000, 1_000_000))
    for methods in application.openapi()["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)  # otherwise it sends credentials of its own, and reads 401 only
    listen = ListenSettings(port=free_port())
    with pool.transaction() as session:
        requests = add_known_objects(session, who, people[who])
    (tmp_path / "known.json").write_text(json.dumps({"token": people[who], "requests": requests}))
    (tmp_path / "schemathesis.toml").write_text(SETTINGS.format(hooks=HOOKS))
    with answering(application, dataclasses.replace(configuration, listen=listen)):
        seed = ["--generation-deterministic"] if PROFILE == "fixed" else []
        finished = run(
            [
                "env", f"--chdir={tmp_path}",  # it writes into its folder
                str(Path(sys.executable).parent / "schemathesis"), "run",
                f"http://127.0.0.1:{listen.port}/openapi.json",
                "--url", f"http://127.0.0.1:{listen.port}",
                f"--phases={PHASES}", "--mode=all", f"--max-examples={EXAMPLES}", *seed, "--workers=1",
                "--continue-on-failure", f"--exclude-checks={EXCLUDED}",
                "--no-color", "--suppress-health-check=all",
            ],
            deadline_seconds=DEADLINE_SECONDS,
            environment={
                **os.environ, "HOME": str(tmp_path), "NUCLEUS_KNOWN_OBJECTS": str(tmp_path / "known.json")
            },
        )  # fmt: skip
        found = answers(application)
        table = "".join(
            f"{name or '(none)':24}{dict(sorted(one.items()))}\n" for name, one in sorted(found.items())
        )
        print(finished.text, f"answers to {who}:\n{table}")
        assert finished.exit_status == 0, finished.text[-20_000:] + finished.error_text
        assert " passed" in finished.text
        total = sum(found.values(), Counter())
        assert total[401] < total.total() / 20, "it was somebody who asked"
        without = {
            name for name, one in found.items() if name and not any(200 <= status < 400 for status in one)
        }
        assert EXAMPLES == 1 or not without, f"{sorted(without)} never did what they are for:\n{table}"
        with pool.transaction() as session:
            own = credentials.read_token(people[who])
            assert own and identity.token_use(session, own.id), "no request revoked it"
