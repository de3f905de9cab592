"""Flask behind gunicorn, the setup of most tutorials.

gunicorn --workers 2 'benchmarks.peers.flask_app:create_app()'
"""

from flask import Flask, request

from benchmarks.peers.predictor import Answer, Predictor


def create_app() -> Flask:
    """The application; each worker has its own network."""
    app = Flask(__name__)
    predictor = Predictor()

    @app.post("/predict")
    def predict() -> Answer:
        return predictor.predict_files([request.get_data()])[0]

    return app
