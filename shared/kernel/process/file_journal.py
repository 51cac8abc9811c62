"""The journal as an append-only, sealed file, on disk when a write returns.

One line an entry, `j1.<key version>.<base64>`, AES-256-GCM under the newest master key; the associated data says that
it is a journal's, so that no other ciphertext passes for one. A line says either what is kept, or that it is done.
A power cut may tear the last line: nobody was answered for it. The file begins anew whenever all in it is done, with
what no key here opens and what was set aside: both wait in it for the key, or for the release, that reads them.
"""

import base64
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.kernel.process.journal import Unwritable

BOUND_TO = b"journal|j1"

ANEW_AFTER = 262_144
"""Bytes after which a file of which all is done begins anew: rarely enough to cost nothing, small enough to read."""

log = structlog.get_logger()


class FileJournal:
    """A journal in `folder`; one that could not be opened is tried again at the next entry."""

    def __init__(self, folder: Path, masters: Mapping[int, bytes]) -> None:
        self.folder = folder
        self._keys = {version: AESGCM(key) for version, key in masters.items()}
        self._newest = max(masters)
        self._lock = self._entries = self._marks = -1
        self._size = 0
        self._kept: dict[UUID, Any] = {}
        self._sealed: list[bytes] = []

    @property
    def open_entries(self) -> dict[UUID, Any]:
        return dict(self._kept)

    @property
    def is_open(self) -> bool:
        return self._entries >= 0

    @property
    def unreadable(self) -> int:
        """Lines that no key here opens, and entries that were set aside."""
        return len(self._sealed)

    def open(self) -> None:
        if self.is_open:
            return
        try:
            self._open()
        except BlockingIOError:
            self.close()
            raise Unwritable(f"{self.folder} is another process's; give each its own (JINGYI_JOURNAL).") from None
        except OSError as refusal:
            self.close()
            raise self._refused(refusal.strerror) from refusal

    def write_entry(self, entry: UUID, what: Any) -> None:
        if entry in self._kept:
            return
        self.open()
        self._append(self._entries, {"id": str(entry), "what": what})
        self._kept[entry] = what

    def mark_done(self, entry: UUID) -> None:
        # Not forced to disk: what is struck twice or not at all is learnt under a key that was applied before.
        if self._kept.pop(entry, None) is None:
            return
        try:
            if not self._kept and self._size > ANEW_AFTER + 2 * sum(map(len, self._sealed)):
                self._begin_anew()
            else:
                self._append(self._marks, {"id": str(entry)})
        except Unwritable as refusal:
            log.warning("journal_not_struck", signal="warning", why=str(refusal))

    def set_aside(self, entry: UUID, case: str) -> None:
        log.warning("kept_unreadable", signal="warning", case=case, do="start the release that wrote it")
        self._sealed.append(self._seal({"id": str(entry), "what": self._kept.pop(entry)}))

    def close(self) -> None:
        for held in (self._entries, self._marks, self._lock):
            if held >= 0:
                os.close(held)
        self._lock = self._entries = self._marks = -1

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path = self.folder / "journal"
        self._marks, entries = _open_twice(path)
        self._fsync_folder()  # a new file survives a power cut only once its folder is on disk
        self._read(path.read_bytes())
        os.ftruncate(entries, self._size)
        self._entries = entries

    def _fsync_folder(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self, raw: bytes) -> None:
        self._size = raw.rfind(b"\n") + 1
        self._sealed.clear()
        for record in self._records(raw[: self._size]):
            entry = UUID(record["id"])
            if "what" in record:
                self._kept.setdefault(entry, record["what"])
            else:
                self._kept.pop(entry, None)
        if self.unreadable:
            log.warning("journal_sealed", signal="warning", lines=self.unreadable, folder=str(self.folder))

    def _records(self, raw: bytes) -> Iterator[dict[str, Any]]:
        for line in raw.split(b"\n"):
            if not line or b"\0" in line:  # a strike that a power cut took back leaves a gap of zeros
                continue
            try:
                _, version, text = line.decode().split(".")
                sealed = base64.b64decode(text, validate=True)
                yield json.loads(self._keys[int(version)].decrypt(sealed[:12], sealed[12:], BOUND_TO))
            except (KeyError, ValueError, InvalidTag):
                self._sealed.append(line)

    def _append(self, file: int, record: dict[str, Any]) -> None:
        # The newline before it ends whatever a torn write left there.
        line = b"\n%s\n" % self._seal(record)
        try:
            # Whatever an earlier write left unfinished, or one whose entry was refused, goes first.
            if os.lseek(file, 0, os.SEEK_END) != self._size:
                os.ftruncate(file, self._size)
            written = os.write(file, line)
        except OSError as refusal:
            raise self._refused(refusal.strerror) from refusal
        if written < len(line):
            raise self._refused("the disk is full")
        self._size += len(line)

    def _seal(self, record: dict[str, Any]) -> bytes:
        plain, nonce = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(), os.urandom(12)
        sealed = nonce + self._keys[self._newest].encrypt(nonce, plain, BOUND_TO)
        return b"j1.%d.%s" % (self._newest, base64.b64encode(sealed))

    def _refused(self, why: str | None) -> Unwritable:
        return Unwritable(f"{self.folder}: {why}. Make room there, or let the service write.")

    def _begin_anew(self) -> None:
        """Put another file in its place. Raises Unwritable."""
        anew, rest = self.folder / "journal.anew", b"".join(b"%s\n" % line for line in self._sealed)
        before = self._marks, self._entries
        try:
            anew.unlink(missing_ok=True)
            self._marks, self._entries = _open_twice(anew)
            os.write(self._entries, rest)
            anew.replace(self.folder / "journal")
        except OSError as refusal:
            self._marks, self._entries = before
            raise self._refused(refusal.strerror) from refusal
        self._size = len(rest)
        for held in before:
            os.close(held)
        self._fsync_folder()


def _open_twice(path: Path) -> tuple[int, int]:
    """One file for strikes, which do not wait for the disk, and for entries, which do."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return os.open(path, flags, 0o600), os.open(path, flags | os.O_DSYNC, 0o600)
