"""Flask behind gunicorn: how a model is put online in most tutorials.

gunicorn --workers 2 'benchmarks.peers.flask_app:create_app()'
"""

from flask import Flask, request

from benchmarks.peers.reader import Answer, Reader


def create_app() -> Flask:
    """The application, with a network of its own in each worker."""
    app = Flask(__name__)
    reader = Reader()

    @app.post("/predict")
    def predict() -> Answer:
        return reader.read([request.get_data()])[0]

    return app
