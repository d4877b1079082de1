"""`rocks sync users`"""

import rocks.commands
from rocks.commands._shared.synced_files import other_hosts, show_hosts
from rocks.trust.accounts import read_own_accounts, sync_accounts


class Command(rocks.commands.Command):
    """
    Have the accounts of people on this frontend on hosts as well, with their groups, passwords (as hashes) and shells;
    those that were removed here are removed there. The way is SSH. People are those whose user and group numbers are in
    the ranges of /etc/login.defs: neither root, nor accounts and groups of the system, nor memberships in these. All
    other accounts of a host stay as they are. A host that has an account of its own with the same name or number, and
    another number or name, is left unchanged, with an error. Homes and other files are not touched: have them mounted
    from a server. Virtual machines are left out: their accounts are their owners'.

    <shared names='any-physical-hosts,dry-run'/>

    <example cmd='sync users'>
    After useradd, passwd or userdel on the frontend.
    </example>
    <example cmd='sync users compute-0-0'>
    A host that was installed anew.
    </example>

    <related>sync config</related>
    <related>sync host sharedkey</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Write the accounts, and print each host that changed."""
        accounts = read_own_accounts()
        for problem in accounts.problems:
            self.notify(problem)
        hosts = other_hosts(self, args)
        show_hosts(self, sync_accounts(self.db, hosts, accounts), "accounts written")
