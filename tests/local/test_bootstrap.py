"""Set-up says in one sentence what went wrong, leaves nothing half-made, and goes on where it stopped."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local import bootstrap, jars
from deploy.local.folders import ROOT
from deploy.local.trouble import Trouble

Serve = Callable[[str], bytes]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What set-up needs of the repository, somewhere else, wanting one small package."""
    for part in ("deploy", "pyproject.toml", "requirements"):
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, tmp_path / part)
    (tmp_path / "requirements" / "dev.txt").write_text(f"idna==3.20 --hash=sha256:{'0' * 64}\n")
    return tmp_path


def set_up(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(clone / "deploy/local/bootstrap.py")]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )


def test_without_a_network_it_says_so_and_leaves_no_stamp(clone: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0"}
    ended = set_up(clone, **nowhere)
    assert ended.returncode == 1
    assert "No package index can be reached" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "was altered on its way"),
        ("ERROR: No matching distribution found for uvloop==0.23.0", "There is no build of uvloop==0.23.0"),
        ("something\nERROR: the moon is full", "ERROR: the moon is full"),
    ],
)
def test_what_pip_says_becomes_one_sentence(said: str, sentence: str) -> None:
    assert sentence in bootstrap.meaning(said)


def test_a_python_too_old_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bootstrap, "NEWER", ())
    assert bootstrap.with_newer_python() == 1
    assert capsys.readouterr().out.startswith("Python 3.11 or newer is needed and this is 3.")


def test_a_stamp_holds_for_what_was_wanted_and_nothing_else(tmp_path: Path) -> None:
    assert not bootstrap.stamped(tmp_path, "wanted")
    bootstrap.stamp(tmp_path, "wanted")
    assert bootstrap.stamped(tmp_path, "wanted")
    assert not bootstrap.stamped(tmp_path, "wanted now")


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Serve]]:
    """A Maven repository of our own; each test says what it serves."""
    serving: dict[str, Serve] = {"jar": lambda path: b""}

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = serving["jar"](self.path)
            digest = hashlib.sha1(body, usedforsecurity=False).hexdigest().encode()
            body = digest if self.path.endswith(".sha1") else body
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("JINGYI_MAVEN", f"http://127.0.0.1:{server.server_address[1]}")
        yield serving
        server.shutdown()
        thread.join()


def jar(name: str, content: bytes) -> jars.Jar:
    return jars.Jar("org.example", name, "1.0", hashlib.sha256(content).hexdigest(), len(content))


def test_a_tampered_jar_is_refused_and_the_next_run_fetches_only_what_is_missing(
    tmp_path: Path, mirror: dict[str, Serve]
) -> None:
    good, other = jar("good", b"good"), jar("other", b"other")
    mirror["jar"] = lambda path: b"good" if "good" in path else b"0ther"
    with pytest.raises(Trouble, match=r"other-1.0.jar is broken or was altered"):
        jars.fetch(tmp_path / "kafka", (good, other), lambda *_: None)
    assert sorted(path.name for path in tmp_path.rglob("*.jar")) == ["good-1.0.jar"]
    mirror["jar"] = lambda path: b"other" if "other" in path else b"asked for again"
    assert jars.fetch(tmp_path / "kafka", (good, other), lambda *_: None) == len(b"other")
    assert jars.missing((good, other), tmp_path / "kafka") == ()


def test_without_a_maven_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINGYI_MAVEN", "http://127.0.0.1:9")
    with pytest.raises(Trouble, match=r"good-1.0.jar could not be downloaded \(ConnectionError\); check the network"):
        jars.fetch(tmp_path / "kafka", (jar("good", b"good"),), lambda *_: None)


def test_every_jar_of_the_list_is_pinned() -> None:
    listed = jars.listed()
    assert len({entry.name for entry in listed}) == len(listed) == 46
    assert {entry.version for entry in listed if entry.group == "org.apache.kafka"} == {"4.3.1"}
    assert all(len(entry.sha256) == 64 for entry in listed)
