"""The page's server with a stub of the model server: which requests it accepts, and its error answers."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from benchmarks.examples import EXAMPLE_PICTURES
from mnist_lightning.common.constants import FEEDBACK_LABELS, FEEDBACK_LOCK, MAX_REQUEST_BYTES
from mnist_lightning.common.paths import resource
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.normalize import from_bytes, normalize_with_count, turn
from mnist_lightning.serving.torchserve import free_port
from mnist_lightning.web.app import EXAMPLES
from mnist_lightning.web.feedback import Quota
from tests.disks import file_size_limit
from tests.pages import running_page, stub_model_server
from tests.support import SEVEN

DIGIT = SEVEN.read_bytes()
ANSWER = {"prediction": 7, "confidence": 0.91, "probabilities": [0.01] * 7 + [0.91, 0.01, 0.01], "is_digit": 0.9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback") / "stored"


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[str]:
    with stub_model_server(lambda: (200, ANSWER)) as url, running_page(url, folder) as page_url:
        yield page_url


def post(
    page: str, path: str, body: bytes = DIGIT, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    response = requests.post(page + path, data=body, headers=headers, timeout=30)
    return response.status_code, response.json()


def test_content_security_policy_allows_only_inline_code_and_this_server(page: str) -> None:
    response = requests.get(page, timeout=10)
    policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["connect-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    for name in ("script-src", "style-src"):
        assert policy[name].startswith("'sha256-")
        assert "unsafe" not in policy[name]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_prediction_comes_with_the_network_input(page: str) -> None:
    expected = (255 * from_bytes(DIGIT)).round().astype(int).tolist()
    assert post(page, "read") == (200, {"answer": ANSWER, "seen": expected})


FOREIGN = [
    {"Origin": "http://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Host": "["},
    {"Host": ""},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "elsewhere.example"},
    {"Host": "127.0.0.1.elsewhere.example"},
    {"Host": "elsewhere.example", "Origin": "http://elsewhere.example"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("path", ["read", "explain", "feedback/7"])
def test_requests_from_other_sites_are_rejected(page: str, folder: Path, path: str, headers: dict[str, str]) -> None:
    before = list(folder.glob("*"))
    assert post(page, path, headers=headers)[0] == 403
    assert list(folder.glob("*")) == before


def test_requests_by_any_address_of_the_machine_are_accepted(page: str) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]", "192.168.0.7"):
        name = f"{host}:{urlsplit(page).port}"
        headers = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
        assert post(page, "read", headers=headers)[0] == 200


def test_page_is_served_to_links_but_not_to_foreign_names(page: str) -> None:
    assert requests.get(page, headers={"Host": "elsewhere.example"}, timeout=10).status_code == 403
    assert requests.get(page, headers={"Sec-Fetch-Site": "cross-site"}, timeout=10).status_code == 200


def check_error(page: str, path: str, body: bytes, status: int, message: str) -> None:
    answered, error = post(page, path, body)
    assert (answered, error["code"]) == (status, status)
    assert message in str(error["message"])


def test_size_limit_is_that_of_the_model_server() -> None:
    assert f"max_request_size={MAX_REQUEST_BYTES}\n" in resource("config/config.properties").read_text()


@pytest.mark.parametrize("path", ["read", "explain", "feedback/7"])
def test_too_large_picture_is_rejected(page: str, path: str) -> None:
    check_error(page, path, bytes(MAX_REQUEST_BYTES + 1), 413, "10,485,760 bytes")


@pytest.mark.parametrize("label", ["10", "-1", "seven", "7.5", "7?read=11", "7?read=x"])
def test_label_must_be_a_digit(page: str, folder: Path, label: str) -> None:
    before = list(folder.glob("*"))
    check_error(page, f"feedback/{label}", DIGIT, 400, "0 to 9")
    assert list(folder.glob("*")) == before


@pytest.mark.parametrize("path", ["read", "explain"])
def test_absent_model_server_is_502(tmp_path: Path, path: str) -> None:
    with running_page(f"http://127.0.0.1:{free_port()}", tmp_path) as page:
        check_error(page, path, DIGIT, 502, "mnist_lightning.serve")
        assert post(page, path)[1]["type"] == "ClientError"  # part of the page's API


def test_silent_model_server_is_504(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with running_page(url, tmp_path, timeout=0.2) as page:
            check_error(page, "read", DIGIT, 504, "within 0.2 s")


def rejected(status: int) -> dict[str, object]:
    return {"code": status, "type": "SomeError", "message": "the model server's message"}


@pytest.mark.parametrize("status", [400, 413, 415, 501, 504])
def test_rejections_by_the_model_server_are_forwarded(tmp_path: Path, status: int) -> None:
    with stub_model_server(lambda: (status, rejected(status))) as url, running_page(url, tmp_path) as page:
        assert post(page, "read") == (status, rejected(status))


@pytest.mark.parametrize("status", [404, 500, 503])
def test_other_errors_of_the_model_server_are_502(tmp_path: Path, status: int) -> None:
    with stub_model_server(lambda: (status, rejected(status))) as url, running_page(url, tmp_path) as page:
        check_error(page, "read", DIGIT, 502, "the model server's message")


def test_missing_token_is_502_and_names_the_flag(tmp_path: Path) -> None:
    with stub_model_server(lambda: (401, rejected(401))) as url, running_page(url, tmp_path) as page:
        check_error(page, "read", DIGIT, 502, "--token-file")


def test_feedback_folder_that_cannot_be_written_is_500(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with running_page("http://127.0.0.1:1", tmp_path / "file" / "folder") as page:
        check_error(page, "feedback/7", DIGIT, 500, "cannot be written")


def test_full_feedback_folder_is_507_with_the_remedy(tmp_path: Path) -> None:
    with running_page("http://127.0.0.1:1", tmp_path / "stored", quota=Quota(pictures=0)) as page:
        check_error(page, "feedback/7", DIGIT, 507, f"{tmp_path / 'stored'} is full")
        check_error(page, "feedback/7", DIGIT, 507, "--feedback FOLDER")


def test_full_disk_is_507(tmp_path: Path) -> None:
    with running_page("http://127.0.0.1:1", tmp_path) as page, file_size_limit(10):
        check_error(page, "feedback/7", DIGIT, 507, f"{tmp_path} cannot be written: No space left on device")
    assert {path.name for path in tmp_path.iterdir()} <= {FEEDBACK_LABELS, FEEDBACK_LOCK}


def test_the_examples_are_pictures_of_their_digits(page: str) -> None:
    text = requests.get(page, timeout=10).text
    names = re.findall(r'<img src="examples/([^"]+)"', text)
    assert len(names) == len(EXAMPLE_PICTURES)
    assert {name[0] for name in names} == set("0123456789")
    for name in names:
        response = requests.get(f"{page}examples/{name}", timeout=10)
        assert response.headers["Content-Type"] == "image/jpeg"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert normalize_with_count(decode(response.content)).digits == 1


@pytest.mark.parametrize("name", ["x.jpg", "..%2Findex.html", "%2e%2e/app.py"])
def test_no_other_file_is_sent(page: str, name: str) -> None:
    assert requests.get(f"{page}examples/{name}", timeout=10).status_code == 404


def test_a_turned_digit_is_shown_as_the_network_received_it(folder: Path) -> None:
    picture = (EXAMPLES / "9-turned.jpg").read_bytes()
    answer = {**ANSWER, "rotation": 30}
    with stub_model_server(lambda: (200, answer)) as url, running_page(url, folder) as page_url:
        _, body = post(page_url, "read", picture)
    upright = turn(normalize_with_count(decode(picture)), 30).image
    assert body["seen"] == (255 * upright).round().astype(int).tolist()
    assert body["seen"] != (255 * from_bytes(picture)).round().astype(int).tolist()
