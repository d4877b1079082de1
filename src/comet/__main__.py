"""`python3 -m comet`."""

from comet.cli.main import program

if __name__ == "__main__":
    program()
