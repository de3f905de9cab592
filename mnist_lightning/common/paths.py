"""Files that ship with the project beside its modules: recipes, server configuration, the handler, the front end."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def resource(name: str) -> Path:
    """The path of a shipped file or folder, such as ``config/train.yaml``.

    An installed package carries them in ``mnist_lightning/resources``; a checkout has them beside the package.
    """
    installed = PACKAGE / "resources" / name
    return installed if installed.exists() else PACKAGE.parent / name
