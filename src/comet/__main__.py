"""`python3 -m comet`."""

import sys

if __name__ == "__main__":
    try:
        from comet.cli.main import program
    except KeyboardInterrupt:  # while modules were imported: nothing was asked for
        sys.exit(130)
    program()
