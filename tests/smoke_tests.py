"""The smoke tests: what `make test` runs of the tests with whole machines, image daemons and the demo.

All other tests in these folders get the marker `slow`, and run in `make test-all` only: each starts its own guests,
daemons or sites, and takes seconds of processor time.
"""

SMOKE_TESTS: dict[str, tuple[str, ...]] = {
    "tests/system/vms/": (
        "test_start_stop.py::test_a_machine_is_started_listed_and_stopped",
        "test_start_stop.py::test_a_cluster_starts_and_stops_as_one_on_local_vlans",
        "test_lease.py::test_two_starts_at_the_same_moment_on_two_hosts_give_one_domain",
        "test_lease.py::test_by_force_it_moves_and_the_old_domain_is_gone_at_the_first_contact",
        "test_start_stop.py::test_an_agent_that_dies_leaves_a_start_that_can_be_finished",
        "test_drains.py::test_machines_leave_while_they_run_and_the_others_by_a_stop",
        "test_consoles.py::test_a_program_gets_the_serial_line",
        "test_dry_run.py::test_starts_and_stops_are_printed_and_not_done",
        "test_snapshots.py::test_a_running_machine_is_copied_and_restored",
    ),
    "tests/system/imgstorage/": (
        "test_image_life.py::",
        "stream/test_transfer.py::",
        "stream/test_connections.py::",
        "test_import.py::",
        "test_storage_refusals.py::",
        "test_storage_vms.py::test_a_start_maps_the_image_and_the_disk_is_its_device",
        "test_storage_vms.py::test_a_machine_gets_all_of_its_images_or_none",
        "test_storage_vms.py::test_the_lease_token_travels",
        "test_storage_vms.py::test_the_image_of_a_running_machine_stays_mapped",
        "test_storage_commands.py::test_changes_are_written_back_on_request",
        "test_storage_commands.py::test_a_destroyed_image_is_gone",
        "test_storage_commands.py::test_snapshots_are_listed_and_restored",
    ),
    "tests/system/lab/": (
        "test_demo.py::test_the_demo_ends_with_a_guest_that_reports_its_name",
        "test_bin_rocks.py::",
        "test_machine.py::",
        "test_processes.py::",
        "test_taps.py::",
        "test_setup.py::",
    ),
}
"""Folder → prefixes of the node ids that `make test` runs."""


def is_slow(node_id: str) -> bool:
    """Whether a test is in one of the folders, and not one of its smoke tests."""
    return any(
        node_id.startswith(folder) and not node_id.removeprefix(folder).startswith(tests)
        for folder, tests in SMOKE_TESTS.items()
    )
