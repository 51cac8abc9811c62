"""Many simulated desks in one process, each with its own door, book and voice: `python -m tests.faults.crowd`.

JINGYI_CROWD is a JSON list of desks: desk, port, secret, state, behaviour. JINGYI_PORT answers when all are up.
"""

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path

from fastapi import FastAPI

from deploy.local.desk import Told, serve
from deploy.local.desk_behaviour import Behaviour
from deploy.local.desk_door import Door


def told() -> list[Told]:
    desks = json.loads(os.environ["JINGYI_CROWD"])
    return [
        Told(one["desk"], one["port"], one["secret"], Path(one["state"]), Behaviour(**one["behaviour"]))
        for one in desks
    ]


async def main() -> None:
    desks = [asyncio.create_task(serve(one)) for one in told()]
    while not all((one.state / "control.url").exists() for one in told()):
        await asyncio.sleep(0.05)
    app, stop = FastAPI(), asyncio.Event()
    app.add_api_route("/health/ready", lambda: "up")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await Door(app, int(os.environ["JINGYI_PORT"])).stand(open=True)
    await stop.wait()
    for desk in desks:
        desk.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*desks)


if __name__ == "__main__":
    asyncio.run(main())
