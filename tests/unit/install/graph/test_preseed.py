"""Preseed files: answers that debconf's own tool accepts, and what Debian's installer cannot do."""

import base64
import gzip
import random
import re
import subprocess  # noqa: TID251 - a command is executed by the shell that it is for
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocks.core.errors import StateError
from rocks.install.graph.kickstart import kickstart_file
from rocks.install.graph.preseed import preseed_file
from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import FirstBootFiles
from rocks.install.graph.tags import read_node
from tests.unit.docs.pages import CHECKOUT
from tests.unit.install.graph.hosts import context
from tests.unit.install.graph.installers import RELEASES, check_preseed, read_kickstart
from tests.unit.install.graph.test_kickstart import MAIN

CLEAR = "<clearpart>--all --drives=vda</clearpart>"

FILES = FirstBootFiles("", "")


def preseed(body: str, script: str = "echo done\n") -> str:
    node = read_node("n", "n.xml", f"<kickstart>{body}</kickstart>".encode(), context())
    return preseed_file(Profile("h1", (node,)), script, FILES)


def recipe(body: str, folder: Path) -> str:
    return check_preseed(preseed(f"<main>{CLEAR}{body}</main>"), folder)["partman-auto/expert_recipe"][1]


def test_the_lines_of_main_are_answers(tmp_path: Path) -> None:
    found = check_preseed(preseed(MAIN + "<package>b</package><package>a</package>"), tmp_path)
    found = {name: answer for name, answer in found.items() if name != "preseed/late_command"}
    assert found == {
        "debian-installer/locale": ("string", "en_US.UTF-8"),
        "keyboard-configuration/xkb-keymap": ("select", "us"),
        "time/zone": ("string", "Europe/Berlin"),
        "clock-setup/utc": ("boolean", "true"),
        "clock-setup/ntp": ("boolean", "true"),
        "passwd/make-user": ("boolean", "false"),
        "passwd/root-password-crypted": ("password", "$6$salt$hash"),
        "mirror/country": ("string", "manual"),
        "mirror/protocol": ("select", "http"),
        "mirror/http/hostname": ("string", "10.1.1.1"),
        "mirror/http/directory": ("string", "/install/rhel"),
        "mirror/http/proxy": ("string", ""),
        "netcfg/hostname": ("string", "h1"),
        "netcfg/choose_interface": ("select", "eth0"),
        "grub-installer/only_debian": ("boolean", "true"),
        "debian-installer/add-kernel-opts": ("string", "console=ttyS0"),
        "finish-install/reboot_in_progress": ("note", ""),
        "partman-auto/disk": ("string", "/dev/sda"),
        "partman-auto/method": ("string", "regular"),
        "partman-auto/expert_recipe": (
            "string",
            "rocks :: 8389 9389 -1 ext4 method{ format } format{ } use_filesystem{ } filesystem{ ext4 } "
            "mountpoint{ / } . 2098 3098 2098 linux-swap method{ swap } format{ } .",
        ),
        "partman-auto/choose_recipe": ("select", "rocks"),
        "partman-lvm/device_remove_lvm": ("boolean", "true"),
        "partman-md/device_remove_md": ("boolean", "true"),
        "partman-partitioning/confirm_write_new_label": ("boolean", "true"),
        "partman/choose_partition": ("select", "finish"),
        "partman/confirm": ("boolean", "true"),
        "partman/confirm_nooverwrite": ("boolean", "true"),
        "pkgsel/run_tasksel": ("boolean", "false"),
        "pkgsel/include": ("string", "a b"),
    }


def test_other_answers(tmp_path: Path) -> None:
    body = (
        "<main><network>--ip=10.1.1.2 --netmask 255.255.0.0 --nameserver=10.1.1.1,10.1.1.3</network>"
        "<rootpw>--lock</rootpw><poweroff/><keyboard>--xlayouts=de</keyboard>"
        f"{CLEAR}<autopart>--type=plain</autopart><bootloader>--boot-drive=vda</bootloader></main>"
    )
    found = check_preseed(preseed(body), tmp_path)
    assert found["netcfg/get_gateway"] == ("string", "none")
    assert found["netcfg/get_nameservers"] == ("string", "10.1.1.1 10.1.1.3")
    assert found["passwd/root-password-crypted"] == ("password", "*"), (
        "the installer takes ! for no answer, and asks"
    )
    assert found["debian-installer/exit/poweroff"] == ("boolean", "true")
    assert found["keyboard-configuration/xkb-keymap"] == ("select", "de")
    assert found["partman-auto/choose_recipe"] == ("select", "atomic")
    assert found["grub-installer/bootdev"] == ("string", "/dev/vda")


def test_partitions(tmp_path: Path) -> None:
    body = (
        "<part>biosboot --size=1</part><part>/boot/efi --fstype=efi --size=200</part>"
        "<part>/var --fstype xfs --size=100 --grow --maxsize=200 --asprimary --label=var</part>"
        "<part>swap --recommended</part>"
    )
    assert recipe(body, tmp_path) == (
        "rocks :: 2 1002 2 free $bios_boot{ } method{ biosgrub } . 210 1210 210 free $iflabel{ gpt } method{ efi } "
        "format{ } . 105 1105 210 xfs $primary{ } label{ var } method{ format } format{ } use_filesystem{ } "
        "filesystem{ xfs } mountpoint{ /var } . 100% 512 200% linux-swap method{ swap } format{ } ."
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "\n<services>--enabled=x</services>",
            "n.xml, line 2: Debian's installer has nothing for services; limit",
        ),
        ("<pots/>", "Debian's installer has nothing for pots"),
        ("<lang/>", "<lang> needs exactly one value"),
        ("<lang>a b</lang>", "<lang> needs exactly one value"),
        ("<lang>'a</lang>", "the text of <lang> has an open quote"),
        ("<lang>en --addsupport=de</lang>", "nothing for --addsupport of lang"),
        ("<selinux>--enforcing</selinux>", "nothing for selinux other than --disabled"),
        ("<firewall>--enabled --ssh</firewall>", "nothing for firewall other than --disabled"),
        ("<url>--mirrorlist=http://x</url>", "nothing for --mirrorlist of url"),
        ("<url/>", "<url> needs --url="),
        ("<url>--url=ftp://x/y</url>", "a mirror that is not http://HOST/FOLDER"),
        (
            "\n<url>--url=http://[x/y</url>",
            "n.xml, line 2: Debian's installer has nothing for a mirror that is not",
        ),
        ("<network>--bootproto=bootp</network>", "nothing for the protocol bootp"),
        ("<network>--bootproto=static --ip=10.1.1.2</network>", "<network> needs --netmask="),
        (
            "<network>--device=a</network>\n<network>--device=b</network>",
            "line 2: Debian's installer has nothing",
        ),
        ("<bootloader>--location=partition</bootloader>", "a boot loader in partition"),
        ("<bootloader>--append='x\\'</bootloader>", "cannot be an answer for Debian's installer"),
        ("<part>/ --size=1</part>", "nothing for partitions without clearpart --all"),
        ("<clearpart>--linux</clearpart>", "nothing for --linux of clearpart"),
        ("<clearpart>--initlabel</clearpart>", "clearpart without --all"),
        (CLEAR, "clearpart without part or autopart"),
        ("<clearpart>--all</clearpart><part>/ --size=1</part>", "must know which disk it erases"),
        (
            f"{CLEAR}\n<part>/ --size=1 --ondisk=vdb</part>",
            "line 2: Debian's installer has nothing for a second disk",
        ),
        ("<clearpart>--all --drives=../x</clearpart><autopart/>", "/dev/../x is not a disk"),
        (f"{CLEAR}<autopart/><part>/ --size=1</part>", "<part> and <autopart> exclude each other"),
        (f"{CLEAR}<autopart>--type=lvm</autopart>", "nothing for autopart --type=lvm"),
        (f"{CLEAR}<part>pv.01 --size=1</part>", "nothing for a partition for pv.01"),
        (f"{CLEAR}<part>/ --size=1 --fstype=zfs</part>", "nothing for the file system zfs"),
        (f"{CLEAR}<part>/ --size=many</part>", "--size is a number of MiB, not 'many'"),
        (f"{CLEAR}<part>/</part>", "<part> needs --size="),
        (f"{CLEAR}<part>/ --recommended</part>", "nothing for --recommended of part"),
        (f"{CLEAR}<part>'/ .  x' --size=1</part>", "nothing for a partition for"),
        (f"{CLEAR}<part>/ --size=1 --label='a ; b'</part>", "is not a label"),
    ],
)
def test_a_line_without_a_counterpart_is_named(body: str, message: str) -> None:
    with pytest.raises(StateError) as caught:
        preseed(f"<main>{body}</main>")
    assert message in str(caught.value)
    assert str(caught.value).startswith("n.xml, line ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("\n<pre>echo</pre>", "n.xml, line 2: Debian's installer has no bash"),
        ('<pre interpreter="/bin/sh"><file name="/f"/></pre>', "and no file"),
        (
            '\n<post arg="--nochroot">echo</post>',
            "n.xml, line 2: Debian's installer has no sections --nochroot",
        ),
        (
            '\n<package type="meta">x</package>',
            "n.xml, line 2: x is a group of packages, and Debian has no groups",
        ),
    ],
)
def test_sections_that_it_cannot_execute_are_named(body: str, message: str) -> None:
    with pytest.raises(StateError) as caught:
        preseed(body)
    assert message in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=60))
def test_any_text_of_an_early_section_reaches_its_shell(text: str) -> None:
    from xml.sax.saxutils import escape

    body = f"<pre interpreter=\"/bin/sh\">echo \\\\ '%s'\n{escape(text)}\nx</pre>"
    (line,) = [line for line in preseed(body).splitlines() if "early_command" in line]
    command = line.removeprefix("d-i preseed/early_command string ")
    printed = re.fullmatch(r"(printf %b .*) >/tmp/rocks-pre-1 && sh /tmp/rocks-pre-1", command)
    assert printed
    ended = subprocess.run(["/bin/sh", "-c", printed[1]], capture_output=True, timeout=120, check=True)
    assert ended.stdout.decode() == f"echo \\\\ '%s'\n{text}\nx\n".replace(
        f"\n{text}\nx", f"\n{text}\nx".rstrip()
    )


def test_the_script_is_in_the_late_command_and_the_same_each_time() -> None:
    text = preseed("", "echo 'x'\n")
    assert preseed("", "echo 'x'\n") == text
    (line,) = [line for line in text.splitlines() if "late_command" in line]
    found = re.fullmatch(r"d-i \S+ string printf %s (\S+) \| chroot /target /bin/sh -c '(.*)'", line)
    assert found
    assert found[2] == "base64 -d | gzip -dc | /bin/sh"
    assert "echo 'x'\nROCKS-END-1\n" in gzip.decompress(base64.b64decode(found[1])).decode()


def test_a_script_that_is_too_long_is_an_error_and_no_cut_off_file() -> None:
    script = random.Random(1).randbytes(100_000).hex()
    with pytest.raises(StateError, match="the late command of host h1 has .* takes 120000: put long files"):
        preseed("", script)


def test_the_lines_of_the_page_are_valid_for_both_installers(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs/guide/installing-hosts.md").read_text("utf-8")
    (body,) = re.findall(r"```xml\n(<kickstart>\n  <main>.*?)```", page, re.DOTALL)
    for packaging in ("rpm", "deb"):
        node = read_node("n", "n.xml", body.encode(), context(packaging=packaging))
        profile = Profile("h1", (node,))
        if packaging == "rpm":
            for release in RELEASES:
                found = read_kickstart(kickstart_file(profile, "", "", FILES), release).handler
                assert found.url.url == "http://10.1.1.1/install/rhel9"
                assert found.timezone.timezone == "Europe/Berlin"
        else:
            answers = check_preseed(preseed_file(profile, "", FILES), tmp_path)
            assert answers["mirror/http/hostname"] == ("string", "10.1.1.1")
            assert answers["time/zone"] == ("string", "Europe/Berlin")
