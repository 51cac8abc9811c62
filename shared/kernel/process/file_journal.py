"""The journal as an append-only, sealed file, on disk when a write returns.

One line an entry, `j1.<key version>.<base64>`, AES-256-GCM under the newest master key; the associated data says that
it is a journal's, so that no other ciphertext passes for one. A line says either what is kept, or that it is done.
A power cut may tear the last line: nobody was answered for it. The file begins anew whenever all in it is done.
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
        self.unreadable = 0

    @property
    def open_entries(self) -> dict[UUID, Any]:
        return dict(self._kept)

    @property
    def is_open(self) -> bool:
        return self._entries >= 0

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
        if not self._kept and not self.unreadable and self._size > ANEW_AFTER:
            self._begin_anew()
            return
        try:
            self._append(self._marks, {"id": str(entry)})
        except Unwritable as refusal:
            log.warning("journal_not_struck", signal="warning", why=str(refusal))

    def close(self) -> None:
        for held in (self._entries, self._marks, self._lock):
            if held >= 0:
                os.close(held)
        self._lock = self._entries = self._marks = -1

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path, flags = self.folder / "journal", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        # One file, opened twice: entries wait for the disk, strikes do not.
        self._marks = os.open(path, flags, 0o600)
        entries = os.open(path, flags | os.O_DSYNC, 0o600)
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
        self.unreadable = 0
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
                self.unreadable += 1

    def _append(self, file: int, record: dict[str, Any]) -> None:
        plain, nonce = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(), os.urandom(12)
        sealed = nonce + self._keys[self._newest].encrypt(nonce, plain, BOUND_TO)
        # The newline before it ends whatever a torn write left there.
        line = b"\nj1.%d.%s\n" % (self._newest, base64.b64encode(sealed))
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

    def _refused(self, why: str | None) -> Unwritable:
        return Unwritable(f"{self.folder}: {why}. Make room there, or let the service write.")

    def _begin_anew(self) -> None:
        try:
            os.ftruncate(self._marks, 0)
        except OSError as refusal:
            log.warning("journal_not_struck", signal="warning", why=str(refusal.strerror))
        else:
            self._size = 0
