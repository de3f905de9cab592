"""One Chromium and one page server for all tests of this folder, and a new tab for each test."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from benchmarks.browser import find_chromium, launch_browser, page_server
from mnist_lightning.serving.torchserve import Server

FAILED_REQUEST = "Failed to load resource"  # Chromium's console message about a response of 400 or above
TIMEOUT_MS = 15_000  # for what a page should show


@dataclass
class Visit:
    """A tab with the page, and what it logged and requested."""

    page: Page
    folder: Path  # the folder that the page's server was started in
    hosts: set[str | None] = field(default_factory=set)
    console: list[str] = field(default_factory=list)
    expects_failed_requests: bool = False
    open_requests: int = 0
    max_open_requests: int = 0

    def watch(self) -> None:
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.count(1, request))
        self.page.on("requestfinished", lambda request: self.count(-1, request))
        self.page.on("requestfailed", lambda request: self.count(-1, request))

    def count(self, change: int, request: Request) -> None:
        if request.url.startswith("data:"):
            return  # no request to a server
        self.hosts.add(urlsplit(request.url).hostname)
        self.open_requests += change * (request.method == "POST")  # the page and its examples come by GET
        self.max_open_requests = max(self.max_open_requests, self.open_requests)


@contextlib.contextmanager
def visiting(browser: Browser, url: str, folder: Path, locale: str = "en-US") -> Iterator[Visit]:
    """Open the page, and finally check that it logged nothing and sent one picture at a time to its own server."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, locale=locale)
    visit = Visit(context.new_page(), folder)
    visit.page.set_default_timeout(TIMEOUT_MS)
    visit.watch()
    visit.page.goto(url)
    yield visit
    context.close()
    assert [text for text in visit.console if not (visit.expects_failed_requests and FAILED_REQUEST in text)] == []
    assert visit.hosts == {"127.0.0.1"}
    assert visit.max_open_requests <= 1


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if find_chromium() is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    expect.set_options(timeout=TIMEOUT_MS)
    with launch_browser() as running_browser:
        yield running_browser


@pytest.fixture(scope="package")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="package")
def page_url(browser: Browser, server: Server, page_folder: Path) -> Iterator[str]:
    """`python -m mnist_lightning.draw` in front of TorchServe with the small network."""
    with page_server("--url", server.url, folder=page_folder) as url:
        yield url


@pytest.fixture
def visit(browser: Browser, page_url: str, page_folder: Path) -> Iterator[Visit]:
    with visiting(browser, page_url, page_folder) as new_visit:
        yield new_visit
