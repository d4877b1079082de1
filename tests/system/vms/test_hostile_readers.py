"""A local user who may only read the database attacks it while virtual machines are started and stopped."""

import os
from collections.abc import Callable

import pymysql  # noqa: TID251 - a reader does not use `Database`

from rocks.database.settings import Settings
from tests.system.database.test_hostile_readers import LONG, Attacker, hold_all, occupy
from tests.system.vms.site import ThreeMachines

LONG_STATEMENTS = 4


def burden(connect: Callable[[], pymysql.Connection], writing: int) -> None:
    """Statements of hours, several at once and without limit; each again when it is ended."""
    for _ in range(LONG_STATEMENTS - 1):
        if os.fork() == 0:
            break
    os.write(writing, b"ready")
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            cursor = connect().cursor()
            cursor.execute("SET SESSION max_statement_time = 0")
            cursor.execute(LONG)
        except pymysql.err.MySQLError:
            continue


def test_machines_start_and_stop_under_all_attacks_at_once(site: ThreeMachines) -> None:
    names = [site.add_vm("attacked-0", "vmh1"), site.add_vm("attacked-1", "head")]
    socket = site.machines["head"].outside("/var/opt/rocks/mysql/mysql.sock")
    settings = Settings(str(socket), "localhost", 3306, "root", "", "cluster")
    attackers: list[Attacker] = []
    try:
        for attack in (hold_all, occupy, burden):
            attackers.append(Attacker(settings, attack))
            assert attackers[-1].ready, attack
        site.done("start host vm " + " ".join(names))
        assert [site.running(name) for name in names] == [["vmh1"], ["head"]]
        site.done("stop host vm " + " ".join(names))
        assert [site.lease(name)[1] for name in names] == ["released", "released"]
        assert [site.running(name) for name in names] == [[], []]
    finally:
        for attacker in attackers:
            attacker.end()
