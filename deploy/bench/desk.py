"""A desk that accepts at once in the 2xx body and notes when it had each case; `python -m deploy.bench.desk`.

GET /arrivals answers the Unix times of first arrival by case since the last time it was asked.
"""

import json
import os
import time
from typing import Any

import uvicorn


class Desk:
    """As little as a desk can be, so that the pipeline is measured and not the desk."""

    def __init__(self) -> None:
        self._arrivals: dict[str, float] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        body = b""
        while scope["method"] == "POST":
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = json.dumps(self._answer(scope["method"], scope["path"], body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        if method == "POST":
            case = json.loads(body)["case"]
            self._arrivals.setdefault(case, time.time())
            return {"status": "accepted", "officer": "bench", "event_no": case[-12:]}
        if path == "/arrivals":
            arrivals, self._arrivals = self._arrivals, {}
            return arrivals
        return {"status": "ready"}


if __name__ == "__main__":
    uvicorn.run(
        Desk(), host="127.0.0.1", port=int(os.environ["JINGYI_PORT"]), log_config=None, access_log=False, lifespan="off"
    )
