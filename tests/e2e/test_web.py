"""The drivers' and the operators' page in a real browser, against a real platform, garage apps and relay boards."""

# ruff: noqa: E501 - the scripts that run in the page

from __future__ import annotations

import base64
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, ViewportSize, expect, sync_playwright
from scripts.demo.alone import Alone
from scripts.demo.town import CENTRE

from tests.e2e.conftest import ROOT, free_block, free_port

pytestmark = pytest.mark.e2e

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SOFTWARE_WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1360, "height": 860}
SCREENS = {"phone": PHONE, "desktop": DESKTOP}
GARAGES = 2

# The share of a picture's pixels that has each of the named colours of the page.
SHARES = """async ([picture, names]) => {
  const image = new Image(); image.src = 'data:image/png;base64,' + picture; await image.decode()
  const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext('2d')
  const style = getComputedStyle(document.documentElement)
  const wanted = names.map(name => { pen.fillStyle = style.getPropertyValue(name); pen.fillRect(0, 0, 1, 1)
    return [...pen.getImageData(0, 0, 1, 1).data] })
  pen.drawImage(image, 0, 0)
  const dots = pen.getImageData(0, 0, image.width, image.height).data, found = wanted.map(() => 0)
  for (let at = 0; at < dots.length; at += 4) wanted.forEach((colour, which) => {
    if ([0, 1, 2].every(part => Math.abs(dots[at + part] - colour[part]) < 4)) found[which]++ })
  return Object.fromEntries(names.map((name, which) => [name, found[which] * 4 / dots.length]))
}"""

# What a person with poor sight, a large thumb or a screen reader would stumble over.
BARRIERS = r"""() => {
  const faults = [], parse = text => { const found = text.match(/[\d.]+/g).map(Number); return [...found.slice(0, 3), found[3] ?? 1] }
  const light = colour => { const [r, g, b] = colour.slice(0, 3).map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const behind = element => { for (let at = element; at; at = at.parentElement) { const colour = parse(getComputedStyle(at).backgroundColor)
    if (colour[3] > 0.9) return colour } return [255, 255, 255, 1] }
  const seen = element => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getClientRects().length
  for (const element of document.querySelectorAll('#app *')) {
    if (!seen(element) || element.closest('.map, .hidden')) continue
    const name = `${element.tagName} ${element.className} ${element.textContent.trim().slice(0, 30)}`
    if ([...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && !element.disabled) {
      const [front, back] = [light(parse(getComputedStyle(element).color)), light(behind(element))]
      const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05)
      if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${name}`)
    }
    if (element.matches('button, input, select, a')) {
      if (element.getBoundingClientRect().height < 43.5) faults.push(`small: ${name}`)
      if (!element.textContent.trim() && !element.ariaLabel && !element.labels?.length) faults.push(`nameless: ${name}`)
      if (element.matches('input') && element.scrollWidth > element.clientWidth + 1) faults.push(`cut: ${element.type}`)
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push('scrolls sideways')
  return faults
}"""


@dataclass
class Street:
    """A running town and the garages in it that have a gate."""

    town: Alone
    garages: list[dict[str, Any]]

    def board(self, number: int, path: str, body: Any = None) -> Any:
        """Ask a garage's relay board; POST where there is a body."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.town.board_port + 10 * number + 4}{path}",
            json.dumps(body).encode() if body is not None else None, {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def pulses(self, number: int, coil: int) -> int:
        """How often a coil was closed and opened again; waits for the end of a pulse."""
        end = time.monotonic() + 5
        while True:
            moves = [entry["on"] for entry in self.board(number, "/coils")["log"] if entry["coil"] == coil]
            if moves == [True, False] * (len(moves) // 2):
                return len(moves) // 2
            assert time.monotonic() < end, f"coil {coil} stays as it is: {moves}"
            time.sleep(0.05)

    def number(self, name: str) -> int:
        """Which garage has this name."""
        return [garage["name"] for garage in self.garages].index(name)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """The generated city on a platform of its own, with two garages whose gates open."""
    assert (ROOT / "web/dist/index.html").exists(), "the pages are not built: run scripts/setup"
    folder = tmp_path_factory.mktemp("town")
    town = Alone(folder, port=free_port(), board_port=free_block(10 * GARAGES), register=folder / "none.csv")
    try:
        town.start_platform()
        near = town.ask("GET", f"/api/v1/driver/garages?lat={CENTRE[0]}&lon={CENTRE[1]}&limit=20")["items"]
        chosen = [garage for garage in near if garage["capacity"] >= 20][:GARAGES]
        for number, garage in enumerate(chosen):
            town.open_garage(number, garage)
        for number, garage in enumerate(chosen):
            town.wait("the gate", f"gate-{number}", lambda name=garage["id"]: town.verified(name))
        yield Street(town, chosen)
    finally:
        for name in town.processes.names():
            town.processes.stop(name)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """The browser's driver."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser with WebGL."""
    running = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *SOFTWARE_WEBGL])
    yield running
    running.close()


@contextmanager
def opened(browser: Browser, street: Street, path: str = "/", **options: Any) -> Iterator[Page]:
    """A page in a context of its own. No script may fail in it, and it may ask nobody but the platform."""
    settings = {"viewport": DESKTOP, "locale": "en-GB", "timezone_id": "Europe/Amsterdam", **options}
    context = browser.new_context(**settings)
    context.set_default_timeout(10_000)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    ours = (street.town.url, "data:", "blob:")
    page.on("request", lambda asked: None if asked.url.startswith(ours) else faults.append(f"asked {asked.url}"))
    page.goto(street.town.url + path)
    yield page
    context.close()
    assert faults == []


def ready(page: Page) -> None:
    """Wait until the map is drawn."""
    page.wait_for_selector("[data-ready]")


def state(page: Page, wanted: str) -> None:
    """Wait for the booking's state."""
    expect(page.get_by_test_id("state")).to_have_attribute("data-state", wanted)


def choose_verified(page: Page) -> str:
    """Choose the first garage whose gate is verified in the list; its name."""
    if page.locator("nav button").is_visible():
        page.locator("nav button").click()
    garage = page.locator(".list li button", has=page.locator(".chip.good")).first
    name = garage.locator("b").inner_text()
    garage.click()
    return name


@pytest.mark.parametrize("screen", SCREENS)
def test_a_driver_finds_books_parks_and_pays(browser: Browser, street: Street, screen: str) -> None:
    with opened(browser, street, viewport=SCREENS[screen]) as page:
        ready(page)
        number = street.number(choose_verified(page))
        price = page.get_by_test_id("total").inner_text()
        assert re.fullmatch(r"€\d+\.\d\d", price)
        assert page.evaluate(BARRIERS) == []
        page.get_by_label("Number plate").fill("PK-001-X")
        page.get_by_role("button", name="Book this bay").click()
        state(page, "booked")
        assert page.evaluate(BARRIERS) == []

        page.reload()
        state(page, "booked")
        code = page.locator("img[data-grant]").get_attribute("data-grant")
        assert str(code).startswith("PK1.")

        entries, exits = street.pulses(number, 0), street.pulses(number, 1)
        page.get_by_role("button", name="Open entry").click()
        state(page, "entered")
        assert (street.pulses(number, 0), street.pulses(number, 1)) == (entries + 1, exits)
        expect(page.get_by_text("Parked since")).to_be_visible()

        page.get_by_label("Language").select_option("nl")
        page.get_by_role("button", name="Open uitgang").click()
        state(page, "exited")
        assert (street.pulses(number, 0), street.pulses(number, 1)) == (entries + 1, exits + 1)
        page.get_by_label("Taal").select_option("en")
        due = page.get_by_test_id("due").inner_text()
        page.get_by_role("button", name="Pay").click()
        state(page, "paid")
        expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
        expect(page.get_by_text("of which VAT (21 %)")).to_be_visible()
        assert page.get_by_test_id("due").inner_text() == due
        page.get_by_role("button", name="Find another").click()
        expect(page.get_by_label("Where to?")).to_be_visible()


def test_a_code_shown_to_the_scanner_opens_and_the_page_follows(browser: Browser, street: Street) -> None:
    with opened(browser, street, viewport=PHONE) as page:
        ready(page)
        number = street.number(choose_verified(page))
        page.get_by_role("button", name="Book this bay").click()
        code = page.locator("img[data-grant]").get_attribute("data-grant")
        assert street.board(number, "/scan", {"gate": "entry", "code": code})["ok"]
        state(page, "entered")  # told by the platform, with no touch of the page
        assert not street.board(number, "/scan", {"gate": "entry", "code": code})["ok"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_garages_are_shown_on_recognisable_ground(
    browser: Browser, street: Street, screen: str, scheme: str, tmp_path: Path
) -> None:
    with opened(browser, street, viewport=SCREENS[screen], color_scheme=scheme) as page:
        ready(page)
        expect(page.locator(".pin:not(.dot)").first).to_be_visible()
        assert page.locator(".pin").count() >= 20
        picture = page.locator("main").screenshot(path=tmp_path / "map.png")
        names = ["--water", "--land", "--town", "--park", "--road"]
        shares = page.evaluate(SHARES, [base64.b64encode(picture).decode(), names])
        assert shares["--water"] > 0.04, shares
        assert shares["--land"] + shares["--town"] > 0.5, shares
        assert shares["--park"] > 0.002, shares
        assert max(shares.values()) < 0.95, shares
        boxes = [box for pin in page.locator(".pin:not(.dot)").all() if (box := pin.bounding_box())]
        for at, one in enumerate(boxes):
            for other in boxes[at + 1 :]:
                apart = abs(one["x"] - other["x"]) >= min(one["width"], other["width"]) - 1
                assert apart or abs(one["y"] - other["y"]) >= 32, "two prices lie on each other"
        assert page.evaluate(BARRIERS) == []


def test_operators_see_a_gate_fail_and_come_back_live(browser: Browser, street: Street) -> None:
    garage, town = street.garages[0], street.town
    with opened(browser, street, f"/operator?token={town.token}") as page:
        chip = page.locator(f"[data-garage='{garage['id']}']")
        expect(chip).to_have_attribute("data-verified", "True")
        expect(page.get_by_test_id("live")).to_contain_text("live")
        assert town.token not in page.url
        assert page.evaluate(BARRIERS) == []
        try:
            street.board(0, "/fail", {"relay": True})
            assert not town.verified(garage["id"])  # what the operator does once an interval
            expect(chip).to_have_attribute("data-verified", "False")
            row = page.locator("li", has=chip)
            expect(row.locator(".why")).to_contain_text("relay")
        finally:
            street.board(0, "/fail", {"relay": False})
        row.get_by_role("button", name="Verify now").click()
        expect(chip).to_have_attribute("data-verified", "True")


@pytest.mark.parametrize("screen", SCREENS)
def test_the_operators_page_is_for_operators(browser: Browser, street: Street, screen: str) -> None:
    with opened(browser, street, "/operator?token=guessed", viewport=SCREENS[screen]) as page:
        expect(page.get_by_role("alert")).to_contain_text("token")
        page.get_by_label("Operator token").fill(street.town.token)
        page.get_by_role("button", name="Show the fleet").click()
        expect(page.locator("[data-verified]")).to_have_count(GARAGES)
        assert page.evaluate(BARRIERS) == []


def test_the_list_has_everything_where_there_is_no_webgl(playwright: Playwright, street: Street) -> None:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, "--disable-3d-apis"])
    with opened(browser, street, viewport=PHONE) as page:
        expect(page.get_by_text("the list has everything")).to_be_visible()
        expect(page.locator("canvas")).to_have_count(0)
        choose_verified(page)
        page.get_by_role("button", name="Book this bay").click()
        state(page, "booked")
        page.get_by_role("button", name="Cancel booking").click()
        state(page, "cancelled")
    browser.close()


def test_three_languages_and_the_keyboard(browser: Browser, street: Street) -> None:
    with opened(browser, street, locale="nl-NL") as page:
        expect(page.get_by_label("Waarheen?")).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == "nl"
        page.get_by_label("Taal").select_option("zh")
        expect(page.get_by_label("去哪里？")).to_be_visible()
        page.reload()
        expect(page.get_by_label("去哪里？")).to_be_visible()
        assert page.evaluate(BARRIERS) == []

        page.get_by_label("语言").select_option("en")
        place = page.get_by_label("Where to?")
        place.fill("Parkd")
        expect(page.get_by_role("button", name="Parkdam").first).to_be_visible()
        page.keyboard.press("Enter")
        expect(place).to_have_value("Parkdam")
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert focused == ["BUTTON", "solid"]


def test_wrong_times_are_said_and_nothing_is_asked(browser: Browser, street: Street) -> None:
    with opened(browser, street) as page:
        arrive = page.get_by_label("Arrive").input_value()
        page.get_by_label("Leave").fill(arrive)
        page.get_by_label("Leave").blur()
        expect(page.get_by_role("alert")).to_have_text("Leaving must be after arriving.")
