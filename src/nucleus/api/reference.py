"""`python -m nucleus.api.reference FILE`: writes the description of the interface, as the code has it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from nucleus.api.app import create_application
from nucleus.configuration import Configuration
from nucleus.mirror.pool import Pool


def description() -> dict[str, Any]:
    """OpenAPI of the application; no database is needed."""
    configuration = Configuration()
    return create_application(configuration, Pool(configuration.database)).openapi()


def reference_text() -> str:
    """What the file has."""
    return json.dumps(description(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference_text(), "utf-8")
