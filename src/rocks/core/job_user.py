"""The user of Slurm whose jobs hold hosts for machines: what the hooks of hosts and the commands read."""

from pathlib import Path

from rocks.core.errors import UserError
from rocks.core.settings_file import read_settings_text

SETTINGS = Path("/etc/rocks/host-free.conf")
_USER = "nucleus"


def user_of_jobs() -> str:
    """Its name. UserError for settings that cannot be read."""
    try:
        return read_settings_text(SETTINGS.read_text("utf-8"), ("user",), str(SETTINGS)).get("user", _USER)
    except FileNotFoundError:
        return _USER
    except (OSError, ValueError) as error:
        raise UserError(f"the user of Nucleus is not known: {error}") from None
