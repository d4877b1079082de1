"""`rocks clean host storagemap`"""

import rocks.commands
from rocks.actions.image_maps import clean_map
from rocks.commands._shared.storage import words_named
from rocks.commands._shared.storage_progress import StorageProgress

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Have an image unmapped that does not get there by itself. A mapping under way is undone, an idle image is brought
    home with its changes, one that is held goes on where it stopped. Nothing is lost by that.

    Only with force=yes and a reason is what only the host has given up, for a host that will not return; the image
    is then what the NAS has. What that would lose is said first, by the command without force. The host's copy is
    never destroyed: it is set aside.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='volume'>
    The volume.
    </arg>
    <param type='string' name='nodetype'>
    vmc or nas, for scripts that cleaned one side after the other; the NAS sees to both in any case.
    </param>
    <param type='bool' name='force'>
    yes: give up what only the host has.
    </param>
    <param type='string' name='reason'>
    Why; the NAS keeps it.
    </param>

    <example cmd='clean host storagemap nas-0-0 vm-vc1-0-vol'>
    Get an image out of a state that lasts.
    </example>
    <example cmd='clean host storagemap nas-0-0 vm-vc1-0-vol force=yes reason="disks of vm-container-0-0 broken"'>
    Its host will never return.
    </example>

    <related>remove host storagemap</related>
    <related>list host storagemap</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Clean up and say what was done."""
        nas, volume = words_named(self, ("nas", "volume"))
        node_type, reason = self.fillParams([("nodetype", ""), ("reason", "")])
        force = self.fillFlag("force")
        if force is not bool(reason.strip()):
            self.abort('force=yes and reason="…" go together: say why what only the host has may be lost')
        with StorageProgress(self) as progress:
            done = clean_map(self.db, nas, volume, node_type, reason if force else None, progress)
        self.addText(f"{done}\nSuccess\n")
