"""Generated requests against the whole description: no answer that it does not have, no error of the service.

A few in `make test`; `make test-nucleus-api` tries many (NUCLEUS_API_EXAMPLES).
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from nucleus.api import authentication, credentials, operations
from nucleus.api.app import create_application
from nucleus.configuration import Configuration
from nucleus.mirror import identity
from nucleus.mirror.pool import Pool
from rocks.process import run
from tests.generated import PROFILE
from tests.system.nucleus.api.conftest import changed

EXAMPLES = int(os.environ.get("NUCLEUS_API_EXAMPLES", "1"))
PHASES = "examples,coverage,fuzzing,stateful" if EXAMPLES > 1 else "examples,fuzzing"
DEADLINE_SECONDS = 1200.0

EXCLUDED = "unsupported_method,missing_required_header,positive_data_acceptance"
"""Checks that do not hold by design: 405 of one path for several routes is tested elsewhere, and what is valid by its
shape is refused by the state of a cluster."""


def answers(application: FastAPI) -> Counter[str]:
    """HTTP status → how many answers had it."""
    found: Counter[str] = Counter()
    text = application.state.service.metrics.text({})
    for status, count in re.findall(
        r'^nucleus_requests_total{.*status="(\d+)"} ([\d.]+)$', text.decode(), re.M
    ):
        found[status] += int(float(count))
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
    monkeypatch.setattr(authentication, "_MOST_FAILURES", 1_000_000)
    monkeypatch.setattr(operations, "LONGEST_WAIT_SECONDS", 1)
    application = create_application(changed(configuration, "executor", kind="simulator"), pool)
    application.state.service.changes = authentication.Changes(1_000_000)
    for methods in application.openapi()["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)  # otherwise it sends credentials of its own, and reads 401 only
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    (tmp_path / "schemathesis.toml").write_text('[parameters]\n"path.c" = "vc2"\n"path.n" = "vm-vc2-0"\n')
    try:
        seed = ["--generation-deterministic"] if PROFILE == "fixed" else []
        finished = run(
            [
                "env", f"--chdir={tmp_path}",  # it writes into its folder
                str(Path(sys.executable).parent / "schemathesis"), "run",
                f"http://127.0.0.1:{listener.getsockname()[1]}/openapi.json",
                "--url", f"http://127.0.0.1:{listener.getsockname()[1]}",
                f"--phases={PHASES}", "--mode=all", f"--max-examples={EXAMPLES}", *seed, "--workers=1",
                "--continue-on-failure", f"--exclude-checks={EXCLUDED}", "--exclude-path=/v1/events",
                "--exclude-path=/rest-auth/logout", "--exclude-path=/v1/token/{id}",
                "--header", f"Authorization: Bearer {people[who]}", "--no-color", "--suppress-health-check=all",
            ],
            deadline_seconds=DEADLINE_SECONDS,
            environment={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        assert finished.exit_status == 0, finished.text[-20_000:] + finished.error_text
        assert " passed" in finished.text
        statuses = answers(application)
        print(finished.text, f"answers to {who}:", dict(sorted(statuses.items())))
        assert statuses["401"] < statuses.total() / 20, "it was somebody who asked"
        with pool.transaction() as session:
            found = credentials.read_token(people[who])
            assert found and identity.usable_token(session, found.id), "what revokes it is left out"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
