"""FastAPI on uvicorn; the endpoint runs in the thread pool, as its documentation recommends for blocking work.

uvicorn --workers 2 --factory benchmarks.peers.fastapi_app:create_app
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Request

from benchmarks.peers.predictor import Answer, Predictor


async def read_body(request: Request) -> bytes:
    """The raw body of a request."""
    return await request.body()


def create_app() -> FastAPI:
    """The application; each worker has its own network."""
    app = FastAPI()
    predictor = Predictor()

    @app.post("/predict")
    def predict(picture: Annotated[bytes, Depends(read_body)]) -> Answer:
        return predictor.predict_files([picture])[0]

    return app
