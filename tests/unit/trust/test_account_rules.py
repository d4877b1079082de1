"""Which accounts are sent to hosts, and what becomes of a host's files."""

import pytest

from rocks.core.errors import StateError
from rocks.trust.accounts import Accounts, HostAccounts, chosen_accounts, merge_accounts, record_of_both

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

HOST = HostAccounts(
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
    new = merge_accounts(HOST, accounts())
    assert new.passwd.splitlines() == [*HOST.passwd.splitlines()[:2], *PASSWD.splitlines()[3:6], "+::::::"]
    assert new.shadow.startswith(HOST.shadow) and "alice:$y$a:19000:0:99999:7:::\n" in new.shadow
    assert new.group == HOST.group + "alice:x:1000:\nwork:x:1500:alice,bob\n"
    assert new.gshadow == (HOST.gshadow or "") + "alice:!::\nwork:!::alice,bob\n"
    assert new.record == "user alice\nuser bob\nuser open\ngroup alice\ngroup work\n"


def test_a_second_time_changes_nothing() -> None:
    once = merge_accounts(HOST, accounts())
    assert merge_accounts(once, accounts()) == once


def test_what_is_gone_here_goes_there_and_nothing_else() -> None:
    once = merge_accounts(HOST, accounts())
    assert merge_accounts(once, Accounts({}, {}, {})) == HOST
    own = HOST._replace(passwd=HOST.passwd + "alice:x:3000:3000::/:/bin/sh\n")
    assert merge_accounts(own, Accounts({}, {}, {})).passwd == own.passwd.replace(
        "+::::::\nalice:x:3000:3000::/:/bin/sh\n", "alice:x:3000:3000::/:/bin/sh\n+::::::\n"
    )


def test_a_change_is_written_in_place() -> None:
    once = merge_accounts(HOST, accounts())
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
        merge_accounts(HOST._replace(passwd=HOST.passwd + line + "\n"), accounts())


def test_an_equal_account_of_the_host_is_taken_over() -> None:
    host = HOST._replace(passwd=HOST.passwd + "alice:x:1000:1000::/:/bin/sh\n")
    new = merge_accounts(host, accounts())
    assert new.passwd.count("alice:x:1000") == 1 and "Alice,,," in new.passwd


def test_an_interrupted_change_is_recorded_with_both() -> None:
    assert (
        record_of_both("user old\ngroup g\nnonsense\nuser a:b\n", "user new\n")
        == "user new\nuser old\ngroup g\n"
    )
