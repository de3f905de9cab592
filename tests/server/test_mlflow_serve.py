"""The champion behind MLflow's own server."""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
from PIL import Image

from mnist_lightning.common.constants import LOOPBACK
from mnist_lightning.serving.torchserve import Server, free_port
from mnist_lightning.tracking import registry, runs, served_model
from tests.mlflow_stores import log_training, open_store
from tests.small_archive import build_small
from tests.support import PROJECT, SEVEN, TIMEOUT

EXAMPLES = PROJECT / "mnist_lightning" / "web" / "examples"
TWO_SEVENS = cv2.imencode(".png", np.hstack([np.asarray(Image.open(SEVEN).convert("L"))] * 2))[1].tobytes()
PICTURES = [SEVEN.read_bytes(), (EXAMPLES / "9-turned.jpg").read_bytes(), TWO_SEVENS]
BASE64 = [base64.b64encode(picture).decode() for picture in PICTURES]


@pytest.fixture(scope="module")
def url(mlflow_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `mlflow models serve -m models:/mnist@champion`, started as the documentation says."""
    folder = tmp_path_factory.mktemp("mlflow")
    store = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", store)
        with open_store(mlflow_tables, folder / "mlflow.db"):
            build_small(folder)
            with runs.run("comparison") as parent:
                run_id = log_training(parent, "SGD")
            served_model.log(run_id, folder / "parts")
            registry.make_champion(registry.register(run_id))
    port = free_port()
    options = ["-m", "models:/mnist@champion", "--env-manager", "local", "--host", LOOPBACK, "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow starts uvicorn from there
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mlflow", "models", "serve", *options],
            cwd=folder,
            env={**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://{LOOPBACK}:{port}"
    try:
        _wait(process, address, folder / "log.txt")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(TIMEOUT)


def _wait(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    while True:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(f"{address}/ping", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)


def invoke(url: str, body: object) -> list[dict[str, Any]]:
    response = requests.post(f"{url}/invocations", json=body, timeout=TIMEOUT)
    assert response.status_code == 200, response.text
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["image"], "data": [[picture] for picture in BASE64]}},
        {"dataframe_records": [{"image": picture} for picture in BASE64]},
        {"instances": BASE64},
        {"inputs": BASE64},
        {"inputs": {"image": BASE64}},
    ],
)
def test_mlflows_server_answers_as_this_projects_server(body: dict[str, Any], url: str, server: Server) -> None:
    theirs = invoke(url, body)
    assert (theirs[0]["number"], theirs[2]["number"]) == ("7", "77")
    for picture, answer in zip(PICTURES, theirs, strict=True):
        own = requests.post(f"{server.url}/predictions/mnist", data=picture, timeout=TIMEOUT).json()
        assert {name: answer[name] for name in own} == own
        assert not any(answer[name] for name in set(answer) - set(own))


def test_pictures_as_numbers(url: str) -> None:
    digit = np.zeros((28, 28), int)
    digit[4:24, 13:16] = 255
    for body in ({"instances": [digit.ravel().tolist()]}, {"inputs": [digit.tolist(), (digit / 255).tolist()]}):
        assert {answer["number"] for answer in invoke(url, body)} == {"1"}


def test_an_unreadable_picture_is_an_error_of_the_client(url: str) -> None:
    body = {"dataframe_records": [{"image": BASE64[0]}, {"image": "a letter"}]}
    response = requests.post(f"{url}/invocations", json=body, timeout=TIMEOUT)
    assert response.status_code == 400
    assert response.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert "Error: image[1]: a string must be the base64 of a picture file" in response.json()["message"]
    answers = invoke(url, {**body, "params": {"on_error": "report"}})
    assert [(answer["number"], bool(answer["error"])) for answer in answers] == [("7", False), ("", True)]


def test_another_column_is_refused_by_name(url: str) -> None:
    body = {"dataframe_records": [{"picture": BASE64[0]}]}
    response = requests.post(f"{url}/invocations", json=body, timeout=TIMEOUT)
    assert response.status_code == 400
    assert "missing inputs ['image']" in response.json()["message"]
