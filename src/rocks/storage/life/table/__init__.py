"""THE TABLE of an image's life: the transition of every event in every state, and the rejections with their texts.

The entries of a pair (state, event) are tried in order, and the first whose guard holds counts; those of StepDone and
StepFailed also name the step. A pair without an entry, or whose guards all fail, is rejected by `rejections`.
"""

from __future__ import annotations

from typing import Tuple, Union

from rocks.storage.life.table.blocked import BLOCK
from rocks.storage.life.table.everywhere import EVERYWHERE
from rocks.storage.life.table.mapping import LOCALISE, MAP
from rocks.storage.life.table.moves import MOVE
from rocks.storage.life.table.removal import DELETE_AND_RESTORE, GROWTH
from rocks.storage.life.table.rows import RejectionRow, Row
from rocks.storage.life.table.write_back import PULL, RETURN

TABLE: Tuple[Union[Row, RejectionRow], ...] = (
    *MAP,
    *LOCALISE,
    *PULL,
    *RETURN,
    *BLOCK,
    *DELETE_AND_RESTORE,
    *MOVE,
    *GROWTH,
    *EVERYWHERE,
)
"""Every entry that is not one of the general rejections."""
