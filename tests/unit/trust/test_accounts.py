"""Changes of a host's accounts that are interrupted anywhere are completed by the next command."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rocks.core.errors import HostError, StateError
from rocks.fleet.host_files import FileChange
from rocks.trust.accounts import (
    Accounts,
    HostAccounts,
    account_changes,
    chosen_accounts,
    merge_accounts,
    record_of_both,
)

HOST = {
    "/etc/passwd": b"root:x:0:0::/root:/bin/sh\nlocal:x:500:500:\xff:/:/bin/sh\n",
    "/etc/shadow": b"root:*:1::::::\n",
    "/etc/group": b"root:x:0:\n",
    "/etc/gshadow": b"root:*::\n",
}
ALICE = chosen_accounts("alice:x:1000:1000::/:/bin/sh\n", "alice:$y$:1::::::\n", "alice:x:1000:\n", "")
BOTH = chosen_accounts(
    "alice:x:1000:1000::/:/bin/sh\nbob:x:1001:1000::/:/bin/sh\n",
    "bob:$y$:1::::::\n",
    "alice:x:1000:bob\n",
    "",
)
NOBODY = Accounts({}, {}, {})


def apply(files: dict[str, bytes], changes: Sequence[FileChange]) -> dict[str, bytes]:
    """The files after these changes."""
    after = dict(files)
    for change in changes:
        assert change.content is not None
        after[change.path] = change.content
    return after


def whole(files: dict[str, bytes], accounts: Accounts) -> dict[str, bytes]:
    return apply(files, account_changes(files, accounts))


def of_system(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: files[path] for path in HOST}


@pytest.mark.parametrize("before", [NOBODY, ALICE])
@pytest.mark.parametrize("meant", [ALICE, BOTH, NOBODY])
@pytest.mark.parametrize("next_one", [NOBODY, ALICE, BOTH])
def test_a_change_that_is_killed_anywhere(before: Accounts, meant: Accounts, next_one: Accounts) -> None:
    start = whole(HOST, before)
    changes = account_changes(start, meant)
    expected = whole(HOST, next_one)
    for done in range(len(changes) + 1):
        killed = apply(start, changes[:done])
        repaired = whole(killed, next_one)
        assert {path: sorted(text.splitlines()) for path, text in of_system(repaired).items()} == {
            path: sorted(text.splitlines()) for path, text in of_system(expected).items()
        }
        assert account_changes(repaired, next_one) == []


def test_a_host_without_shadow_passwords_is_named() -> None:
    with pytest.raises(HostError, match="it has no /etc/shadow"):
        account_changes({path: text for path, text in HOST.items() if path != "/etc/shadow"}, ALICE)


# Which accounts are sent to hosts, and what becomes of a host's files.


PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash
bob:x:1001:100::/home/bob:/bin/zsh
open:x:1002:1000::/home/open:/bin/sh
toor:x:1003:0::/home/toor:/bin/sh
docker:x:1004:27::/home/docker:/bin/sh
huge:x:99999999999:1000::/:/bin/sh
"""
SHADOW = "root:$y$root:1::::::\nalice:$y$a:19000:0:99999:7:::\nbob:!:1::::::\nopen::1::::::\n"
GROUP = "root:x:0:\nsudo:x:27:alice\nusers:x:100:\nalice:x:1000:\nwork:x:1500:alice,root,bob,daemon\n"
DEFINITIONS = "UID_MIN\t\t\t 1000\nUID_MAX 60000\n#GID_MIN 5\nGID_MIN 1000\n"

HOST_ACCOUNTS = HostAccounts(
    passwd="root:x:0:0:root:/root:/bin/bash\nlocal:x:2000:2000::/home/local:/bin/sh\n+::::::\n",
    shadow="root:$y$host:1::::::\nlocal:$y$l:1::::::\n",
    group="root:x:0:\nsudo:x:27:local\nlocal:x:2000:\n",
    gshadow="root:*::\nsudo:*::local\nlocal:!::\n",
    record="",
)


def accounts() -> Accounts:
    return chosen_accounts(PASSWD, SHADOW, GROUP, DEFINITIONS)


def test_only_people_and_their_groups_are_chosen() -> None:
    found = accounts()
    assert list(found.passwd) == ["alice", "bob", "open"]
    assert list(found.group) == ["alice", "work"]
    assert found.group["work"] == ("work", "x", "1500", "alice,bob")
    assert {name: fields[1] for name, fields in found.shadow.items()} == {
        "alice": "$y$a",
        "bob": "!",
        "open": "!",
    }
    assert [problem.split()[2] for problem in found.problems] == ["toor", "docker"]


def test_roots_lines_are_never_chosen_whatever_login_defs_says() -> None:
    found = chosen_accounts(PASSWD, SHADOW, GROUP, "UID_MIN 0\nGID_MIN 0\nUID_MAX 999999\n")
    assert not {"root", "daemon", "nobody"} & (found.passwd.keys() | found.group.keys())


def test_the_hosts_own_lines_stay() -> None:
    new = merge_accounts(HOST_ACCOUNTS, accounts())
    assert new.passwd.splitlines() == [
        *HOST_ACCOUNTS.passwd.splitlines()[:2],
        *PASSWD.splitlines()[3:6],
        "+::::::",
    ]
    assert new.shadow.startswith(HOST_ACCOUNTS.shadow) and "alice:$y$a:19000:0:99999:7:::\n" in new.shadow
    assert new.group == HOST_ACCOUNTS.group + "alice:x:1000:\nwork:x:1500:alice,bob\n"
    assert new.gshadow == (HOST_ACCOUNTS.gshadow or "") + "alice:!::\nwork:!::alice,bob\n"
    assert new.record == "user alice\nuser bob\nuser open\ngroup alice\ngroup work\n"


def test_a_second_time_changes_nothing() -> None:
    once = merge_accounts(HOST_ACCOUNTS, accounts())
    assert merge_accounts(once, accounts()) == once


def test_what_is_gone_here_goes_there_and_nothing_else() -> None:
    once = merge_accounts(HOST_ACCOUNTS, accounts())
    assert merge_accounts(once, Accounts({}, {}, {})) == HOST_ACCOUNTS
    own = HOST_ACCOUNTS._replace(passwd=HOST_ACCOUNTS.passwd + "alice:x:3000:3000::/:/bin/sh\n")
    assert merge_accounts(own, Accounts({}, {}, {})).passwd == own.passwd.replace(
        "+::::::\nalice:x:3000:3000::/:/bin/sh\n", "alice:x:3000:3000::/:/bin/sh\n+::::::\n"
    )


def test_a_change_is_written_in_place() -> None:
    once = merge_accounts(HOST_ACCOUNTS, accounts())
    changed = chosen_accounts(PASSWD.replace("/bin/zsh", "/bin/bash"), SHADOW, GROUP, DEFINITIONS)
    assert merge_accounts(once, changed).passwd == once.passwd.replace("/bin/zsh", "/bin/bash")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "alice:x:1005:1005::/:/bin/sh",
            "it has account alice of its own with the number 1005, which has 1000",
        ),
        ("alice:x:0:0::/:/bin/sh", "it has account alice of its own with the number 0"),
        ("else:x:1000:7::/:/bin/sh", "the number 1000 of account alice is that of its own account else"),
    ],
)
def test_an_account_in_the_way_is_an_error(line: str, message: str) -> None:
    with pytest.raises(StateError, match=message):
        merge_accounts(HOST_ACCOUNTS._replace(passwd=HOST_ACCOUNTS.passwd + line + "\n"), accounts())


def test_an_equal_account_of_the_host_is_taken_over() -> None:
    host = HOST_ACCOUNTS._replace(passwd=HOST_ACCOUNTS.passwd + "alice:x:1000:1000::/:/bin/sh\n")
    new = merge_accounts(host, accounts())
    assert new.passwd.count("alice:x:1000") == 1 and "Alice,,," in new.passwd


def test_an_interrupted_change_is_recorded_with_both() -> None:
    assert (
        record_of_both("user old\ngroup g\nnonsense\nuser a:b\n", "user new\n")
        == "user new\nuser old\ngroup g\n"
    )
