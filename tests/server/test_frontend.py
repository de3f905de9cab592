"""The front end, which passes HTTP requests to the handler: no request of a client causes a server error."""

import base64
import hashlib
import json
import re
import socket
import zipfile
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from requests import Response

from benchmarks import attacks
from benchmarks.attacks import MULTIPART
from mnist_lightning.serving.torchserve import Server
from tests.support import PROJECT, SEVEN

DIGIT = SEVEN.read_bytes()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON_BODY = json.dumps({"image": base64.b64encode(DIGIT).decode()}).encode()


def post(server: Server, body: bytes, headers: dict[str, str], path: str = "predictions/mnist") -> Response:
    answer = requests.post(f"{server.url}/{path}", data=body, headers=headers, timeout=30)
    assert answer.headers["Content-Type"] == "application/json"
    return answer


def error_message(answer: Response, status: int) -> str:
    """Check that the answer is an error with this status, and return its message."""
    error = answer.json()
    assert (answer.status_code, error["code"]) == (status, status)
    assert set(error) == {"code", "type", "message"}
    return str(error["message"])


@pytest.mark.parametrize("body", [DIGIT, DIGIT + b"%zz&=%", JSON_BODY], ids=["picture", "percent signs", "JSON"])
@pytest.mark.parametrize("headers", [FORM, {"Content-Type": FORM["Content-Type"] + "; charset=UTF-8"}])
def test_curls_default_content_type_is_accepted(server: Server, body: bytes, headers: dict[str, str]) -> None:
    assert post(server, body, headers).json() == post(server, DIGIT, {"Content-Type": "image/png"}).json()


@pytest.mark.parametrize("body", [b"", b"a=1&b=2", b"%", b"&".join([b"a=1"] * 2000)], ids=lambda body: str(body[:8]))
def test_an_html_form_is_rejected(server: Server, body: bytes) -> None:
    assert "accepted:" in error_message(post(server, body, FORM), 400)


def part(headers: str, content: bytes = DIGIT) -> bytes:
    return attacks.part(headers, content) + attacks.END


NAMED = 'Content-Disposition: form-data; name="a"; filename="a"'
MALFORMED = {
    "no name": part("Content-Type: image/png"),
    "an encoding": part(f"{NAMED}\r\nContent-Transfer-Encoding: base64", base64.b64encode(DIGIT)),
    "no part": b"--abc--\r\n",
    "another boundary": part(NAMED).replace(b"abc", b"def"),
    "no end": part(NAMED)[:-40],
    "nothing": b"",
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_multipart_gets_400(server: Server, fault: str) -> None:
    error_message(post(server, MALFORMED[fault], MULTIPART), 400)


def test_malformed_multipart_leaks_no_memory(server: Server) -> None:
    """Java has 256 MB for bodies. TorchServe leaks 9 MB with each of these, and then rejects every large body."""
    body = part("Content-Type: image/png", bytes(9 * 2**20))
    assert {post(server, body, MULTIPART).status_code for _ in range(40)} == {400}


@pytest.mark.parametrize(
    "headers",
    [NAMED, f"{NAMED}\r\nContent-Type: text/plain; charset=no", 'Content-Disposition: form-data; name="a"; filename'],
)
@pytest.mark.parametrize("boundary", ["abc", '"abc"', "abc; charset=utf-8"])
def test_valid_and_unusual_multipart_is_classified(server: Server, headers: str, boundary: str) -> None:
    content_type = {"Content-Type": f"Multipart/Form-Data; boundary={boundary}"}
    assert post(server, part(headers), content_type).json()["prediction"] == 7


def test_fields_of_one_name_are_all_classified(server: Server) -> None:
    files = [("data", ("7.png", DIGIT, "image/png"))] * 3
    answers = requests.post(f"{server.url}/predictions/mnist", files=files, timeout=30).json()
    assert [answer["prediction"] for answer in answers] == [7, 7, 7]


def test_a_body_above_the_limit_gets_413_with_json(server: Server) -> None:
    limit = re.search(r"^max_request_size=(\d+)$", (PROJECT / "config/config.properties").read_text(), re.MULTILINE)
    assert limit is not None
    size = int(limit.group(1))
    message = error_message(post(server, bytes(size + 1), {"Content-Type": "image/png"}), 413)
    assert f"at most {size:,} bytes" in message
    assert "not a picture" in error_message(post(server, bytes(size), {"Content-Type": "image/png"}), 400)


def test_an_announced_body_above_the_limit_need_not_be_sent(server: Server) -> None:
    """curl announces bodies above one megabyte."""
    address = urlsplit(server.url)
    head = "POST /predictions/mnist HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert json.loads(answer.partition("\r\n\r\n")[2])["code"] == 413


@pytest.mark.parametrize("path", ["predictions", "predictions/nobody", "predictions/mnist/9.9", "nowhere"])
def test_unknown_paths_get_404(server: Server, path: str) -> None:
    error_message(post(server, DIGIT, {}, path), 404)


def test_the_jar_is_built_from_the_sources_beside_it() -> None:
    sources = b"".join(path.read_bytes() for path in sorted((PROJECT / "frontend").glob("*.java")))
    source = hashlib.sha256(sources).hexdigest()
    with zipfile.ZipFile(PROJECT / "frontend/frontend.jar") as jar:
        manifest = jar.read("META-INF/MANIFEST.MF").decode().replace("\r\n ", "")
    assert f"Source-SHA-256: {source}" in manifest


def test_the_jar_replaces_only_the_intended_classes() -> None:
    def classes(jar: Path) -> set[str]:
        with zipfile.ZipFile(jar) as archive:
            return {name for name in archive.namelist() if name.endswith(".class") and "$" not in name}

    package = find_spec("ts")
    assert package is not None
    assert package.origin is not None
    torchserve = Path(package.origin).parent / "frontend" / "model-server.jar"
    replaced = classes(PROJECT / "frontend/frontend.jar") & classes(torchserve)
    grpc = {f"org/pytorch/serve/grpcimpl/{name}.class" for name in ("GRPCInterceptor", "OpenInferenceProtocolImpl")}
    names = ("http/HttpRequestHandler", "wlm/ContinuousBatching")
    assert replaced == grpc | {f"org/pytorch/serve/{name}.class" for name in names}


def test_a_path_that_does_not_decode_is_answered(server: Server) -> None:
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/%zz", DIGIT)
    assert connection.getresponse().status == 403  # TorchServe's router
    connection.close()
