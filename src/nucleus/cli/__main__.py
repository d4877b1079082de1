"""`python3 -m nucleus.cli`, and the entry point that pyproject.toml names."""

import sys


def program() -> int:
    """`main` with the arguments of this process. An interrupt while its modules are imported prints no traceback."""
    try:
        from nucleus.cli.main import main

        return main(sys.argv[1:])
    except KeyboardInterrupt:  # no command has begun
        return 130


if __name__ == "__main__":
    sys.exit(program())
