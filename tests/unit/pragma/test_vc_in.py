"""vc-in.xml: both generations are read; whatever is wrong is one error that names it."""

import pytest

from pragma._shared.executables import _file_names
from pragma._shared.vc_in import BootWait, FileDisk, VolumeDisk, read_vc_in
from rocks.core.errors import UserError
from tests.unit.pragma.samples import (
    PHASE_4,
    TALK_FILES,
    TALK_VOLUMES,
    document,
    domain,
    file_disk,
    volume_disk,
)


def read(text: str):
    return read_vc_in(text.encode(), "vc-in.xml")


def refused(text: str) -> str:
    with pytest.raises(UserError) as error:
        read(text)
    assert str(error.value).startswith("vc-in.xml")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_two_images_of_one_file_name_are_refused_for_programs():
    """Programs of a driver find images by their files' names in one folder: the second would replace the first."""
    both = read(document(domain(file_disk("a/disk.img"), 2), domain(file_disk("b/disk.img"))))
    nodes = [("frontend", both.frontend, "vc-frontend"), ("compute", both.compute, "vc-compute")]
    with pytest.raises(UserError, match="the image b/disk.img has the name of another file"):
        _file_names(nodes)
    assert _file_names([(kind, node, "vc") for kind, node, _ in nodes]) == {"disk.img": "vc"}


def test_attributes_that_nobody_knows_are_no_error():
    text = PHASE_4
    for tag in ("vc", "virtualization", "driver", "frontend", "compute", "networks", "files", "file", "part"):
        text = text.replace(f"<{tag} ", f"<{tag} note='x' ").replace(f"<{tag}>", f"<{tag} note='x'>")
    assert text.count("note='x'") > 9
    found, plain = read(text), read(PHASE_4)
    assert (found.frontend, found.compute, found.wait) == (plain.frontend, plain.compute, plain.wait)


def test_the_published_sample_of_the_first_generation():
    found = read(PHASE_4)
    assert found.frontend.disk == FileDisk("dock6-frontend.img", ("dock6-frontend.img.gz",))
    assert (found.frontend.device, found.frontend.bus) == ("hda", "ide")
    assert found.frontend.interface_count == 2
    assert (found.frontend.memory_mb, found.frontend.cpus) == (2048, 1)
    assert found.compute.disk == FileDisk("dock6-compute.img", ("dock6-compute.img.gz",))
    assert found.wait == BootWait("clock", 300)


def test_the_files_of_the_talk():
    found = read(TALK_FILES)
    assert found.frontend.disk == FileDisk("hku_biolinux_frontend.img")
    assert found.compute.disk == FileDisk("hku_biolinux_compute.img")
    assert (found.compute.device, found.compute.bus) == ("vda", "virtio")


def test_the_volumes_of_the_talk_disagree_and_the_error_names_both():
    """Scenario 3; one of file and volume is a case of `test_what_is_refused`."""
    message = refused(TALK_VOLUMES)
    assert "volume='state/hku_biolinux_compute'" in message
    assert "pool='pragma'" in message


@pytest.mark.parametrize("volume", ["hku_biolinux_compute", "pragma/hku_biolinux_compute"])
def test_a_volume_with_and_without_its_pool_is_the_same(volume):
    text = TALK_VOLUMES.replace("state/hku_biolinux_compute", volume)
    found = read(text).compute
    assert found.disk == VolumeDisk("nas-0-0", "pragma", "hku_biolinux_compute")


@pytest.mark.parametrize("kind", ["splited", "splited_gzip"])
def test_parts_keep_their_order_in_both_places(kind):
    parts = "".join(f"<part>images/d.{name}</part>" for name in "cab")
    expected = FileDisk("d.img", ("images/d.c", "images/d.a", "images/d.b"))
    below_vc = document(
        domain(file_disk("d.img")), more=f"<files><file type='{kind}' filename='d.img'>{parts}</file></files>"
    )
    below_node = document(f"<file type='{kind}'>{parts}</file>" + domain(file_disk("d.img")))
    assert read(below_vc).frontend.disk == read(below_node).frontend.disk == expected
    assert read(below_vc.replace("'d.img'", "'./d.img'")).frontend.disk == expected


def test_a_compute_without_a_disk_has_that_of_the_frontend():
    found = read(
        document(domain(file_disk("a.img", "<target dev='sda' bus='scsi'/>")), domain("", memory="1048576"))
    )
    assert found.compute.disk == FileDisk("a.img")
    assert (found.compute.device, found.compute.bus, found.compute.memory_mb) == ("sda", "scsi", 1024)


def test_unknown_elements_and_attributes_are_not_an_error():
    more = "<future a='1'><b/>text</future><x:y xmlns:x='urn:x'/>"
    found = read(
        document(more + domain(file_disk("a.img")), more=more, attributes="version='9' colour='blue'")
    )
    assert found.compute is None
    assert found.frontend.disk == FileDisk("a.img")


@pytest.mark.parametrize(
    ("unit", "number", "megabytes"),
    [("", 1048576, 1024), (" unit='GiB'", 2, 2048), (" unit='MB'", 1000, 954)],
)
def test_memory_has_the_units_of_libvirt(unit, number, megabytes):
    text = document(domain(file_disk("a.img"))).replace("<memory>2097152", f"<memory{unit}>{number}")
    assert read(text).frontend.memory_mb == megabytes


@pytest.mark.parametrize(("value", "seconds"), [("", 600), (" value='60'", 60)])
def test_a_wait_for_ssh(value, seconds):
    wait = f"<boot_dependency parent='frontend'><wait type='ssh'{value}/></boot_dependency>"
    assert read(document(domain(file_disk("a")), wait + domain(file_disk("b")))).wait == BootWait(
        "ssh", seconds
    )


@pytest.mark.parametrize(
    "dependency",
    [
        "<boot_dependency parent='compute'><wait type='clock' value='60'/></boot_dependency>",
        "<boot_dependency><wait type='clock' value='60'/></boot_dependency>",
        "<boot_dependency parent='frontend'/>",
        "<boot_dependency parent='frontend'><wait type='clock'/></boot_dependency>",
        "<boot_dependency parent='frontend'><wait type='network' value='60'/></boot_dependency>",
    ],
)
def test_a_dependency_that_is_not_known_is_ignored(dependency):
    found = read(document(domain(file_disk("a")), dependency + domain(file_disk("b"))))
    assert found.wait is None and found.compute.disk == FileDisk("b")


def test_the_checksums_of_parts():
    file = "<file type='splited_zstd'>{}</file>" + domain(file_disk("d.img"))
    parts = "<part sha256='{}'>d.1</part><part{}>d.2</part>"
    found = read(document(file.format(parts.format("A" * 64, f" sha256='{'0' * 64}'"))))
    assert found.frontend.disk == FileDisk("d.img", ("d.1", "d.2"), ("a" * 64, "0" * 64))
    for first, second in (
        ("a" * 64, ""),
        ("", ""),
        ("", f" sha256='{'a' * 64}'"),
        ("a" * 63, f" sha256='{'a' * 64}'"),
    ):
        assert "64 hexadecimal digits" in refused(document(file.format(parts.format(first, second))))


@pytest.mark.parametrize("kind", ["zstd", "qcow2"])
def test_a_packed_file_is_one_part(kind):
    file = f"<file type='{kind}'><part>d.part</part></file>" + domain(file_disk("d.img"))
    assert read(document(file)).frontend.disk == FileDisk("d.img", ("d.part",))
    assert "2 parts" in refused(document(file.replace("</part>", "</part><part>e</part>")))


GOOD = document(domain(file_disk("a.img")))
FILE = "<file type='splited' filename='a.img'>{}</file>"
DOCTYPE = "<!DOCTYPE vc [<!ENTITY x SYSTEM 'file:///etc/shadow'>]>"


def with_files(files: str) -> str:
    return document(domain(file_disk("a.img")), more=f"<files>{files}</files>")


BOMB = "<!DOCTYPE vc [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{10 * f'&{chr(97 + n)};'}'>" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "not well-formed"),
        ("<vc", "line 1, column 4"),
        ("<cluster/>", "its root element is cluster"),
        (BOMB + "]>" + GOOD.replace("template</name>", "&j;</name>"), ""),
        ("<!DOCTYPE vc SYSTEM 'http://192.0.2.1/x.dtd'>" + GOOD, "document type"),
        (DOCTYPE + GOOD.replace("a.img", "&x;"), ""),
        (DOCTYPE + GOOD.replace("<vcpu>1", "<vcpu>&x;"), "document type"),
        (300 * "<vc>" + 300 * "</vc>", ""),
        (GOOD.replace("x86_64", "aarch64"), "arch=aarch64"),
        (GOOD.replace("'kvm'/>", "'xen'/>").replace("engine='kvm'", "engine='xen'"), "engine=xen"),
        (GOOD.replace("</vc>", "<frontend/></vc>"), "it has 2 elements frontend"),
        ("<vc><virtualization engine='kvm' type='hvm' arch='x86_64'/></vc>", "it has 0 elements frontend"),
        (GOOD.replace("<frontend>", "<frontend><domain/>"), "2 elements domain"),
        (document(domain("")), "no disk with a source"),
        (document(domain(file_disk("a")), domain(volume_disk("v", "p"))), "and the other one of type volume"),
        (GOOD.replace("type='file'", "type='network'"), "of type network"),
        (document(domain(file_disk("/etc/shadow"))), "/etc/shadow"),
        (document(domain(file_disk("../a.img"))), "without .."),
        (document(domain(file_disk("a/../../b"))), "without .."),
        (document(domain(file_disk(".clusters/dock6-x/a.img"))), "hidden parts"),
        (document(domain(file_disk("a/.b.img"))), "hidden parts"),
        (with_files(FILE.format("<part>.check/a.img</part>")), "hidden parts"),
        (document(domain(file_disk("a,b"))), "commas"),
        (document(domain(file_disk(""))), "give a path"),
        (document(domain(file_disk("a&#10;b"))), "give a path"),
        (document(domain(file_disk("a\0b"))), "not well-formed"),
        (with_files(FILE.format("")), "a file has no part"),
        (with_files(FILE.format("<part>x</part><part>x</part>")), "same part twice"),
        (with_files(2 * FILE.format("<part>x</part>")), "assembled twice"),
        (with_files(FILE.format("<part>x</part>").replace("splited", "lzma")), "splited_gzip"),
        (with_files(FILE.format("<part>x</part><part>y</part>").replace("splited", "gzip")), "has 2 parts"),
        (document(domain(volume_disk("a", ""))), "no valid pool"),
        (GOOD.replace("<memory>2097152", "<memory>many"), "memory"),
    ],
)  # fmt: skip
def test_what_is_refused(text, part):
    assert part in refused(text)


@pytest.mark.parametrize("value", ["-1", "1e9", "999999", "soon", ""])
def test_a_wait_that_is_no_number_of_seconds(value):
    wait = f"<boot_dependency parent='frontend'><wait type='clock' value='{value}'/></boot_dependency>"
    assert "seconds" in refused(document(domain(file_disk("a")), wait + domain(file_disk("b"))))


def test_a_document_that_is_too_large():
    assert "more than" in refused(GOOD + "<!--" + 1024**2 * "x" + "-->")
