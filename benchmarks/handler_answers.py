"""Answer pictures with the handler of a checkout, without TorchServe; a script that `benchmarks.equivalence` runs.

python -P benchmarks/handler_answers.py CHECKOUT MODEL_DIR PICTURES

CHECKOUT is on PYTHONPATH. Prints a JSON list of [status, answer], in the order of the file names in PICTURES. It uses
nothing but the interface between TorchServe and its handlers, which is the same in every version of the project.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from ts.context import Context, RequestProcessor

BATCH_SIZE = 32


def load_handler(checkout: Path, model_dir: Path) -> Any:
    """The initialized DigitHandler of a checkout."""
    spec = importlib.util.spec_from_file_location("digit_handler", checkout / "handlers" / "digit_handler.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{checkout} has no handlers/digit_handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.DigitHandler()
    manifest = json.loads((model_dir / "MAR-INF" / "MANIFEST.json").read_text())
    handler.initialize(Context("mnist", str(model_dir), manifest, BATCH_SIZE, None, "0.12.0"))
    return handler


def answer_batch(handler: Any, contents: list[bytes]) -> list[tuple[int, Any]]:
    """HTTP status and decoded answer of each picture in one batch."""
    context = Context("mnist", ".", {}, len(contents), None, "0.12.0")
    context.request_processor = [RequestProcessor({}) for _ in contents]
    bodies = handler.handle([{"body": content} for content in contents], context)
    return [(context.get_response_status(index)[0], json.loads(body)) for index, body in enumerate(bodies)]


def main() -> None:
    """Answer all pictures."""
    checkout, model_dir, pictures = map(Path, sys.argv[1:])
    handler = load_handler(checkout, model_dir)
    contents = [path.read_bytes() for path in sorted(pictures.iterdir())]
    batches = [contents[start : start + BATCH_SIZE] for start in range(0, len(contents), BATCH_SIZE)]
    json.dump([answer for batch in batches for answer in answer_batch(handler, batch)], sys.stdout)


if __name__ == "__main__":
    main()
