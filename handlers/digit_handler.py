"""TorchServe's handler: preprocess requests, run one inference for the whole batch, postprocess each answer."""

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lightning.inference import prediction, torchserve_patches
from mnist_lightning.inference.canary import client_key
from mnist_lightning.inference.errors import (
    TooLargeAnswerError,
    TooManyPicturesError,
    UnexplainedError,
    error_response,
    internal_error,
    strip_traceback,
)
from mnist_lightning.inference.loader import Model, load_model
from mnist_lightning.inference.metrics import MetricsBuffer, worker_name
from mnist_lightning.inference.open_inference import HEADER_LENGTH, encode
from mnist_lightning.inference.prediction import Answer, Reading
from mnist_lightning.inference.protocols import Request, parse_request
from mnist_lightning.inference.reload import FileReloader
from mnist_lightning.inference.rollout import Answers, load_rollout
from mnist_lightning.inference.timeout import (
    BATCH_SECONDS,
    HEIF_SECONDS,
    MIN_SECONDS,
    REQUEST_SECONDS,
    CpuBudget,
    install_handler,
)
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.heif import begin_request, limit_batch
from mnist_lightning.preprocessing.normalize import NormalizedImage

Item = dict[str, Any]
Images = NDArray[np.float32]
Limit = Callable[..., AbstractContextManager[None]]  # CpuBudget.spend, for the batch
MODEL_HEADER = "X-Model-Digest"  # of a response: the first digits of the SHA-256 of the weights that made it
MAX_ANSWER_BYTES = 1 << 20  # TorchServe ends a worker whose answers exceed max_response_size


class DigitHandler:
    """Classifies pictures of digits. An invalid request gets its own 4xx; the others of its batch get their answers."""

    def initialize(self, context: Any) -> None:
        """Load the model from the archive's folder and warm it up, so that the first client does not wait."""
        logging.getLogger().setLevel(logging.WARNING)  # the worker logs several lines a request otherwise
        torchserve_patches.apply_patches()
        install_handler()
        exported = Path(context.system_properties["model_dir"], context.manifest["model"]["serializedFile"])
        self.metrics = MetricsBuffer(getattr(context, "metrics", None), worker_name(sys.argv))
        self.reloader = FileReloader(exported, partial(load_model, folder=exported.parent))
        self.rollout = load_rollout(exported.parent, self.metrics)
        self._switch_model()
        gc.collect()
        gc.freeze()  # what is loaded stays; collecting through it again would delay a request
        self.metrics.start()
        self.reloader.start()
        if self.rollout is not None:
            self.rollout.start()

    def handle(self, data: list[Item], context: Any) -> list[bytes]:
        """Answer a batch of requests with as many JSON bodies, in order. All pictures share their inferences."""
        self._switch_model()
        batch = CpuBudget(BATCH_SECONDS)
        limits = [partial(CpuBudget(REQUEST_SECONDS).spend, batch) for _ in data]
        with limit_batch(HEIF_SECONDS):
            requests = [self.preprocess(item, context, index, limits[index]) for index, item in enumerate(data)]
        images = [request.images if isinstance(request, Request) else [] for request in requests]
        answers = self.answer(images, data, context)
        readings = [
            reading
            for request, found in zip(requests, answers.readings, strict=True)
            if not (isinstance(request, Request) and request.is_probe)
            for reading in found
        ]
        self.metrics.batch(len(data), [reading.answer for reading in readings])
        self.metrics.features(readings)
        return [
            self.postprocess(request, answers, context, index, limits[index]) for index, request in enumerate(requests)
        ]

    def preprocess(self, item: Item, context: Any, index: int, limit: Limit) -> Request | Exception:
        """Parse a request and normalize its pictures; the error if that fails."""
        begin_request()
        try:
            with limit(minimum=MIN_SECONDS):
                return parse_request(item, context.get_all_request_header(index))
        except BadPictureError as error:
            return strip_traceback(error)
        except Exception as error:  # the boundary: one request's failure must not reach the others of its batch
            return internal_error(error)

    def answer(self, images: list[list[NormalizedImage]], data: list[Item], context: Any) -> Answers:
        """Read the pictures of each request; with the challenger, if the server has one and the client is its."""
        if self.rollout is None:
            return Answers(self.read(images))
        return self.rollout.answer(
            self.read, images, lambda index: client_key(context.get_all_request_header(index), data[index])
        )

    def read(self, images: Sequence[Sequence[NormalizedImage]]) -> list[list[Reading]]:
        """Read the pictures of each request with the champion."""
        return prediction.read(images, self.inference, self.model.threshold)

    def inference(self, images: Images) -> tuple[Images, Images]:
        """(B, 28, 28) floats in [0, 1] -> (B, 10) probabilities of the digits, (B,) of showing a digit."""
        return self.model.predict(images)

    def postprocess(
        self, request: Request | Exception, answered: Answers, context: Any, index: int, limit: Limit
    ) -> bytes:
        """The body of one response, built from the readings of its pictures; sets its status and headers."""
        context.set_response_content_type(index, "application/json")
        if isinstance(request, Request):
            readings, model = answered.readings[index], self._model_of(answered, index)
            context.set_response_header(index, MODEL_HEADER, model.digest)
            answers = [reading.answer for reading in readings]
            try:
                # For each request separately: TorchServe's own handlers look at the first of a batch only.
                if context.get_request_header(index, "explain") == "True":
                    answers = self.explain([reading.image for reading in readings], answers, limit, model)
                body, json_length = encode(request.format(answers))
                if len(body) <= MAX_ANSWER_BYTES:
                    if json_length is not None:
                        context.set_response_content_type(index, "application/octet-stream")
                        context.set_response_header(index, HEADER_LENGTH, str(json_length))
                    return body
                raise TooLargeAnswerError(f"the answer has {len(body):,} bytes; the limit is {MAX_ANSWER_BYTES:,}")
            except (BadPictureError, UnexplainedError) as error:
                request = strip_traceback(error)
            except Exception as error:  # the boundary, as above
                request = internal_error(error)
        self.metrics.error(request)
        status, body = error_response(request)
        context.set_response_status(status, HTTPStatus(status).phrase, index)
        return body

    def explain(self, images: list[NormalizedImage], answers: list[Answer], limit: Limit, model: Model) -> list[Answer]:
        """The answers, each, and each of its digits, with `seen`, the model's input in 0..255, and `explanation`."""
        torchserve_patches.use_torch()
        try:
            from mnist_lightning.inference.attribution import MAX_PICTURES, attribute, load
        except ImportError as error:
            message = f"this server cannot explain answers: {error}; pip install captum torch"
            raise UnexplainedError(message) from error
        explained = [part for answer in answers for part in (answer, *answer.get("digits", []))]
        if len(explained) > MAX_PICTURES:
            message = f"{len(explained)} pictures and digits of numbers; the limit for explanations is {MAX_PICTURES}"
            raise TooManyPicturesError(message)
        network = load(model.weights)  # the first explanation pays for it, with no limit of time
        with limit():
            inputs = np.stack([part for image in images for part in _model_inputs(image)])
            contributions = attribute(network, inputs, np.array([part["prediction"] for part in explained]))
        pixels = (inputs * 255).round().astype(np.int64).tolist()
        rows = contributions.astype(np.float64).round(4).tolist()
        fields = ({"seen": seen, "explanation": row} for seen, row in zip(pixels, rows, strict=True))
        return [_with_explanations(answer, fields) for answer in answers]

    def _model_of(self, answered: Answers, index: int) -> Model:
        """The model that has answered a request."""
        if self.rollout is not None and index in answered.by_challenger:
            return self.rollout.challenger
        return self.model

    def _switch_model(self) -> None:
        """Take the model that was loaded since the last batch, if any."""
        model: Model | None = self.reloader.take_new()
        if model is not None:
            self.model = model
            self.metrics.model(model.digest)
            self.metrics.reference(model.reference)


def _model_inputs(image: NormalizedImage) -> Iterator[Images]:
    """A picture as the network receives it, and each digit of its number, (28, 28)."""
    yield image.image
    if image.number is not None:
        yield from (digit.image() for digit in image.number.digits)


def _with_explanations(answer: Answer, fields: Iterator[Item]) -> Answer:
    """An answer with the next fields, and each of its digits with those that follow."""
    own = {**answer, **next(fields)}
    return own | {"digits": [{**digit, **next(fields)} for digit in answer["digits"]]} if "digits" in answer else own
