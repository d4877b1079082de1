"""`rocks create site`"""

import sys

import rocks.commands
from rocks.core.errors import UserError
from rocks.site.creation import create_site, read_answers_file, update_database
from rocks.site.questions import PUBLIC_NAMES, QUESTIONS, read_answers


class Command(rocks.commands.Command):
    """
    Make this machine the frontend of a new site: create the cluster database, and enter the frontend, its
    networks and the attributes of the site. The answers come from a file or, on a terminal, from a person. All
    errors in them are listed at once, and nothing is entered before all are right. The same answers again
    change nothing.

    <param type='string' name='answers' default='none: you are asked' of='file'>
    File with a line NAME = VALUE for each answer; a line that begins with # is a comment. Required are
    Kickstart_PrivateHostname, Kickstart_PrivateInterface, Kickstart_PrivateAddress and
    Kickstart_PrivateNetmask; for a public network also Kickstart_PublicInterface, Kickstart_PublicAddress and
    Kickstart_PublicNetmask. Optional are Kickstart_PublicGateway, Kickstart_PublicDNSServers, and the domains
    Kickstart_PrivateDNSDomain (local unless given) and Kickstart_PublicDNSDomain (public unless given). Those
    of the installer of a frontend's medium, such as install_disk, may stand there, too.
    </param>
    <param type='bool' name='check' default='no'>
    Only check the file, for example on the machine that builds a medium: nothing is entered.
    </param>

    <example cmd='create site'>
    Ask for each value, then show them and ask for consent.
    </example>
    <example cmd='create site answers=/root/site'>
    Take the answers from a file.
    </example>

    <related>check site</related>
    <related>update database</related>
    """

    NoDryRun = "it changes no host: it enters the first records of a site"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the answers, make the database, enter the site."""
        file = self.fillText("answers")
        if file == "":
            self.abort("the path of the file with the answers is empty: give answers=FILE")
        if file is None and not self.asks:
            raise UserError(
                "there is no terminal to ask at: give answers=FILE; rocks create site help lists them"
            )
        plan = read_answers(self._ask()) if file is None else read_answers_file(file)
        if self.fillFlag("check"):
            state = "valid"
        else:
            update_database(self.db, self.notify)
            state = "entered" if create_site(self.db, plan) else "unchanged"
        self.addText(
            f"{state}: frontend {plan.frontend}, "
            f"{', '.join(f'{one.subnet} {one.ip} on {one.device}' for one in plan.interfaces)}\n"
        )
        if state == "entered":
            self.addText("rocks check site shows what is left to do\n")

    def _ask(self) -> dict[str, str]:
        """The answers of a person; UserError when the person ends them or does not consent."""
        answers: dict[str, str] = {}
        for question in QUESTIONS:
            if question.name in PUBLIC_NAMES[1:] and not answers.get(PUBLIC_NAMES[0]):
                continue
            answers[question.name] = self._answer(question.name, question.meaning, question.default)
        sys.stderr.write("".join(f"  {name} = {value}\n" for name, value in answers.items() if value))
        if self._line("Enter this site? [y/N] ").lower() not in ("y", "yes"):
            raise UserError("nothing was entered")
        return answers

    def _answer(self, name: str, meaning: str, default: str | None) -> str:
        check = next(question.check for question in QUESTIONS if question.name == name)
        may_be_empty = default is not None or name == PUBLIC_NAMES[0]
        hint = f" [{default}]" if default else " (empty: none)" if may_be_empty else ""
        while True:
            value = self._line(f"{meaning}{hint}: ") or default or ""
            if not value and may_be_empty:
                return ""
            try:
                check(value)
            except UserError as error:
                self.notify(str(error))
            else:
                return value

    def _line(self, question: str) -> str:
        sys.stderr.write(question)
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise UserError("the answers ended; nothing was entered")
        return line.strip()
