"""Entry point of `python3 -m rocks.agent` and of the agent's archive."""

from __future__ import annotations

import sys

from rocks.agent.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
