"""An interface that asks for a virtual function, on hosts whose adapters have none: refused, and nothing is left."""

from __future__ import annotations

from tests.system.vms.site import ThreeMachines


def test_no_function_no_start(site: ThreeMachines) -> None:
    vm = site.add_vm("fast", "vmh1")
    ((mac,),) = site.sql("SELECT i.MAC FROM networks i JOIN nodes n ON n.ID = i.Node WHERE n.Name = 'fast'")
    site.done(f"set host interface options {vm} {mac} sriov")
    device = site.bridges["vmh1"]

    error = site.refused(f"start host vm {vm}")
    assert (
        f"asks for a virtual function of {device} on vmh1, which has none; set their number (rocks set host sriov vmh1"
        in error
    )
    assert site.lease(vm)[1] == "released"

    site.done(f"set host sriov vmh1 {device} 2")
    error = site.refused(f"start host vm {vm}")
    assert f"the adapter {device} of this host has no virtual functions" in error
    assert site.running(vm) == [] and site.domains("vmh1") == []
    assert site.lease(vm)[1] == "released"
    assert site.sql("SELECT * FROM sriov_leases") == []
    assert "absent" in site.done("list host sriov vmh1 status=yes")
    assert f"the adapter {device} of this host has no virtual functions" in site.refused(
        "sync host sriov vmh1"
    )

    site.done(f"set host interface options {vm} {mac} NULL")
    site.done(f"start host vm {vm}")
    assert site.running(vm) == ["vmh1"]
