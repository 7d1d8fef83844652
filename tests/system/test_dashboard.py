"""The dashboard in a real browser: Debian's Chromium."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.integration.gateway.system import LEGAL_TEXTS, MEDICAL, RunningSystem
from tests.system.programs import program

GATEWAY = "gateway-3"
TOKEN = "a-token-of-the-tests"
#: Not a time that is asserted, but one after which there is no hope.
MOST_MS = 60_000
#: What the browser itself says of a gateway that is not there.
UNREACHED = "net::ERR_"

#: The one that starts processes, which end with it.
THREAD = ThreadPoolExecutor(1)

T = TypeVar("T")

expect.set_options(timeout=MOST_MS)


def aside(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """In a thread that has no event loop: Playwright's runs in this one."""
    return THREAD.submit(work, *arguments, **options).result()


@pytest.fixture(scope="module")
def system(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """With a gateway of its own on a port that it keeps, and some answers."""
    program("chromium")
    variables = {"LORELAY_METRICS_WINDOW": "1", "LORELAY_HEARTBEAT_SECONDS": "0.5"}
    running = RunningSystem(kafka, tmp_path_factory.mktemp("dashboard"), variables)
    try:
        aside(running.start)
        aside(running.start_gateway, GATEWAY, LORELAY_GATEWAY_PORT=str(free_port()))
        for number, text in enumerate(LEGAL_TEXTS):
            ask(running, f"before-{number}", text)
        running.cluster.produce(running.topics.queries, [b'{"prompt": 7}'])
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=options)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page, and what went wrong in it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def on_request(self, request: Request) -> None:
        self.addresses.append(request.url)


@contextmanager
def opened(
    browser: Browser, system: RunningSystem, gateway: str = GATEWAY, **options: Any
) -> Iterator[Opened]:
    """The dashboard, in a window of its own; it must have nothing to complain of."""
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
    found = Opened(context.new_page())
    found.page.set_default_timeout(MOST_MS)
    found.page.on("console", found.on_console)
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("request", found.on_request)
    try:
        found.page.goto(f"{system.url(gateway)}/dashboard")
        yield found
    finally:
        context.close()
    assert found.complaints == []
    strangers = [url for url in found.addresses if not url.startswith(system.url(gateway))]
    assert strangers == []


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def ask(system: RunningSystem, query_id: str, prompt: str, model: str = "lorelay") -> None:
    with system.openai("gateway") as client:
        client.completions.create(model=model, prompt=prompt, extra_body={"id": query_id})


def until_live(page: Page) -> None:
    expect(page.get_by_role("status")).to_have_text("Live")


def query_row(page: Page, adapter: str) -> Any:
    return page.locator("#query-rows tr.query", has_text=adapter).first


def save(page: Page, name: str) -> None:
    """Where SCREENSHOTS names a folder, somebody wants to look."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_a_query_asked_meanwhile_shows_with_its_decision(
    browser: Browser, system: RunningSystem
) -> None:
    with opened(browser, system) as found:
        page = found.page
        until_live(page)
        ask(system, "meanwhile", "A secret?", MEDICAL)
        row = query_row(page, MEDICAL)
        expect(row).to_contain_text("named by the query")
        row.get_by_role("button").click()
        details = page.locator("#query-rows tr.opened")
        expect(details).to_contain_text("meanwhile")
        assert "secret" not in page.content()


def test_every_section_has_something_to_show(browser: Browser, system: RunningSystem) -> None:
    with opened(browser, system) as found:
        page = found.page
        until_live(page)
        expect(page.locator("#version-rows tr").first).to_contain_text("legal-qa-v1")
        expect(page.locator("#family-list")).to_contain_text("100%")
        expect(page.locator("#worker-rows")).to_contain_text("ready")
        expect(page.locator("#letter-rows")).to_contain_text("queries")
        expect(page.locator("#tiles .tile")).to_have_count(3)
        expect(page.locator("#choices img, #choices svg")).to_have_count(1)
        save(page, "light")


def test_what_comes_from_outside_stays_text(browser: Browser, system: RunningSystem) -> None:
    name = "<img src=x onerror=alert(1)><b>bold</b>"
    with opened(browser, system) as found:
        page = found.page
        until_live(page)
        value = json.dumps({"id": name, "prompt": "x", "adapter": name})
        system.cluster.produce(system.topics.queries, [value.encode()])
        row = page.locator("#query-rows tr.query", has_text="unknown_adapter").first
        row.get_by_role("button").click()
        expect(page.locator("#query-rows tr.opened")).to_contain_text(name)
        expect(page.locator("main img, main b:text-is('bold')")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 820, 1400])
def test_it_fits_and_can_be_read(
    browser: Browser, system: RunningSystem, scheme: Any, width: int
) -> None:
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    # What looks for faults is a script of others, which the page's own policy would not let in.
    with opened(browser, system, bypass_csp=True, **options) as found:
        page = found.page
        until_live(page)
        expect(page.locator("#version-rows tr").first).to_be_visible()
        page.locator("#query-rows button").first.click()
        across = page.evaluate("document.scrollingElement.scrollWidth")
        assert across <= width
        save(page, f"{scheme}-{width}")
        faults = Axe().run(page).response["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in faults] == []


def test_it_is_used_by_keyboard(browser: Browser, system: RunningSystem) -> None:
    with opened(browser, system) as found:
        page = found.page
        until_live(page)
        visited = list(tabbed(page, lambda: page.evaluate(FOCUSED)["class"] == "more"))
        assert visited[0]["text"] == "Skip to the latest queries"
        assert [one["text"] for one in visited[1:9]] == [
            "Pause",
            *("Flow", "Adapters", "Selection", "Splits", "Workers", "Dead letters", "Queries"),
        ]
        assert all(one["outline"] != "none" for one in visited)
        page.keyboard.press("Enter")
        expect(page.locator("#query-rows tr.opened")).to_have_count(1)
        # What comes meanwhile does not take the focus away.
        before = page.evaluate(FOCUSED)["text"]
        ask(system, "unmoved", "x", MEDICAL)
        expect(query_row(page, MEDICAL)).to_be_visible()
        expect(page.locator("#query-rows tr.query").first).to_contain_text(MEDICAL)
        assert page.evaluate(FOCUSED)["text"] == before


FOCUSED = """() => {
  const one = document.activeElement;
  return {text: one.innerText, class: one.className, outline: getComputedStyle(one).outlineStyle};
}"""


def tabbed(page: Page, is_there: Callable[[], bool]) -> Iterator[dict[str, str]]:
    """What has the focus after each press of the tabulator, until it is there."""
    for _ in range(100):
        page.keyboard.press("Tab")
        yield page.evaluate(FOCUSED)
        if is_there():
            return
    raise AssertionError("it is not reached")


def test_who_wants_no_motion_sees_none(browser: Browser, system: RunningSystem) -> None:
    with opened(browser, system, reduced_motion="reduce") as found:
        until_live(found.page)
        ask(system, "still", "x", MEDICAL)
        row = query_row(found.page, MEDICAL)
        assert row.locator("td").first.evaluate("cell => getComputedStyle(cell).animationName") == (
            "none"
        )


def test_numbers_are_those_of_the_reader(browser: Browser, system: RunningSystem) -> None:
    for locale, comma in (("de-DE", ","), ("en-GB", ".")):
        with opened(browser, system, locale=locale) as found:
            until_live(found.page)
            figure = found.page.locator("#tiles .figure").first
            expect(figure).to_contain_text(comma)


def test_a_pause_holds_the_page_still(browser: Browser, system: RunningSystem) -> None:
    with opened(browser, system) as found:
        page = found.page
        until_live(page)
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("status")).to_have_text("Paused")
        rows = page.locator("#query-rows tr.query")
        before = rows.count()
        with opened(browser, system) as other:
            until_live(other.page)
            ask(system, "held", "x", MEDICAL)
            expect(other.page.locator("#query-rows tr.query")).to_have_count(before + 1)
        assert rows.count() == before
        page.get_by_role("button", name="Pause").click()
        expect(rows).to_have_count(before + 1)


def test_it_goes_on_by_itself_after_the_gateway_was_away(
    browser: Browser, system: RunningSystem
) -> None:
    (member,) = [m for m in system.fleet.of_role("gateway") if m.name == GATEWAY]
    with opened(browser, system) as found:
        page = found.page
        until_live(page)
        system.fleet.send(member, signal.SIGKILL)
        aside(asyncio.run, system.fleet.until_ended(member))
        expect(page.get_by_role("status")).to_contain_text("No gateway since")
        # What was seen is still there.
        expect(page.locator("#version-rows tr").first).to_be_visible()
        save(page, "away")
        system.fleet.start(GATEWAY, "gateway")
        aside(asyncio.run, system.fleet.until_ready(member))
        until_live(page)
        ask(system, "again", "x", MEDICAL)
        expect(query_row(page, MEDICAL)).to_be_visible()
        found.complaints = [said for said in found.complaints if UNREACHED not in said]


def test_whoever_looks_needs_the_token_where_there_is_one(
    browser: Browser, system: RunningSystem
) -> None:
    variables = {"LORELAY_ADMIN_TOKEN": TOKEN, "LORELAY_DASHBOARD_TEXT": "true"}
    aside(system.start_gateway, "gateway-4", **variables)
    with opened(browser, system, "gateway-4") as found:
        page = found.page
        token = page.get_by_label("Token")
        token.fill("another")
        page.keyboard.press("Enter")
        expect(page.locator("#refusal")).to_contain_text("not the admin's token")
        save(page, "door")
        token.fill(TOKEN)
        page.keyboard.press("Enter")
        until_live(page)
        ask(system, "known", "May it be seen?", MEDICAL)
        expect(page.locator("#query-rows")).to_contain_text("May it be seen?")
        page.reload()
        until_live(page)
        found.complaints = [said for said in found.complaints if "401" not in said]


def test_before_anything_was_asked_it_says_what_to_do(
    browser: Browser, kafka: str, tmp_path: Path
) -> None:
    empty = RunningSystem(kafka, tmp_path, {})
    try:
        aside(asyncio.run, empty.create_topics())
        aside(empty.start_gateway, "gateway")
        with opened(browser, empty, "gateway") as found:
            until_live(found.page)
            for command in ("lorelay ask", "lorelay adapters register", "lorelay up"):
                expect(found.page.get_by_text(command).first).to_be_visible()
            save(found.page, "empty")
    finally:
        empty.stop()
