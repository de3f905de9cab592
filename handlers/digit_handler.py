"""TorchServe's handler: requests -> pictures -> network -> answers, each request of a batch for itself."""

import gc
import json
import logging
import traceback
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lightning.inference import prediction, timeout, torchserve_patches
from mnist_lightning.inference.errors import InternalError, TooManyPicturesError, UnexplainedError, told
from mnist_lightning.inference.loader import WARM, Model, loaded
from mnist_lightning.inference.metrics import Counts
from mnist_lightning.inference.protocols import Answer, Request, read
from mnist_lightning.inference.reload import Renewal
from mnist_lightning.preprocessing.decode import BadPictureError

Item = dict[str, Any]


class DigitHandler:
    """Reads pictures of digits. A bad request gets its own 4xx; its neighbours get their answers."""

    def initialize(self, context: Any) -> None:
        """Load the network from the archive's folder and answer once, so that the first client does not wait."""
        logging.getLogger().setLevel(logging.WARNING)  # the worker logs several lines a request otherwise
        torchserve_patches.mend()
        timeout.install()
        folder = Path(context.system_properties["model_dir"])
        weights = folder / context.manifest["model"]["serializedFile"]
        self.counts = Counts(getattr(context, "metrics", None))
        self.take(loaded(weights))
        self.renewal = Renewal(weights, loaded)
        gc.collect()
        gc.freeze()  # what is there by now stays; going through it again and again would stop a request for long
        self.counts.start()
        self.renewal.start()

    def take(self, model: Model) -> None:
        """Answer with this one from now on."""
        self.model = model
        self.counts.model(model.name)

    def handle(self, data: list[Item], context: Any) -> list[bytes]:
        """A batch of requests -> as many JSON bodies, in order. All pictures go through the network in one go."""
        if (model := self.renewal.pending()) is not None:
            self.take(model)
        requests = [self.preprocess(item, context, index) for index, item in enumerate(data)]
        seen = [one for request in requests if isinstance(request, Request) for one in request.seen]
        pictures = [one.picture for one in seen]
        answers = (
            prediction.answers(*self.inference(np.stack(pictures)), self.model.threshold, seen) if pictures else []
        )
        self.counts.batch(len(data), answers)
        coming = iter(answers)
        return [self.postprocess(request, coming, context, index) for index, request in enumerate(requests)]

    def preprocess(self, item: Item, context: Any, index: int) -> Request | Exception:
        """One request -> its pictures, or what is wrong with it."""
        try:
            with timeout.limited():
                return read(item, context.get_all_request_header(index))
        except BadPictureError as error:
            return bare(error)
        except Exception as error:  # the boundary: whatever one request does to us, its neighbours are answered
            return logged(error)

    def inference(self, pictures: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(B, 28, 28) floats in [0, 1] -> (B, 10) probabilities of the digits, (B,) of being a digit at all."""
        return prediction.predict_with_ood(self.model.fast, pictures, WARM)

    def postprocess(self, request: Request | Exception, answers: Iterator[Answer], context: Any, index: int) -> bytes:
        """A request and the answers to come -> its body, its status and its Content-Type."""
        context.set_response_content_type(index, "application/json")
        if isinstance(request, Request):
            own = list(islice(answers, len(request.pictures)))
            try:
                # Of each request for itself: TorchServe's own handlers look at the first of a batch only.
                if context.get_request_header(index, "explain") == "True":
                    own = self.explain(request.pictures, own)
                return json.dumps(request.write(own)).encode()
            except (BadPictureError, UnexplainedError) as error:
                request = bare(error)
            except Exception as error:  # the boundary, as above
                request = logged(error)
        self.counts.refusal(request)
        status, body = told(request)
        context.set_response_status(status, HTTPStatus(status).phrase, index)
        return body

    def explain(self, pictures: list[NDArray[np.float32]], answers: list[Answer]) -> list[Answer]:
        """The answers, each with what the network saw, 0 to 255, and what spoke for the answer: 28 rows of 28 each."""
        try:
            from mnist_lightning.inference.attribution import MAX_PICTURES, attributions
        except ImportError as error:
            raise UnexplainedError(f"this server makes no explanations: {error}; pip install captum") from error
        if len(pictures) > MAX_PICTURES:
            raise TooManyPicturesError(f"{len(pictures)} pictures; at most {MAX_PICTURES} are explained at once")
        seen = np.stack(pictures)
        shares = attributions(self.model.network, seen, np.array([answer["prediction"] for answer in answers]))
        rows = (seen * 255).round().astype(np.int64).tolist(), shares.astype(np.float64).round(4).tolist()
        return [
            {**answer, "seen": picture, "explanation": share}
            for answer, picture, share in zip(answers, *rows, strict=True)
        ]


def bare(error: Exception) -> Exception:
    """The error without the frames it went through: they hold its picture and, by their caller, the error itself.

    Python frees such a circle only now and then; thousands of refused pictures would stay in memory until it does.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def logged(error: Exception) -> InternalError:
    """A fault of ours, with the place where it happened in the log; its message may quote the body, and is left out."""
    place = "".join(traceback.format_tb(error.__traceback__))
    logging.getLogger(__name__).error("%s in a request:\n%s", type(error).__name__, place)
    return InternalError("the server failed on this request; its log says where")
