"""`rocks cancel host storagemap`"""

import rocks.commands
from rocks.actions.image_maps import cancel_map
from rocks.commands._shared.storage import words_named

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Undo a mapping that is under way, or have an unmap forgotten that waits for something else to end. An image that
    is on its way home goes on.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='volume'>
    The volume.
    </arg>

    <example cmd='cancel host storagemap nas-0-0 vm-vc1-0-vol'>
    Its host does not answer.
    </example>

    <related>add host storagemap</related>
    <related>remove host storagemap</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Cancel it and say so."""
        nas, volume = words_named(self, ("nas", "volume"))
        cancel_map(self.db, nas, volume)
        self.addText(f"{nas}:{volume} cancelled\nSuccess\n")
