"""TorchServe's handler: bytes -> preprocessing -> network -> answer, each item of a batch for itself."""

import base64
import binascii
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_lightning.network import DigitNet
from mnist_lightning.preprocessing import BadPictureError, from_bytes, from_numbers

ACCEPTED = (
    "send a picture as the raw body or as a multipart field, "
    'or JSON {"image": "<base64>"} or {"image": [784 numbers from 0 to 255]}'
)


class DigitHandler:
    """Reads pictures of digits. One bad picture gets its own 400; its neighbours get their answers."""

    def initialize(self, context: Any) -> None:
        """Load the network from the archive's folder and answer once, so that the first client does not wait."""
        logging.getLogger().setLevel(logging.WARNING)  # the worker logs several lines a request otherwise
        folder = Path(context.system_properties["model_dir"])
        weights = folder / context.manifest["model"]["serializedFile"]
        self.network = DigitNet.of(torch.load(weights, weights_only=True, map_location="cpu"))
        self.inference(np.zeros((1, 28, 28), dtype=np.float32))

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """A batch of requests -> as many JSON answers, in order."""
        pictures = [self.preprocess(item) for item in data]
        good = [picture for picture in pictures if not isinstance(picture, BadPictureError)]
        rows = iter(self.inference(np.stack(good)) if good else ())
        return [
            self.refuse(picture, context, index)
            if isinstance(picture, BadPictureError)
            else self.postprocess(next(rows), context, index)
            for index, picture in enumerate(pictures)
        ]

    def preprocess(self, item: dict[str, Any]) -> NDArray[np.float32] | BadPictureError:
        """One request -> (28, 28) floats in [0, 1], or what is wrong with it."""
        try:
            return read_body(item)
        except BadPictureError as error:
            return error

    @torch.inference_mode()
    def inference(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, 28, 28) floats in [0, 1] -> (B, 10) probabilities."""
        logits = self.network(torch.from_numpy(pictures).unsqueeze(1))
        probabilities: NDArray[np.float32] = logits.softmax(dim=1).numpy()
        return probabilities

    def postprocess(self, probabilities: NDArray[np.float32], context: Any, index: int) -> bytes:
        """(10,) probabilities -> the answer as JSON."""
        context.set_response_content_type(index, "application/json")
        rounded = [round(float(p), 6) for p in probabilities]
        digit = int(probabilities.argmax())
        answer = {"prediction": digit, "confidence": rounded[digit], "probabilities": rounded}
        return json.dumps(answer).encode()

    def refuse(self, error: BadPictureError, context: Any, index: int) -> bytes:
        """A 400 for one item. gRPC drops the status, so the body says it too."""
        context.set_response_status(400, "Bad Request", index)
        context.set_response_content_type(index, "application/json")
        body = {"code": 400, "type": type(error).__name__, "message": f"{error}; {ACCEPTED}"}
        return json.dumps(body).encode()


def read_body(item: dict[str, Any]) -> NDArray[np.float32]:
    """What TorchServe makes of one request -> (28, 28). Raises BadPictureError."""
    parts = [value for value in item.values() if value]
    if len(parts) != 1:
        raise BadPictureError(f"one picture is expected, but the request has {len(parts)} parts")
    body = parts[0]
    if isinstance(body, dict):
        return read_json(body)
    if isinstance(body, bytes | bytearray | memoryview):
        return from_bytes(bytes(body))
    raise BadPictureError(f"the body is {type(body).__name__}, not a picture")


def read_json(body: dict[str, Any]) -> NDArray[np.float32]:
    """{"image": base64 or 784 numbers} -> (28, 28). Raises BadPictureError."""
    image = body.get("image")
    if isinstance(image, list):
        return from_numbers(image)
    if not isinstance(image, str):
        raise BadPictureError('the JSON has no "image" that is a text or a list')
    try:
        return from_bytes(
            base64.b64decode(image.partition(",")[2] if image.startswith("data:") else image, validate=True)
        )
    except binascii.Error as error:
        raise BadPictureError(f'"image" is not base64: {error}') from error
