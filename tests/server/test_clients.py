"""Clients of other projects as they come: each row names the client with its version, a call, and what it expects."""

import gzip
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from mnist_lightning.datasets import mnist
from mnist_lightning.inference.open_inference import OUTPUTS
from mnist_lightning.serving.config import GRPC_OFFSETS, OFFSETS
from mnist_lightning.serving.torchserve import Server
from tests.support import PROJECT, SEVEN

REQUIREMENTS = PROJECT / "tests/server/requirements-clients.txt"
VERSIONS = dict(re.findall(r"^([\w-]+)==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE))
ATTEMPTS = 3  # to install them
Client = Callable[[str], Any]  # the outcome of a call, by its name

METADATA = {
    **{"name": "mnist", "versions": ["1.0"], "input": "images"},
    **{name: [output.datatype, -1, *output.shape] for name, output in OUTPUTS.items()},
}
READY = dict.fromkeys(("is_server_live", "is_server_ready", "is_model_ready"), True)
TRITON = {
    **READY,
    "is_model_ready 1.0": True,
    "get_server_metadata": True,
    "get_model_metadata": METADATA,
    **dict.fromkeys(("infer", "infer 1.0", "infer uint8", "infer compressed"), 1),
    "infer outputs": ["é 1", ["7", "7"], [2, 10], [0, 4]],
}
KSERVE_V2 = {**READY, "infer binary": 1, "infer JSON": 1, "infer a file": 7}
SHAPE = re.compile(r"BadTensorError: the tensor's shape is \[2, 3\]")
# A pattern stands for an error with a message that has it.
EXPECTED: Mapping[str, Mapping[str, Any]] = {
    "tritonclient-http": {
        **TRITON,
        "infer JSON": 1,
        "is_model_ready 9.9": False,
        "infer a wrong shape": SHAPE,
        "infer another model": re.compile(r"\[404\] ModelNotFoundError: Model not found: nobody"),
    },
    "tritonclient-grpc": {
        **TRITON,
        "is_model_ready 9.9": re.compile(r"NOT_FOUND\] Model version: 9.9"),
        "infer a wrong shape": re.compile(rf"INVALID_ARGUMENT\] {SHAPE.pattern}"),
        "infer another model": re.compile(r"NOT_FOUND\] Model not found: nobody"),
    },
    "kserve-v1": dict.fromkeys(("is_server_live", "is_model_ready", "infer", "explain"), True),
    "kserve-v2": {**KSERVE_V2, "infer a wrong shape": SHAPE},
    "kserve-grpc": {**KSERVE_V2, "infer a wrong shape": re.compile(rf"INVALID_ARGUMENT(.|\n)*{SHAPE.pattern}")},
}
ROWS = [(client, call) for client, calls in EXPECTED.items() for call in calls]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the clients; skips, with a warning, if they cannot be had."""
    folder = tmp_path_factory.mktemp("clients") / "env"
    found, uv = folder / "bin/python", Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", found, "-r", REQUIREMENTS]
    for _ in range(ATTEMPTS):
        done = subprocess.run(install, cwd=PROJECT, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode == 0:
            return found
    reason = f"NOT TESTED: clients of other projects cannot be installed: {done.stderr.strip()[-300:]}"
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn(reason, stacklevel=1)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def outcomes(python: Path, server: Server) -> Callable[[str], Mapping[str, Any]]:
    """The outcomes of a client's calls. Each client is a process of its own: two of them define the same messages."""
    grpc = f"127.0.0.1:{(urlsplit(server.url).port or 0) + GRPC_OFFSETS['grpc_inference']}"
    found: dict[str, Mapping[str, Any]] = {}

    def run(client: str) -> Mapping[str, Any]:
        if client not in found:
            command: list[str | Path] = [
                python,
                PROJECT / "tests/server/foreign_clients.py",
                client,
                server.url,
                grpc,
                SEVEN,
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
            found[client] = json.loads(done.stdout)
        return found[client]

    return run


def label(client: str) -> str:
    name, kind = client.split("-")
    return f"{name} {VERSIONS[name]} {kind}"


@pytest.mark.parametrize(("client", "call"), ROWS, ids=[f"{label(client)}, {call}" for client, call in ROWS])
def test_a_client_gets_what_it_expects(client: str, call: str, outcomes: Callable[[str], Mapping[str, Any]]) -> None:
    outcome, expected = outcomes(client)[call], EXPECTED[client][call]
    if isinstance(expected, re.Pattern):
        assert expected.search(outcome["message"]), outcome
    elif client == "kserve-v1" and call in ("infer", "explain"):
        [answer] = outcome["predictions"]
        assert answer["prediction"] == 1
        assert ("explanation" in answer) == (call == "explain")
    else:
        assert outcome == expected


# Requests of programs and examples, sent by requests


@pytest.fixture(scope="module")
def zero(mnist_folder: Path) -> Any:
    """MNIST's eleventh test digit, from 0 to 1 with four decimals, as KServe's example for TorchServe has it."""
    return (mnist.load(mnist_folder, train=False)[0][10, 0].numpy() / 255).round(4)


def tensor(values: Any) -> dict[str, Any]:
    data = {"name": "input-0", "shape": list(values.shape), "datatype": "FP32", "data": values.tolist()}
    return {"id": "d3b15cad-50a2-4eaf-80ce-8b0a428bd298", "inputs": [data]}


BODIES: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "784 numbers from 0 to 1": ("predictions/mnist", lambda zero: {"image": zero.ravel().tolist()}),
    "28 rows from 0 to 1": ("predictions/mnist", lambda zero: {"image": zero.tolist()}),
    "Keras' shape [1, 28, 28, 1]": ("predictions/mnist", lambda zero: {"image": zero[None, ..., None].tolist()}),
    "TensorFlow Serving's instances": (
        "v1/models/mnist:predict",
        lambda zero: {"instances": [zero[..., None].tolist()]},
    ),
    "KServe's mnist_v2_tensor.json": ("v2/models/mnist/infer", lambda zero: tensor(zero[None])),
    "… of a version": ("v2/models/mnist/versions/1.0/infer", lambda zero: tensor(zero[None])),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("what", BODIES, ids=[f"requests {requests.__version__}, {what}" for what in BODIES])
def test_published_requests_are_answered(what: str, compressed: bool, zero: Any, server: Server) -> None:
    path, make = BODIES[what]
    body = json.dumps(make(zero)).encode()
    encoding = {"Content-Encoding": "gzip"} if compressed else {}
    headers = {"Content-Type": "application/json", **encoding}
    content = gzip.compress(body) if compressed else body
    answer = requests.post(f"{server.url}/{path}", content, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    if "outputs" in found:
        assert found["id"] == "d3b15cad-50a2-4eaf-80ce-8b0a428bd298"
        assert found["outputs"][0] == {"name": "prediction", "shape": [1], "datatype": "INT64", "data": [0]}
    else:
        assert (found["predictions"][0] if "predictions" in found else found)["prediction"] == 0


def test_a_form_with_a_text_field_is_answered(server: Server) -> None:
    files = {"data": SEVEN.read_bytes()}
    answer = requests.post(f"{server.url}/predictions/mnist", files=files, data={"comment": "x"}, timeout=30)
    assert answer.json()["prediction"] == 7


# Addresses and methods, and one form of error


def test_the_root_names_addresses_that_exist(server: Server) -> None:
    root = requests.get(server.url, timeout=30).json()
    assert "docs/api.md" in root["documentation"]
    for line in root["addresses"]:
        method, paths = line.split(" ", 1)
        for path in paths.split(", "):
            answer = requests.request(method, server.url + path, data=SEVEN.read_bytes(), timeout=60)
            assert answer.status_code == 200, (line, answer.text)


@pytest.mark.parametrize(
    "path", ["/", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/mnist/", "/v1/models", "/ping"]
)
def test_head_is_get_without_the_body(path: str, server: Server) -> None:
    with requests.Session() as session:
        head, get = (session.request(method, server.url + path, timeout=30) for method in ("HEAD", "GET"))
    assert (head.status_code, get.status_code, head.content) == (200, 200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.content))


@pytest.mark.parametrize("path", ["/predictions/mnist", "/predictions/mnist/1.0", "/v2/models/mnist/infer"])
def test_put_is_post(path: str, server: Server) -> None:
    post, put = (
        requests.request(method, server.url + path, data=SEVEN.read_bytes(), timeout=30) for method in ("POST", "PUT")
    )
    assert (put.status_code, put.json()) == (200, post.json())


PREDICTIONS = ("/predictions/mnist", "/explanations/mnist", "/v1/models/mnist:predict")
REFUSED = [
    *((method, path, 405, "by POST") for method in ("GET", "DELETE", "PATCH") for path in PREDICTIONS),
    *((method, path, 405, "GET and HEAD alone") for method in ("POST", "DELETE") for path in ("/", "/v1/models")),
    ("GET", "/docs", 404, "docs/api.md"),
    ("GET", "/metrics", 404, "metrics are on port "),
    ("GET", "/nothing", 404, "GET / lists"),
    ("POST", "/predictions", 404, "GET / lists"),
    ("POST", "/predictions/nobody", 404, "Model not found: nobody"),
    ("GET", "/v1/models/nobody", 404, "Model not found: nobody"),
    ("POST", "/predictions/mnist/9.9", 404, "9.9"),
    ("GET", "/v1/nothing", 404, "GET / lists"),
    ("POST", "/predictions/mnist", 400, "accepted:"),
]
PROTOCOL = "/v2/models"
REFUSED_V2 = [
    *((method, f"{PROTOCOL}/mnist/infer", 405, "by POST") for method in ("GET", "DELETE")),
    *(("POST", path, 405, "GET and HEAD alone") for path in ("/v2", f"{PROTOCOL}/mnist/ready")),
    ("GET", "/v2/nothing", 404, "GET / lists"),
    ("GET", f"{PROTOCOL}/nobody/ready", 404, "ModelNotFoundError: "),
    ("GET", f"{PROTOCOL}/mnist/versions/9.9", 404, "9.9"),
    ("GET", f"{PROTOCOL}/é", 404, "é"),
    ("POST", f"{PROTOCOL}/mnist/versions/9.9/infer", 404, "9.9"),
    ("POST", f"{PROTOCOL}/mnist/versions/1.0/nothing", 404, "GET / lists"),
    ("POST", f"{PROTOCOL}/mnist/infer", 400, "EmptyBodyError: "),
]


@pytest.mark.parametrize(("method", "path", "status", "text"), [*REFUSED, *REFUSED_V2])
def test_errors_have_one_form_for_each_protocol(method: str, path: str, status: int, text: str, server: Server) -> None:
    answer = requests.request(method, server.url + path, timeout=30)
    error = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")
    if path.startswith("/v2"):
        assert set(error) == {"error"}
    else:
        assert set(error) == {"code", "type", "message"}
        assert error["code"] == status
        assert error["type"].endswith("Error")
    assert text in error.get("error", error.get("message"))
    assert ("Allow" in answer.headers) == (status == 405)


def test_metrics_are_where_the_404_says(server: Server) -> None:
    message = requests.get(f"{server.url}/metrics", timeout=30).json()["message"]
    port = int(re.findall(r"port (\d+)", message)[0])
    assert port == (urlsplit(server.url).port or 0) + OFFSETS["metrics"]
    assert "mnist_request" in requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text


@pytest.mark.parametrize(("path", "allowed"), [("/predictions/mnist", "POST, PUT"), ("/v2/models/mnist", "GET, HEAD")])
def test_options_names_the_methods(path: str, allowed: str, server: Server) -> None:
    answer = requests.options(server.url + path, timeout=30)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Allow"] == f"{allowed}, OPTIONS"


@pytest.mark.parametrize("name", ["mnist-resource", "Mnist-Resource"])
def test_a_client_s_own_header_asks_for_no_resource(name: str, server: Server) -> None:
    answer = requests.post(f"{server.url}/predictions/mnist", SEVEN.read_bytes(), headers={name: "ready"}, timeout=30)
    assert answer.json()["prediction"] == 7
