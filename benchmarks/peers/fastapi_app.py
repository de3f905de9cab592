"""FastAPI on uvicorn; as its documentation advises for work that blocks, the endpoint runs in the thread pool.

uvicorn --workers 2 --factory benchmarks.peers.fastapi_app:create_app
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Request

from benchmarks.peers.reader import Answer, Reader


async def content(request: Request) -> bytes:
    """The raw body."""
    return await request.body()


def create_app() -> FastAPI:
    """The application, with a network of its own in each worker."""
    app = FastAPI()
    reader = Reader()

    @app.post("/predict")
    def predict(picture: Annotated[bytes, Depends(content)]) -> Answer:
        return reader.read([picture])[0]

    return app
