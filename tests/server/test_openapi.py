"""config/openapi.yaml is a valid document, and a running server conforms to it."""

import base64
import io
from typing import Any

import numpy as np
import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig

from mnist_lightning.serving.torchserve import Server
from mnist_lightning.web.app import EXAMPLES
from tests.pictures import bars, encode_png
from tests.support import PROJECT, SEVEN

PATH = PROJECT / "config/openapi.yaml"
CONFIG = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": ["4xx"]}}})
SCHEMA = schemathesis.openapi.from_path(PATH, config=CONFIG)
DIGIT = SEVEN.read_bytes()
BASE64 = base64.b64encode(DIGIT).decode()
NUMBER = encode_png(bars(2, 3))  # 111 above 111
BASE64_NUMBER = base64.b64encode(NUMBER).decode()
NUMBERS = np.asarray(Image.open(io.BytesIO(DIGIT)).convert("L").resize((28, 28))).tolist()
# All checks except those of paths and methods: PUT, HEAD and OPTIONS, which the document leaves out, are answered.
ANSWERS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
CHECKED: Any = CHECKS.get_by_names([*ANSWERS, "negative_data_rejection"])


@pytest.fixture(scope="module", autouse=True)
def media_types() -> None:
    """Pictures that schemathesis sends: a valid one, truncated ones, arbitrary bytes."""
    files = (
        st.sampled_from([DIGIT, NUMBER])
        | st.integers(0, len(DIGIT)).map(lambda size: DIGIT[:size])
        | st.binary(max_size=50)
    )
    for name in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(name, files)


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(yaml.safe_load(PATH.read_text())).validate()


@SCHEMA.parametrize()
@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_generated_requests_get_documented_answers(case: schemathesis.Case[Any], server: Server) -> None:
    case.call_and_validate(base_url=server.url, checks=CHECKED, timeout=30)


def tensor(datatype: str, shape: list[int], data: list[Any]) -> dict[str, object]:
    return {"id": "a", "inputs": [{"name": "x", "shape": shape, "datatype": datatype, "data": data}]}


VALID: list[tuple[str, dict[str, Any]]] = [
    ("/predictions/mnist", {"data": DIGIT, "headers": {"Content-Type": "image/png"}}),
    ("/predictions/mnist", {"files": {"data": DIGIT}}),
    ("/predictions/mnist", {"files": [("data", DIGIT), ("data", DIGIT)]}),
    ("/predictions/mnist", {"json": {"image": NUMBERS}}),
    ("/predictions/mnist", {"json": {"instances": [BASE64, {"image_bytes": {"b64": BASE64}}]}}),
    ("/predictions/mnist", {"json": tensor("BYTES", [2], [BASE64, BASE64])}),
    ("/explanations/mnist", {"data": DIGIT, "headers": {"Content-Type": "image/png"}}),
    ("/explanations/mnist", {"json": {"instances": [NUMBERS]}}),
    ("/explanations/mnist", {"json": tensor("BYTES", [2], [BASE64, BASE64])}),
    ("/v1/models/mnist:predict", {"json": {"instances": [NUMBERS, BASE64]}}),
    ("/v2/models/mnist/infer", {"json": tensor("UINT8", [1, 28, 28], [NUMBERS])}),
    ("/predictions/mnist", {"data": NUMBER, "headers": {"Content-Type": "image/png"}}),
    ("/predictions/mnist", {"files": [("data", DIGIT), ("data", NUMBER)]}),
    ("/predictions/mnist", {"json": tensor("BYTES", [3], [BASE64, BASE64_NUMBER, BASE64_NUMBER])}),
    ("/explanations/mnist", {"data": NUMBER, "headers": {"Content-Type": "image/png"}}),
    ("/explanations/mnist", {"json": {"instances": [NUMBERS, BASE64_NUMBER]}}),
    ("/explanations/mnist", {"json": tensor("BYTES", [2], [BASE64, BASE64_NUMBER])}),
    ("/v1/models/mnist:predict", {"json": {"instances": [NUMBERS, BASE64_NUMBER]}}),
    ("/v2/models/mnist/infer", {"json": tensor("BYTES", [2], [BASE64_NUMBER, BASE64])}),
]


@pytest.mark.parametrize(
    "path", [path for path, item in yaml.safe_load(PATH.read_text())["paths"].items() if "get" in item]
)
def test_every_get_is_answered_as_documented(path: str, server: Server) -> None:
    answer = requests.get(server.url + path, timeout=30)
    assert answer.status_code == 200, answer.text
    SCHEMA[path]["GET"].validate_response(answer)


@pytest.mark.parametrize(("path", "request_"), VALID, ids=lambda value: str(value)[:40])
def test_valid_requests_get_documented_answers(path: str, request_: dict[str, Any], server: Server) -> None:
    answer = requests.post(server.url + path, timeout=30, **request_)
    assert answer.status_code == 200, answer.text
    SCHEMA[path]["POST"].validate_response(answer)


def test_the_names_of_tensors_are_all_in_use(server: Server) -> None:
    """By a number in several lines, a turned digit and what is no digit, explained."""
    schema = yaml.safe_load(PATH.read_text())["components"]["schemas"]["OutputName"]["enum"]
    turned = base64.b64encode((EXAMPLES / "9-turned.jpg").read_bytes()).decode()
    request_ = tensor("BYTES", [2], [BASE64_NUMBER, turned])
    answer = requests.post(f"{server.url}/explanations/mnist", json=request_, timeout=30).json()
    assert {output["name"] for output in answer["outputs"]} == set(schema)
