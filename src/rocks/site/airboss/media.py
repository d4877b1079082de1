"""CDs in the drives of owners' machines: ISOs that the site gives their cluster.

Which ISOs is an attribute of the cluster's frontend (`airboss_images`), resolved as any; without it none. All
of the library was refused, since some have licences or secrets of one cluster; paths of the host, as in
Rocks, because a machine could then read any file there. The refusal is the same for an image of another
cluster and for a missing one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.inventory.attributes.records import resolve_attribute
from rocks.machine.disks.cdrom import Medium, set_cdrom
from rocks.site.airboss.audit import log_call
from rocks.site.airboss.rules import IMAGES_ATTRIBUTE, given_image

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.site.airboss.audit import OwnerCall


def requested_medium(database: Database, cluster: str, image: str) -> Medium:
    """The medium that the owner of a cluster may insert; no image: none. UserError for an image that is not given."""
    if not image:
        return Medium()
    given = resolve_attribute(database, IMAGES_ATTRIBUTE, [cluster]).get(cluster, "")
    return Medium(image=given_image(cluster, image, given))


def insert_medium(
    database: Database, name: str, medium: Medium, boot: str, call: OwnerCall
) -> dict[str, object]:
    """Insert the medium from the next start of the machine; the answer: `done` and `failed`, as for its power.

    Why it failed is for operators only: the text names the image library, and attributes of wider scopes.
    """
    try:
        set_cdrom(database, name, medium, boot or None)
        database.commit()
    except RocksError as error:
        database.rollback()
        log_call(call, f"failed: {error}")
        return {"begun": [], "done": [], "failed": [name]}
    return {"begun": [], "done": [name], "failed": []}
