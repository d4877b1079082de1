"""What `rocks start host vm` imports for a machine without an image, InfiniBand or anything else that few have."""

import sys
import sysconfig
from pathlib import Path

from rocks.cli import main
from rocks.core.process import run

LIBRARIES = {
    *("asyncio", "concurrent.futures", "cryptography", "email", "getpass", "http", "logging", "paramiko"),
    *("platform", "shlex", "ssl", "string", "tempfile", "tty", "urllib.request", "uuid", "xml"),
}
OF_FEW_STARTS = {
    *(
        "rocks.commands._shared.plugin_node",
        "rocks.core.near_names",
        "rocks.core.public_keys",
        "rocks.install",
        "rocks.inventory.cluster_records",
    ),
    *("rocks.library.seed_documents", "rocks.machine.add", "rocks.machine.seeds"),
    *("rocks.leases.after_restore", "rocks.machine.live_move", "rocks.machine.placement_records"),
    "rocks.network.infiniband.partitions",
    *("rocks.network.routes", "rocks.network.sriov", "rocks.storage.client", "rocks.storage.wire"),
}
"""Of machines with an image, a partition or cores of their own; of installers; of the first start after a restore."""

PROGRAM = """
import importlib, pkgutil, sys
import rocks.cli.main, rocks.commands.start.host.vm as command
for module in pkgutil.iter_modules(command.__path__):
    importlib.import_module(f"{command.__name__}.{module.name}")
from rocks.database.connection import Database
from rocks.database.driver import _import_driver
_import_driver(by_socket=True)
print(*sys.modules)
"""


def test_a_start_imports_what_most_starts_need() -> None:
    """With its plugins and the driver of the database; not what its functions import when they are called."""
    source = Path(main.__file__).parents[2]
    paths = f"{source}:{sysconfig.get_path('purelib')}"
    ended = run([sys.executable, "-S", "-c", PROGRAM], deadline_seconds=60, environment={"PYTHONPATH": paths})
    assert ended.exit_status == 0, ended.error_text
    found = set(ended.text.split())
    assert "rocks.machine.start" in found and "pymysql" in found
    assert sorted((LIBRARIES | OF_FEW_STARTS) & found) == []
