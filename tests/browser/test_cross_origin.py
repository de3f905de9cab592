"""The example docs/clients/predict.html: a page of another origin asks the server itself."""

import functools
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.browser.conftest import TIMEOUT_MS
from tests.http_servers import Quiet, serving
from tests.support import PROJECT, SEVEN

TOKEN = "0123456789abcdef-secret"  # noqa: S105 - of this test's server only


class _Site(Quiet, SimpleHTTPRequestHandler):
    """Serves files."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The port of a web server with the examples."""
    handler = functools.partial(_Site, directory=str(PROJECT / "docs" / "clients"))
    with serving(handler) as url:
        yield url.rpartition(":")[2]


@pytest.fixture(scope="module")
def guarded(site: str, small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a token, for pages of http://127.0.0.1:PORT, but not of http://localhost:PORT."""
    token_file = tmp_path_factory.mktemp("token") / "token"
    token_file.write_text(TOKEN)
    with running(small_store, free_port(), token_file=token_file, origins=[f"http://127.0.0.1:{site}"]) as server:
        yield server


def ask(page: Page, host: str, site: str, server: Server, picture: Path, token: str = TOKEN) -> None:
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"http://{host}:{site}/predict.html?server={server.url}")
    page.fill("#token", token)
    page.set_input_files("#picture", picture)


def test_a_page_of_an_allowed_origin_is_answered(browser: Browser, site: str, guarded: Server, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    page = browser.new_page()
    ask(page, "127.0.0.1", site, guarded, SEVEN)
    expect(page.locator("#answer")).to_contain_text("7 (")
    ask(page, "127.0.0.1", site, guarded, tmp_path / "text.png")
    expect(page.locator("#answer")).to_contain_text("error: not a picture")
    ask(page, "127.0.0.1", site, guarded, SEVEN, token="wrong")  # noqa: S106
    expect(page.locator("#answer")).to_contain_text("error: this server requires a token")
    page.close()


def test_a_page_of_another_origin_is_not(browser: Browser, site: str, guarded: Server) -> None:
    page = browser.new_page()
    ask(page, "localhost", site, guarded, SEVEN)
    expect(page.locator("#answer")).to_contain_text("error: Failed to fetch")
    page.close()
