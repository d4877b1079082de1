"""Which commands the demo needs to say."""

from lab.demos.plan import CLUSTER, FRONTEND, Described, FrontendFacts, site_commands

MACHINE = FrontendFacts(
    2, "rockspriv0", "rockspub0", has_vlans=True, has_filters=True, image_folder="/images"
)


def command_lines(machine: FrontendFacts, described: Described) -> list[str]:
    return [" ".join(arguments) for arguments in site_commands(machine, described)]


def test_an_empty_database_gets_all_commands_in_a_valid_order() -> None:
    lines = command_lines(MACHINE, Described())
    order = ["add network private", "add host head", "add host interface head rockspriv0", "add cluster"]
    places = [next(at for at, line in enumerate(lines) if line.startswith(word)) for word in order]
    assert places == sorted(places)
    assert "add cluster 203.0.113.9 2 fe-name=vc1 cluster-naming=true" in lines
    serving = [line.split()[2] for line in lines if line.startswith("add network") and "servedns=yes" in line]
    assert serving == ["private"], "as rocks create site has it"
    assert "set host interface options head rockspriv0 novtap" in lines
    assert f"add host {FRONTEND} membership=Frontend rack=0 rank=0 cpus=2" in lines


def test_only_a_kernel_without_vlans_gets_the_attribute() -> None:
    line = "set host attr head vlan_transport local"
    assert line not in command_lines(MACHINE, Described())
    assert line in command_lines(MACHINE._replace(has_vlans=False), Described())


def test_only_a_kernel_without_packet_filters_gets_the_attribute() -> None:
    line = "set host attr head vm_filter off"
    assert line not in command_lines(MACHINE, Described())
    assert line in command_lines(MACHINE._replace(has_filters=False), Described())


def test_existing_rows_are_not_added_again() -> None:
    first = site_commands(MACHINE, Described())
    described = Described(
        networks=frozenset({"private", "public"}),
        hosts=frozenset({FRONTEND, CLUSTER}),
        frontend_interfaces=frozenset({"rockspriv0", "rockspub0"}),
        attributes={arguments[2]: arguments[3] for arguments in first if arguments[:2] == ("set", "attr")},
        frontend_attributes={"kvm": "true"},
    )
    assert site_commands(MACHINE, described) == []


def test_an_interrupted_site_gets_the_remaining_commands() -> None:
    described = Described(networks=frozenset({"private"}), hosts=frozenset({FRONTEND}))
    lines = command_lines(MACHINE, described)
    assert not any(line.startswith(("add network private", "add host head ")) for line in lines)
    assert any(line.startswith("add network public") for line in lines)
