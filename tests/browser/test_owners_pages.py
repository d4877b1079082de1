"""The pages of owners besides their clusters: each case is a task, from click to result."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from nucleus.mirror import identity
from tests.browser.conftest import Visit, token_of
from tests.browser.test_pages import WIDE, keep_picture, violations
from tests.system.comet.conftest import Site

pytestmark = [pytest.mark.browser]


def ask(site: Site, token: str, method: str, path: str, body: object = None) -> int:
    """The status of what a program gets that sends a token."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{site.service.url}/v1/{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def check_page(visit: Visit, picture: str = "") -> None:
    """Nothing wrong for accessibility in both schemes, nothing to scroll sideways on a telephone."""
    if picture:
        keep_picture(visit, picture)
    wide = visit.page.viewport_size
    assert violations(visit) == []
    visit.page.set_viewport_size({"width": 390, "height": 900})
    visit.page.emulate_media(color_scheme="dark")
    assert violations(visit) == [] and not visit.page.evaluate(WIDE)
    visit.page.set_viewport_size(wide)
    visit.page.emulate_media(color_scheme="light")


def test_a_set_has_its_life_its_charges_and_its_history(site: Site, visit: Callable[..., Visit]) -> None:
    token = token_of(site, "ann")
    with site.pool.transaction() as session:
        project = identity.project_by_name(session, "alpha")
        session.update("project", {"limits": {"node_hours": 40}}, id=project.id)
        session.execute(
            "INSERT INTO computeset (cluster_id, project_id, name, account, node_count, walltime_minutes, state,"
            " requested_by, start_time, ended_at) SELECT id, project_id, 'old', 'alp1', 2, 360, 'completed', 'ann',"
            " UTC_TIMESTAMP(3) - INTERVAL 5 HOUR, UTC_TIMESTAMP(3) FROM cluster WHERE name = 'vc1'"
        )
    owner = visit().open("computesets").sign_in(token)
    owner.sees("#sets", "None.")
    owner.sees("#allocations", "10 h charged")
    owner.sees("#allocations", "30 h left of 40")
    owner.sees("#charges", "10 node hours")
    owner.sees("#charges", "1 set of vc1")
    day = site.rows("SELECT DATE(ended_at) FROM computeset")[0][0].isoformat()
    owner.page.get_by_role("img", name=f"Charged by day: {day}: 10 node hours", exact=True).wait_for()
    owner.sees("#days", f"Most: {day}: 10 node hours")
    with owner.page.expect_download() as download:
        owner.page.get_by_role("link", name="Days as CSV").click()
    assert download.value.suggested_filename == f"usage-{day[:7]}.csv"
    text = Path(download.value.path()).read_text("utf-8")
    assert text.splitlines()[1] == f"{day},alp1,alpha,ann,vc1,1,36000,10.00"
    owner.page.get_by_role("button", name="Earlier month").click()
    owner.sees("#charges", "No set ended in it.")
    assert not owner.page.is_visible("#days") and not owner.page.is_visible("#csv")
    owner.page.get_by_role("button", name="Later month").click()
    owner.sees("#charges", "10 node hours")
    with site.pool.transaction() as session:
        identity.add_allocation(session, "alp2")
        (number,) = session.row("SELECT id FROM cluster WHERE name = 'vc2'") or (0,)
        identity.set_allocation(session, number, "alp2", True)
    before = {"cluster": "vc2", "count": 4, "allocation": "alp2", "walltime_mins": 60}
    body = {"cluster": "vc1", "computes": "vm-vc1-[0-2]", "walltime_mins": 240}
    assert [ask(site, token, "POST", "computeset", one) for one in (before, body)] == [201, 201]
    owner.sees("#sets", "not enough hosts are free, place 1 in the queue, then runs for 4h")
    owner.page.locator("#sets > li", has_text="of vc2").get_by_role("button", name="at once").click()
    owner.confirm()
    owner.sees("#sets > li:nth-child(1):last-child", "running")
    owner.sees("#sets", "of 4h remain")
    owner.sees("#allocations", "12 h reserved")
    owner.sees("#sets", "vm-vc1-0, vm-vc1-1, vm-vc1-2")
    owner.sees("#sets", "up to 12 node hours")
    owner.sees("#allocations", "18 h left of 40")
    check_page(owner, "computesets")
    owner.page.get_by_role("button", name="at once").click()
    owner.confirm()
    owner.sees("#sets", "None.")
    owner.sees("#ended", "cancelled: ended by ann")
    owner.open("history")
    owner.sees("#operations", "vm-vc1-0, vm-vc1-1, vm-vc1-2 of set")
    owner.sees("#operations", "ended by ann")
    owner.page.get_by_text("Each").first.click()
    assert "_" not in owner.page.inner_text("#operations")
    check_page(owner, "history")
    assert owner.harms() == []


def test_two_running_sets_are_merged_and_are_one_from_then_on(
    site: Site, visit: Callable[..., Visit]
) -> None:
    """Only of one cluster; the page of a colleague follows. The question of its end names the nodes of both."""
    token = token_of(site, "ann")
    for cluster, computes, minutes in (
        ("vc2", "vm-vc2-0", 240),
        ("vc1", "vm-vc1-0", 240),
        ("vc1", "vm-vc1-[1-2]", 120),
    ):
        body = {"cluster": cluster, "computes": computes, "walltime_mins": minutes}
        assert ask(site, token, "POST", "computeset", body) == 201
    other, first, second = (number for (number,) in site.rows("SELECT id FROM computeset ORDER BY id"))
    owner, colleague = (visit().open("computesets").sign_in(one) for one in (token, token_of(site, "kim")))
    for page in (owner, colleague):
        for number in (other, first, second):
            page.sees(f"#sets > li[data-key='{number}']", "running")
    assert owner.page.get_by_role("button", name="Merge another set into set").count() == 2, (
        "that of vc2 has none to be merged with"
    )
    owner.page.get_by_role("button", name=f"Merge another set into set {first} of vc1").click()
    owner.sees("dialog", f"Set {first} then has the 3 nodes of both")
    assert owner.page.locator("dialog option").all_inner_texts() == [f"set {second}: vm-vc1-1, vm-vc1-2"]
    ((end,),) = site.rows(f"SELECT start_time + INTERVAL 2 HOUR FROM computeset WHERE id = {second}")
    owner.sees("dialog", f"the nodes of the set that ends first stop {end:%Y-%m-%d %H:%M}")
    check_page(owner)
    owner.confirm()
    owner.sees("#message", f"Set {second} is a part of set {first} now.")
    for page in (owner, colleague):
        page.sees(f"#sets > li[data-key='{first}']", f"Set {first} (with {second}) of vc1")
        page.sees(f"#sets > li[data-key='{first}']", "vm-vc1-0, vm-vc1-1, vm-vc1-2")
        page.page.locator(f"#sets > li[data-key='{second}']").wait_for(state="detached")
        assert page.page.get_by_role("button", name="Merge another set").count() == 0
    owner.page.get_by_role("button", name=f"End set {first} of vc1 at once").click()
    owner.sees("dialog", "vm-vc1-0, vm-vc1-1, vm-vc1-2: powered off at once.")
    owner.confirm()
    owner.page.locator(f"#sets > li[data-key='{first}']").wait_for(state="detached")
    assert owner.harms() == colleague.harms() == []


SHAPES = """() => {
  const probe = document.body.appendChild(document.createElement('i'));
  probe.style.forcedColorAdjust = 'none';
  const known = Object.fromEntries(['Canvas', 'GrayText', 'Highlight', 'LinkText'].map((name) => {
    probe.style.color = name;
    return [getComputedStyle(probe).color, name];
  }));
  probe.remove();
  return [...document.querySelectorAll('main svg rect, main svg path')].map((one) => {
    const { fill, stroke } = getComputedStyle(one);
    return [fill, stroke].map((colour) => known[colour] ?? colour).find((name) => !['none', 'Canvas'].includes(name));
  });
}"""
"""Of each shape of a drawing, the colour that is not the background's."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_readable_with_forced_colours(site: Site, visit: Callable[..., Visit], scheme: str) -> None:
    """Drawings have the person's colours, and what is chosen, grey or has the focus is visible without backgrounds."""
    token = token_of(site, "ann")
    body = {"cluster": "vc1", "computes": "vm-vc1-[0-1]", "walltime_mins": 240}
    assert ask(site, token, "POST", "computeset", body) == 201
    with site.pool.transaction() as session:
        session.execute(
            "INSERT INTO computeset (cluster_id, project_id, name, account, node_count, walltime_minutes, state,"
            " requested_by, start_time, ended_at) SELECT id, project_id, 'old', 'alp1', 2, 360, 'completed', 'ann',"
            " UTC_TIMESTAMP(3) - INTERVAL 5 HOUR, UTC_TIMESTAMP(3) FROM cluster WHERE name = 'vc1'"
        )
    owner = visit(scheme=scheme)
    owner.page.emulate_media(forced_colors="active")
    owner.open("computesets").sign_in(token)
    owner.sees("#sets", "of 4h remain")
    owner.sees("#charges", "10 node hours")
    colours = owner.page.evaluate(SHAPES)
    assert set(colours) == {"Highlight", "GrayText"} and len(colours) > 30, colours
    assert violations(owner) == []

    owner.page.route(
        "**/v1/cluster/vc1/metrics*",
        lambda route: route.fulfill(
            json={"cluster": "vc1", "moments": [0, 120], "nodes": [{"name": "vm-vc1-0", "cpu": [1, 2]}]}
        ),
    )
    owner.open("cluster?name=vc1&use=1&selected=vm-vc1-0&show=on")
    owner.page.get_by_label("2.00 of 2 CPUs busy").wait_for()
    assert owner.page.evaluate(SHAPES) == ["LinkText"]

    def style(selector: str, *keys: str) -> list[str]:
        return list(
            owner.page.eval_on_selector(
                selector, "(one, keys) => keys.map((key) => getComputedStyle(one)[key])", list(keys)
            )
        )

    assert style("#chips [aria-pressed=true]", "borderTopWidth") == ["3px"]
    assert style("#chips [aria-pressed=false]", "borderTopWidth") == ["1px"]
    assert style("tr:has(:checked)", "outlineStyle") == ["solid"]
    grey, plain = (style(f"#actions [aria-disabled={one}]", "opacity", "color") for one in ("true", "false"))
    assert grey[0] == plain[0] == "1" and grey[1] != plain[1]
    owner.page.get_by_label("Filter").focus()
    assert style("#filter", "outlineStyle", "outlineWidth") == ["solid", "3px"]
    assert violations(owner) == [] and owner.harms() == []


def test_an_image_is_uploaded_begins_again_after_a_break_and_is_deleted(
    site: Site, visit: Callable[..., Visit], tmp_path: Path
) -> None:
    image = tmp_path / "debian.iso"
    image.write_bytes(bytes(0x8000) + b"\x01CD001" + bytes(20 << 20))
    token = token_of(site, "ann")
    with site.pool.transaction() as session:
        number = identity.project_by_name(session, "alpha").id
        session.update("project", {"limits": {"image_bytes": 1 << 20}}, id=number)
    owner = visit().open("images").sign_in(token)
    owner.sees("#images", "There are none.")
    for name, content, wrong in (
        ("holiday.jpg", b"no image", "holiday.jpg is no ISO image; nothing was sent"),
        ("empty.iso", b"", "empty.iso is empty"),
        ("De bian.iso", bytes(0x8000) + b"\x01CD001", "Rename the file"),
        (
            "cut.iso",
            bytes(0x8000) + b"\x01CD001" + bytes(74) + b"\x20" + bytes(47) + b"\0\x08",
            "cut.iso is cut off: it states 65536 bytes and has 32898",
        ),
    ):
        file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        owner.page.set_input_files("#name", file)
        owner.page.get_by_role("button", name="Upload", exact=True).click()
        owner.sees("#name-wrong", wrong)
    assert owner.page.inner_text("#message") == "" and owner.harms() == []
    owner.page.set_input_files("#name", image)
    owner.page.get_by_role("button", name="Upload", exact=True).click()
    owner.sees("#name-wrong", "delete images, or ask the site")
    check_page(owner)
    with site.pool.transaction() as session:
        session.update("project", {"limits": {}}, id=number)
    owner.page.set_input_files("#name", tmp_path / "debian.iso")
    uploads = re.compile(r"/v1/image\?name=")
    owner.page.route(uploads, lambda route: route.abort())
    owner.page.get_by_role("button", name="Upload", exact=True).click()
    owner.sees("#message", "The connection broke off. Upload the image again.")
    check_page(owner, "images")
    owner.page.unroute(uploads)
    owner.page.get_by_role("button", name="Upload", exact=True).click()
    owner.sees("#message", "debian.iso has arrived.")
    owner.sees("#images", "ready")
    owner.page.set_input_files("#name", image)
    owner.page.get_by_role("button", name="Upload", exact=True).click()
    owner.sees("#name-wrong", "there is an image debian.iso already; delete it, or")
    owner.page.get_by_role("button", name="Delete").click()
    owner.confirm()
    owner.sees("#images", "There are none.")
    expected = ("403", "409", "ERR_FAILED")  # the last one is the break
    assert [one for one in owner.harms() if not any(code in one for code in expected)] == []


def test_a_token_is_created_copied_and_revoked(site: Site, visit: Callable[..., Visit]) -> None:
    token = token_of(site, "ann")
    with site.pool.transaction() as session:
        session.execute("UPDATE token SET note = 'notebook'")
    owner = visit().open("tokens").sign_in(token)
    owner.page.fill("#note", "backup")
    owner.page.fill("#days", "4000")
    owner.page.eval_on_selector("#days", "one => one.form.noValidate = true")
    owner.page.get_by_role("button", name="Create").click()
    owner.sees("#days-wrong", "from 1 to 3650")
    owner.page.fill("#days", "")  # the default of the server
    owner.page.get_by_role("button", name="Create").click()
    owner.sees("#new", "not shown again")
    secret = owner.page.inner_text("#secret")
    assert ask(site, secret, "GET", "user") == 200
    owner.page.click("#copy")
    owner.sees("#message", "is")
    owner.sees("#tokens", "backup")
    owner.sees("#tokens", "this session")
    assert re.search(r"expires \d{4}-\d\d-\d\d \d\d:\d\d \w+", owner.page.inner_text("#tokens")), (
        "a time has its zone"
    )
    check_page(owner)
    owner.page.reload()
    owner.sees("#tokens", "backup")
    assert secret not in owner.page.content()
    keep_picture(owner, "tokens")
    owner.page.get_by_role("button", name="Revoke backup").click()
    owner.confirm()
    owner.sees("#message", "is revoked")
    assert ask(site, secret, "GET", "user") == 401
    assert [one for one in owner.harms() if "400" not in one] == []


def test_a_path_without_anything_and_the_description_are_pages(
    site: Site, visit: Callable[..., Visit]
) -> None:
    someone = visit()
    someone.page.goto(f"{site.service.url}/page/nothing")
    someone.sees("h1", "There is nothing here")
    assert someone.page.inner_text("main").lower().count("there is nothing") == 1
    assert "/docs" not in someone.page.inner_text("main")
    check_page(someone)
    someone.page.goto(f"{site.service.url}/docs")
    assert not someone.page.get_by_text("PUT /v1/cluster/{c}/frontend/poweron").is_visible()
    someone.page.locator("summary").first.click()
    someone.sees("h4", "GET /v1/cluster")
    check_page(someone)
    assert [one for one in someone.harms() if " 404 " not in one] == []
