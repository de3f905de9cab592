"""The servers to compare: the packages they need, the commands that start them, and the requests they take."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mnist_lightning.common.constants import LOOPBACK
from mnist_lightning.loadtest.generators import Target

THIS_PROJECT = "mnist-lightning"
TORCHSERVE_PATH = "/predictions/mnist"
SERVE = "{python} -m mnist_lightning.serve --port {port} --store"


@dataclass(frozen=True)
class Peer:
    """A server.

    In its commands, {python}, {store}, {folder}, {port} and {workers} are replaced; the last command is the server.
    """

    commands: tuple[str, ...]
    path: str = "/predict"
    needs: tuple[str, ...] = ()  # modules of the packages that have to be installed
    envelope: Callable[[str], object] | None = None  # picture in base64 -> JSON to post; None: the file is posted
    classifies: bool = True  # False: the answer does not depend on the picture

    def target(self, port: int, pictures: list[bytes]) -> Target:
        """The URL and the bodies to post."""
        url = f"http://{LOOPBACK}:{port}{self.path}"
        if self.envelope is None:
            return Target(url, pictures)
        wrapped = [self.envelope(base64.b64encode(picture).decode()) for picture in pictures]
        return Target(url, [json.dumps(body).encode() for body in wrapped], "application/json")


PEERS: Mapping[str, Peer] = {
    THIS_PROJECT: Peer((f"{SERVE} {{store}}",), TORCHSERVE_PATH),
    "mnist-lightning-latency": Peer((f"{SERVE} {{store}} --profile latency",), TORCHSERVE_PATH),
    "empty-handler": Peer(
        ("{python} -m benchmarks.peers.archives empty {folder}", f"{SERVE} {{folder}}"),
        TORCHSERVE_PATH,
        classifies=False,
    ),
    "torchserve": Peer(
        (
            "{python} -m benchmarks.peers.archives classic {folder} {port}",
            "{python} -m ts.model_server --start --foreground --ncs --disable-token-auth --model-store {folder} "
            "--models mnist=mnist.mar --ts-config {folder}/config.properties",
        ),
        TORCHSERVE_PATH,
    ),
    "flask": Peer(
        ("{python} -m gunicorn --workers {workers} --bind 127.0.0.1:{port} benchmarks.peers.flask_app:create_app()",),
        needs=("flask", "gunicorn"),
    ),
    "fastapi": Peer(
        (
            "{python} -m uvicorn --workers {workers} --port {port} --log-level warning "
            "--factory benchmarks.peers.fastapi_app:create_app",
        ),
        needs=("fastapi", "uvicorn"),
    ),
    "litserve": Peer(
        ("{python} -m benchmarks.peers.litserve_app {port} {workers}",),
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
            "--port {port} --workers {workers}",
        ),
        "/invocations",
        needs=("mlflow",),
        envelope=lambda image: {"inputs": [image]},
    ),
}
