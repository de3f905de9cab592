"""The servers that are compared: what they need, how they are started, where and what they are asked."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mnist_lightning.loadtest.generators import Target

OURS = "ours"
OURS_PATH = "/predictions/mnist"


@dataclass(frozen=True)
class Peer:
    """A server. In its commands {python}, {store}, {folder} and {port} are filled in; the last one serves."""

    commands: tuple[str, ...]
    path: str = "/predict"
    needs: tuple[str, ...] = ()  # packages, by the names that they are imported by
    envelope: Callable[[str], object] | None = None  # a picture in base64 -> the JSON to post; None posts its bytes
    reads: bool = True  # and not only answers

    def target(self, port: int, pictures: list[bytes]) -> Target:
        """Where it is asked, and what."""
        url = f"http://127.0.0.1:{port}{self.path}"
        if self.envelope is None:
            return Target(url, pictures)
        wrapped = [self.envelope(base64.b64encode(picture).decode()) for picture in pictures]
        return Target(url, [json.dumps(one).encode() for one in wrapped], "application/json")


PEERS: Mapping[str, Peer] = {
    OURS: Peer(("{python} -m mnist_lightning.serve --port {port} --store {store}",), OURS_PATH),
    "ours-latency": Peer(
        ("{python} -m mnist_lightning.serve --port {port} --store {store} --profile latency",), OURS_PATH
    ),
    "empty-handler": Peer(
        (
            "{python} -m benchmarks.peers.archives empty {folder}",
            "{python} -m mnist_lightning.serve --port {port} --store {folder}",
        ),
        OURS_PATH,
        reads=False,
    ),
    "torchserve": Peer(
        (
            "{python} -m benchmarks.peers.archives classic {folder} {port}",
            "{python} -m ts.model_server --start --foreground --ncs --disable-token-auth --model-store {folder} "
            "--models mnist=mnist.mar --ts-config {folder}/config.properties",
        ),
        OURS_PATH,
    ),
    "flask": Peer(
        ("{python} -m gunicorn --workers 2 --bind 127.0.0.1:{port} benchmarks.peers.flask_app:create_app()",),
        needs=("flask", "gunicorn"),
    ),
    "fastapi": Peer(
        (
            "{python} -m uvicorn --workers 2 --port {port} --log-level warning "
            "--factory benchmarks.peers.fastapi_app:create_app",
        ),
        needs=("fastapi", "uvicorn"),
    ),
    "litserve": Peer(
        ("{python} -m benchmarks.peers.litserve_app {port}",),
        needs=("litserve",),
        envelope=lambda image: {"image": image},
    ),
    "bentoml": Peer(
        ("{python} -m bentoml serve benchmarks.peers.bento_app:Digits --host 127.0.0.1 --port {port}",),
        needs=("bentoml",),
        envelope=lambda image: {"pictures": [image]},
    ),
    "mlflow": Peer(
        (
            "{python} -m benchmarks.peers.mlflow_model {folder}/model",
            "{python} -m mlflow models serve --model-uri {folder}/model --env-manager local --host 127.0.0.1 "
            "--port {port} --workers 2",
        ),
        "/invocations",
        needs=("mlflow",),
        envelope=lambda image: {"inputs": [image]},
    ),
}
