"""What a profile's script would write, read from its text."""

import re


def written_files(script: str) -> dict[str, str]:
    """Path → content of the files whose content is in the script."""
    found = re.findall(r"rocks_content <<'(.+)'\n((?s:.*?))\1\nrocks_file (\S+) ", script)
    return {path: text for _, text, path in found}
