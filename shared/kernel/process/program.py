"""A service as this process: its settings, logs and traces, the signals that stop it, and what it exits with."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog
import uvloop
from opentelemetry import trace as otel
from pydantic import ValidationError

from shared.kernel import trace
from shared.kernel.errors import crash_places
from shared.kernel.process import logs
from shared.kernel.process.http_server import raise_descriptors
from shared.kernel.process.service import BuildService, assemble_process
from shared.kernel.process.settings import Settings, settings_error
from shared.notify import channels

log = structlog.get_logger()


def run_service(build: BuildService) -> None:
    """The service as this process."""
    run_process(build.__module__.split(".")[-2], Settings.check, partial(_until_signalled, build))


def run_process(
    name: str, check: Callable[[Settings], object], serve: Callable[[Settings], Coroutine[Any, Any, None]]
) -> None:
    """Live as this process. Exits 0 after SIGTERM or SIGINT, 2 on settings that do not hold, 1 on a crash."""
    logs.speak_json()
    try:
        settings = Settings()
        settings.check_tokens(name)
        check(settings)
    except (ValidationError, ValueError) as unusable:
        log.error("settings_do_not_hold", error=settings_error(unusable, "JINGYI_"))  # noqa: TRY400 the sentence is for a person
        sys.exit(2)
    if unread := settings.unread_variables():
        log.warning("unread_variables", names=unread, do="correct the name or take it away")
    raise_descriptors()
    channels.use_proxy(settings.proxy)
    spans = trace.tracer_provider(name, settings.otlp)
    otel.set_tracer_provider(spans)
    sys.setswitchinterval(0.0005)  # the exporter's thread must not hold the loop for the default 5 ms
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except Exception as crash:  # noqa: BLE001 the crash is the plan: say where, without what it was about
        log.critical("crashed", at=crash_places(crash))
        sys.exit(1)
    finally:
        spans.shutdown()


async def _until_signalled(build: BuildService, settings: Settings) -> None:
    process, server = assemble_process(build, settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stopping.set)
    gc.freeze()  # what is loaded by now is never garbage
    gc.set_threshold(50_000, 20, 50)  # full collections of what lives as long as the process cost tens of ms
    log.info("http_server", service=process.service.name, port=settings.port)
    await process.run(server)
