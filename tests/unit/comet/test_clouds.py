"""`cm` with clouds: its files, what it refuses before a cloud is asked, and Comet as one of the clouds."""

import contextlib
import json
import subprocess  # noqa: TID251 - the program is started as its users start it
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from comet.client.errors import UsageError
from comet.clouds import answers, providers
from comet.clouds.settings import load, set_defaults
from tests.nucleus_server import NucleusServer
from tests.servers import answering
from tests.unit.comet.conftest import Comet, sent

SOURCE = Path(__file__).resolve().parents[3] / "src"
SECRET = "s3cret"
PASSWORD = 'a"b\\c-ö'
Proxy = Callable[[Callable[[BaseHTTPRequestHandler], None]], None]
AWS = f'[clouds.aws]\nprovider = "ec2"\nuser = "AKIA1"\nsecret = "{SECRET}"\n'


@pytest.fixture
def cm(comet: Comet) -> Comet:
    """The program under its other name."""
    comet.patch.setattr(sys, "argv", ["/usr/bin/cm"])
    return comet


@pytest.fixture
def clouds(configured: Path) -> Path:
    path = configured.with_name("clouds.toml")
    path.write_text(AWS)
    path.chmod(0o600)
    return path


def test_a_file_that_others_may_read_is_refused(cm: Comet, clouds: Path) -> None:
    clouds.chmod(0o640)
    ended = cm("cloud", "list")
    assert (ended.status, ended.out) == (2, "")
    assert f"chmod 600 {clouds}" in ended.err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (AWS + "x", "is not TOML"),
        (AWS.replace("ec2", "vmware"), "provider is 'vmware', not ec2 or openstack"),
        (AWS.replace('user = "AKIA1"', ""), "has no user"),
        (AWS + "password = 'x'", "has the unknown key 'password'"),
        (AWS + "region = 7", "'region' of [clouds.aws] is not text in quotes"),
        (AWS.replace("ec2", "openstack"), "has no url"),
        (AWS.replace("clouds.aws", "clouds.comet"), "give this one another name"),
        (AWS.replace("clouds.aws", "clouds.'a b'"), "is not a name"),
        ("clouds = 7", "'clouds' is not a table"),
        ("[clouds]\naws = 7", "'aws' of [clouds.aws] is not text"),
    ],
)
def test_a_file_that_is_wrong_is_named_without_its_secret(
    cm: Comet, clouds: Path, text: str, problem: str
) -> None:
    clouds.write_text(text)
    ended = cm("cloud", "list")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(str(clouds)) and problem in ended.err
    assert SECRET not in ended.err


def test_a_password_is_not_sent_unencrypted(cm: Comet, clouds: Path) -> None:
    clouds.write_text(AWS + 'url = "http://cloud.example.org"')
    ended = cm("vm", "list", "--cloud=aws")
    assert ended.status == 2 and "use https" in ended.err


def test_the_list_of_clouds_has_no_keys(cm: Comet, clouds: Path) -> None:
    ended = cm("cloud", "list", "--format=csv")
    assert ended.out.splitlines()[1:] == ["yes,comet,comet,,", "no,aws,ec2,,"]


def test_defaults_are_of_each_cloud(cm: Comet, clouds: Path) -> None:
    assert cm("default", "image=x").status == 2  # of Comet
    assert cm("default", "cloud=aws", "image=debian").status == 0
    assert cm("default", "flavor=small", "hpc=").status == 0
    assert "| image  | debian |" in cm("default").out
    assert load().defaults == {"": {"cloud": "aws"}, "aws": {"image": "debian", "flavor": "small"}}
    assert cm("default", "image=").status == 0
    assert cm("default", "cloud=").status == 0
    assert load().defaults == {"": {}, "aws": {"flavor": "small"}}
    assert clouds.read_text() == AWS
    with pytest.raises(UsageError, match="no user's name"):
        set_defaults(load(), {"cloud": "aws", "login": "-oProxyCommand=x"})


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b"])
def test_a_login_node_is_a_name(cm: Comet, clouds: Path, host: str) -> None:
    clouds.write_text(f'[hpc.bridges]\nhost = "{host}"')
    ended = cm("hpc", "run", "job.sh")
    assert ended.status == 2 and "[hpc.bridges] needs host" in ended.err


def test_machines_need_an_image_and_a_flavor(cm: Comet, clouds: Path) -> None:
    for given, missing in (((), "image"), (("--image=debian",), "flavor")):
        ended = cm("vm", "boot", "--cloud=aws", *given)
        assert ended.status == 2 and f"cm default {missing}=NAME, of cm {missing} list" in ended.err


def test_without_libcloud_it_says_how_to_get_it(cm: Comet, clouds: Path) -> None:
    cm.patch.setitem(sys.modules, "libcloud.compute.providers", None)
    ended = cm("vm", "list", "--cloud=aws")
    assert ended.status == 2 and "apt-get install python3-libcloud" in ended.err


def test_libcloud_writes_no_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBCLOUD_DEBUG", "/tmp/x")
    providers._driver("ec2")
    assert "LIBCLOUD_DEBUG" not in providers.os.environ


@pytest.mark.parametrize("secret", ['a"b\\c d', "pä/ß+€", "😀\n%"])
def test_a_secret_is_in_no_message_however_a_cloud_repeats_it(secret: str) -> None:
    text = secret
    for _ in range(3):
        text = json.dumps({"password": text})
        assert "password" in answers.without(secret, text)
        assert "…" in answers.without(secret, text)
    for form in (secret, json.dumps(secret, ensure_ascii=False)[1:-1], quote_plus(secret)):
        assert answers.without(secret, f"it is {form}!") == "it is …!"


@pytest.fixture
def proxy(clouds: Path) -> Iterator[Proxy]:
    """A server before an OpenStack; it gets how it answers a sign-in."""
    answer: list[Callable[[BaseHTTPRequestHandler], None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with contextlib.suppress(OSError):  # the client had enough
                answer[-1](self)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with answering(server):
        url = f"http://127.0.0.1:{server.server_port}"
        text = f'[clouds.x]\nprovider = "openstack"\nuser = "ann"\nproject = "p"\nurl = "{url}"\n'
        clouds.write_text(f"{text}secret = '{PASSWORD}'\n")
        yield answer.append


def test_a_message_has_no_secret_of_a_request_that_it_repeats(cm: Comet, proxy: Proxy) -> None:
    def repeat(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(400)
        handler.end_headers()
        handler.wfile.write(handler.rfile.read(int(handler.headers["Content-Length"])))

    proxy(repeat)
    ended = cm("vm", "list", "--cloud=x")
    assert ended.status == 5 and '"password": "…"' in ended.err


def test_a_sign_in_is_not_sent_on_to_another_server(cm: Comet, proxy: Proxy) -> None:
    def send_on(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        handler.send_response(307)
        port = handler.server.server_address[1]
        place = f"http://localhost:{port!s}/there" if handler.path == "/other" else "/other"
        handler.send_header("Location", place)
        handler.end_headers()

    asked: list[str] = []
    proxy(send_on)
    ended = cm("vm", "list", "--cloud=x")
    assert ended.status == 6 and "it sends the request on to http://localhost:" in ended.err
    assert asked == ["/v3/auth/tokens", "/other"]


def test_a_token_is_not_sent_unencrypted_to_an_address_of_the_catalog(cm: Comet, proxy: Proxy) -> None:
    """The address is one of a network that does not answer: what is sent there would end with a timeout."""
    endpoint = {"interface": "public", "region": "RegionOne", "region_id": "RegionOne", "id": "1"}
    endpoints = [{**endpoint, "url": "http://192.0.2.1:8774/v2.1"}]
    token = {
        "expires_at": "2126-01-01T00:00:00Z",
        "methods": ["password"],
        "user": {"id": "1", "name": "ann", "domain": {}},
        "project": {"id": "1", "name": "p", "domain": {"id": "default"}},
        "roles": [],
        "catalog": [{"type": "compute", "name": "nova", "endpoints": endpoints, "id": "2"}],
    }

    def sign_in(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(201)
        handler.send_header("X-Subject-Token", "TOKEN")
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.wfile.write(json.dumps({"token": token}).encode())

    proxy(sign_in)
    ended = cm("vm", "list", "--cloud=x")
    assert ended.status == 6
    assert "it names http://192.0.2.1:8774, where a token would be sent unencrypted" in ended.err


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_an_answer_without_an_end_ends(cm: Comet, proxy: Proxy, pause: float) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not stop.wait(pause):
            handler.wfile.write(b"[" * (1 if pause else 100_000))

    stop = threading.Event()
    cm.patch.setattr(answers, "LARGEST_BYTES", 1_000_000)
    cm.patch.setattr(answers, "LONGEST_SECONDS", 1.0)
    proxy(answer)
    ended = cm("vm", "list", "--cloud=x")
    stop.set()
    assert ended.status == 6 and "cloud x does not answer" in ended.err
    assert pause or "more than 1000000 bytes" in ended.err


def test_comet_is_the_cloud_that_every_owner_has(cm: Comet, server: NucleusServer) -> None:
    assert "vm-vc2-3" in cm("vm", "list").out
    assert cm("image", "list").out == cm("iso", "list").out != ""
    assert "computeset 1 is accepted" in cm("vm", "boot", "--walltime=6h").out
    made = {"cluster": "vc2", "count": 1, "walltime_mins": 360}
    assert sent(server, "POST")[-1] == ("computeset/", made)
    assert "is being switched on" in cm("vm", "boot", "vc2").out
    assert "ends as a whole" in cm("vm", "delete", "vm-vc2-0", "--yes").err
    for line in ("flavor list", "key list", "key add a b", "secgroup list"):
        assert "the cloud comet has none" in cm(*line.split()).err


def test_help_and_what_is_no_command(cm: Comet) -> None:
    assert "usage: cm vm boot" in cm("vm", "boot", "--help").out
    assert "usage: cm vm boot" in cm("help", "vm", "boot").out
    ended = cm("vm")
    assert ended.status == 2 and "cm vm boot [NAME]: make a machine" in ended.err
    assert "'vm' is no command of comet" in _as_comet(cm, "vm", "list")


def _as_comet(cm: Comet, *line: str) -> str:
    cm.patch.setattr(sys, "argv", ["/usr/bin/comet"])
    return cm(*line).err


@pytest.mark.parametrize("line", ["cm comet --version", "comet --version", "cm iso --help"])
def test_nothing_of_clouds_is_loaded_before_it_is_needed(line: str, configured: Path) -> None:
    name, *typed = line.split()
    program = (
        f"import sys; sys.argv = {[name, *typed]!r}\n"
        "from comet.cli.main import run\nrun(sys.argv[1:])\n"
        "assert not [it for it in sys.modules if 'cloud' in it], sys.modules"
    )
    subprocess.run(
        [sys.executable, "-S", "-c", program], env={"PYTHONPATH": str(SOURCE)}, check=True, timeout=60
    )
