"""`nucleus check slurm`: what Slurm's configuration lacks for computesets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.backends.slurm_settings import missing_settings, read_settings
from nucleus.cli.administration import session_of
from nucleus.mirror import identity
from rocks.core.errors import UserError

if TYPE_CHECKING:
    import argparse

    from nucleus.configuration import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is checked."""
    parser.add_argument("what", choices=("slurm",), help="the configuration of Slurm")


def run(_: argparse.Namespace, configuration: Configuration) -> int:
    """Print each missing setting; 1 when there is one. UserError on a site without Slurm."""
    batch = configuration.batch
    if batch.kind != "slurm":
        raise UserError(
            'computesets run on a list of hosts here; set kind = "slurm" in [batch] of the settings first'
        )
    with session_of(configuration) as session:
        allocations = [name for name, _ in identity.list_allocations(session)]
    grace_seconds = configuration.computesets.grace_seconds
    missing = missing_settings(read_settings(batch), batch, allocations, grace_seconds)
    for line in missing:
        print(f"missing: {line}")
    if not missing:
        print(
            f"Slurm has what computesets need; partition {batch.partition}, allocations: {len(allocations)}"
        )
    return 1 if missing else 0
