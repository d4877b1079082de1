"""The site of `sample_cluster`, set up once, then restored in seconds: machines, database, the frontend's folders."""

from __future__ import annotations

from lab.build.cache import files_of, key_of
from lab.machines import sample_cluster
from lab.machines.checkout import CHECKOUT
from lab.machines.frontend import Frontend
from lab.machines.lab import Lab

_TAG = "site"
_SOURCES = tuple(CHECKOUT / name for name in ("src/rocks", "lab", "nodes", "graphs"))


def ensure(lab: Lab, frontend: Frontend) -> None:
    """Have the site, as after `sample_cluster.set_up` on machines in their clean state, whatever was there.

    It is set up again when the machines' clean state, or a source that it is made by, has changed since it was saved.
    """
    folder, record = lab.folder / "saved-site", lab.folder / "saved-site-key"
    key = key_of(lab.clean_since(), files_of(*_SOURCES))
    if record.exists() and record.read_text(encoding="ascii") == key:
        lab.return_to(_TAG)
        frontend.restore(folder)
        return
    record.unlink(missing_ok=True)
    lab.return_to_clean_state()
    sample_cluster.set_up(lab, frontend)
    frontend.save(folder)
    lab.save_state(_TAG)
    record.write_text(key, encoding="ascii")
