"""`rocks load dump`"""

import rocks.commands
from rocks.commands._shared.dump_replay import Replay
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED, StateError
from rocks.inventory.host_records import find_local_host
from rocks.site.dump_loading import PROGRAM, read_dump_file, read_lines, write_files_of


class Command(rocks.commands.Command):
    """
    Take over the site of a Rocks 6.2 or 7 frontend, or of this system, from the output of its command rocks dump. No
    shell runs: each line is read as data and done by the command of this system, all in one transaction. A line that is
    not taken over is listed with the reason, and the exit status is 3; all other lines are taken over. What is the same
    here already is only counted, so the command can be repeated. Nothing is removed. A record that has another value
    here keeps it, unless it is that of every new site, and the reason names both values. A host that was renamed since
    the dump is left out whole.

    <arg type='string' name='file' of='file'>
    File with the output of rocks dump.
    </arg>
    <param type='bool' name='dry-run' default='no'>
    yes: list what would not be taken over, and change nothing.
    </param>

    <example cmd='load dump /root/site.dump dry-run=yes'>
    List the lines that would not be taken over.
    </example>
    <example cmd='load dump /root/site.dump'>
    Take over the others.
    </example>

    <related>dump</related>
    <related>create site</related>
    <related>sync config</related>
    """

    HandlesDryRun = True
    AdviceAfterInterrupt = "nothing was taken over"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the file, take over its lines, list the others."""
        if len(args) != 1 or not args[0]:
            self.abort("must supply one file")
        lines = list(read_lines(read_dump_file(args[0])))
        if not any(line.texts and line.texts[0].rpartition("/")[2] == PROGRAM for line in lines):
            self.abort("the file has no line of a dump: on the old frontend, rocks dump > FILE")
        local = find_local_host(self.db)
        if local is None:
            raise StateError(
                "the cluster database does not have this machine, which localhost in a dump means: rocks create site"
            )
        replay = Replay(self, local)
        replay.run(lines)
        only_tried = self.fillFlag("dry-run")
        if only_tried:
            self.db.rollback()
        elif replay.taken:
            write_files_of(self.db, self.getHostnames())
        self._report(replay, only_tried)

    def _report(self, replay: Replay, only_tried: bool) -> None:
        self.exit_status = EXIT_SOME_HOSTS_FAILED if replay.left_out else 0
        self.addTable(("line", "command", "not taken over because"), replay.left_out, trimOwner=False)
        for sentence in replay.replaced:
            self.notify(sentence)
        done = "would be taken over" if only_tried else "taken over"
        self.notify(
            f"{replay.taken} line{'s' * (replay.taken != 1)} {done}, {replay.already} are so already, "
            f"{len(replay.left_out)} left out"
        )
        if replay.taken and not only_tried:
            self.notify("next: rocks sync config, and rocks check site")
