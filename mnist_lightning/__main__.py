"""Every verb behind one command: `mnist-lightning VERB`, or `python -m mnist_lightning VERB`."""

import importlib
import sys
from collections.abc import Mapping

VERBS: Mapping[str, tuple[str, str]] = {  # module and summary of each verb
    "train": ("mnist_lightning.train", "compare the optimizers and archive the best network"),
    "train_segmenter": ("mnist_lightning.train_segmenter", "train the network that finds ink on paper"),
    "train_line_reader": ("mnist_lightning.train_line_reader", "train the network that reads lines of digits"),
    "package": ("mnist_lightning.package", "archive the champion, or another run"),
    "promote": ("mnist_lightning.promote", "make the challenger the champion if it is better"),
    "rollback": ("mnist_lightning.rollback", "make the previous champion the champion again"),
    "serve": ("mnist_lightning.serve", "start TorchServe with the archive"),
    "client": ("mnist_lightning.client.__main__", "ask a running server about pictures, or read whole folders"),
    "draw": ("mnist_lightning.draw", "open a page to draw digits on"),
    "feedback": ("mnist_lightning.feedback", "make data of the page's corrections"),
    "evaluate": ("mnist_lightning.evaluate", "measure accuracy on labelled pictures"),
    "benchmark": ("mnist_lightning.benchmark", "measure a running server under load"),
    "drift": ("mnist_lightning.drift", "compare a server's pictures with its reference"),
    "lifecycle": ("mnist_lightning.lifecycle", "train, archive, serve and ask, in one command"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the verb that the first argument names with the others; return its exit code."""
    verb, *flags = (sys.argv[1:] if arguments is None else arguments) or [""]
    if verb in ("-h", "--help"):
        print(usage())
        return 0
    if verb not in VERBS:
        print(f"error: {f'unknown verb {verb!r}' if verb else 'no verb given'}\n{usage()}", file=sys.stderr)
        return 2
    module = importlib.import_module(VERBS[verb][0])
    return int(module.main(flags))


def usage() -> str:
    """How to call this command, with a line for each verb."""
    lines = [f"  {name:15} {summary}" for name, (_, summary) in VERBS.items()]
    return "\n".join(["usage: mnist-lightning VERB [FLAGS]; VERB --help explains its flags", *lines])


if __name__ == "__main__":
    sys.exit(main())
