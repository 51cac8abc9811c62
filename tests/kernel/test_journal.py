"""The journal as a file: what a power cut, a full disk, a second process and a lost key leave of it."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.kernel.process import file_journal as journals
from shared.kernel.process.file_journal import FileJournal
from shared.kernel.process.journal import Unwritable

MASTERS = {1: os.urandom(32)}
WHAT = {"words": "我现在就在桥上", "answers": {"plan": True}}


@contextmanager
def opened(folder: Path, masters: dict[int, bytes] | None = None) -> Iterator[FileJournal]:
    journal = FileJournal(folder, masters or MASTERS)
    journal.open()
    try:
        yield journal
    finally:
        journal.close()


def kept(folder: Path, *entries: UUID) -> None:
    with opened(folder) as journal:
        for entry in entries:
            journal.write_entry(entry, WHAT)


def test_what_was_kept_is_there_for_the_next_life_in_its_order_and_what_was_struck_is_not(tmp_path: Path) -> None:
    first, second, third = uuid4(), uuid4(), uuid4()
    with opened(tmp_path) as journal:
        for entry in (first, second, third):
            journal.write_entry(entry, WHAT)
        journal.mark_done(second)
    with opened(tmp_path) as journal:
        assert journal.open_entries == {first: WHAT, third: WHAT}
        assert list(journal.open_entries) == [first, third]


def test_the_same_entry_twice_is_kept_once(tmp_path: Path) -> None:
    entry = uuid4()
    kept(tmp_path, entry, entry)
    assert len((tmp_path / "journal").read_bytes().split()) == 1


def test_nothing_of_it_is_plain_on_the_disk(tmp_path: Path) -> None:
    entry = uuid4()
    kept(tmp_path, entry)
    raw = (tmp_path / "journal").read_bytes()
    assert not any(part in raw for part in ("桥".encode(), b"answers", str(entry).encode()))


@pytest.mark.parametrize("lost", [1, 10, 60])
def test_a_line_that_a_power_cut_tore_is_dropped_and_the_next_entry_stands_on_its_own(
    tmp_path: Path, lost: int
) -> None:
    whole, torn, after = uuid4(), uuid4(), uuid4()
    kept(tmp_path, whole, torn)
    os.truncate(tmp_path / "journal", (tmp_path / "journal").stat().st_size - lost)
    kept(tmp_path, after)
    with opened(tmp_path) as journal:
        assert list(journal.open_entries) == [whole, after]
        assert journal.unreadable == 0


def test_a_strike_that_the_disk_took_back_leaves_the_entry_waiting(tmp_path: Path) -> None:
    first, second = uuid4(), uuid4()
    kept(tmp_path, first)
    with (tmp_path / "journal").open("ab") as file:
        file.write(b"\0" * 80)
    with opened(tmp_path) as journal:
        journal.write_entry(second, WHAT)
    with opened(tmp_path) as journal:
        assert list(journal.open_entries) == [first, second]


def test_a_disk_that_is_full_is_said_and_half_a_line_is_no_entry(tmp_path: Path) -> None:
    before, refused, after = uuid4(), uuid4(), uuid4()
    with opened(tmp_path) as journal:
        journal.write_entry(before, WHAT)
        size = (tmp_path / "journal").stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
        try:
            with pytest.raises(Unwritable, match="Make room"):
                journal.write_entry(refused, WHAT)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert refused not in journal.open_entries
        journal.write_entry(after, WHAT)
    with opened(tmp_path) as journal:
        assert list(journal.open_entries) == [before, after]
        assert journal.unreadable == 0


def test_a_folder_that_cannot_be_is_said_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("a file where the folder should be")
    journal = FileJournal(tmp_path / "place", MASTERS)
    with pytest.raises(Unwritable, match="let the service write"):
        journal.write_entry(uuid4(), WHAT)
    (tmp_path / "place").unlink()
    journal.write_entry(entry := uuid4(), WHAT)
    assert list(journal.open_entries) == [entry]
    journal.close()


def test_two_processes_cannot_share_one_folder_and_one_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    line = (
        "import sys; from pathlib import Path; from uuid import uuid4\n"
        "from shared.kernel.process.file_journal import FileJournal\n"
        f"j = FileJournal(Path({str(tmp_path)!r}), {{1: {MASTERS[1]!r}}})\n"
        "j.write_entry(uuid4(), 'words'); print(1, flush=True)\n"
        "sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin
    assert other.stdout
    try:
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(Unwritable, match="another process's"):
            FileJournal(tmp_path, MASTERS).open()
    finally:
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()
    with opened(tmp_path) as journal:
        assert list(journal.open_entries.values()) == ["words"]


def test_what_another_master_key_sealed_stays_in_the_file_until_that_key_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ANEW_AFTER", 0)
    sealed, ours = uuid4(), uuid4()
    kept(tmp_path, sealed)
    with opened(tmp_path, {2: os.urandom(32)}) as journal:
        assert (journal.open_entries, journal.unreadable) == ({}, 1)
        journal.write_entry(ours, WHAT)
        journal.mark_done(ours)
    with opened(tmp_path) as journal:
        assert list(journal.open_entries) == [sealed]


def test_a_line_brought_from_elsewhere_does_not_pass_for_an_entry(tmp_path: Path) -> None:
    kept(tmp_path, uuid4())
    raw = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(raw[:-12] + b"AAAAAAAAAA=\n" + b"\nnonsense\n")
    with opened(tmp_path) as journal:
        assert (journal.open_entries, journal.unreadable) == ({}, 2)


def test_the_file_begins_anew_once_all_in_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "ANEW_AFTER", 1_000)
    with opened(tmp_path) as journal:
        for _ in range(20):
            journal.write_entry(entry := uuid4(), WHAT)
            journal.mark_done(entry)
        journal.write_entry(last := uuid4(), WHAT)
    assert (tmp_path / "journal").stat().st_size < 2_000
    with opened(tmp_path) as journal:
        assert list(journal.open_entries) == [last]


def test_d10_a_file_with_lines_of_a_retired_key_begins_anew_like_any_other_and_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ANEW_AFTER", 1_000)
    retired, newer = MASTERS, {2: os.urandom(32)}
    sealed = [uuid4() for _ in range(3)]
    kept(tmp_path, *sealed)
    with opened(tmp_path, newer) as journal:
        for _ in range(200):
            journal.write_entry(entry := uuid4(), WHAT)
            journal.mark_done(entry)
        journal.write_entry(last := uuid4(), WHAT)
    assert (tmp_path / "journal").stat().st_size < 5_000
    with opened(tmp_path, newer) as journal:
        assert (list(journal.open_entries), journal.unreadable) == ([last], 3)
    with opened(tmp_path, retired | newer) as journal:
        assert set(journal.open_entries) == {*sealed, last}


def test_d10_a_file_that_cannot_begin_anew_goes_on_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "ANEW_AFTER", 0)
    with opened(tmp_path) as journal:
        (tmp_path / "journal.anew").mkdir()
        journal.write_entry(first := uuid4(), WHAT)
        journal.mark_done(first)
        journal.write_entry(second := uuid4(), WHAT)
    with opened(tmp_path) as journal:
        assert set(journal.open_entries) == {first, second}


def test_d11_what_was_set_aside_waits_in_the_file_and_is_open_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ANEW_AFTER", 0)
    strange, ours = uuid4(), uuid4()
    with opened(tmp_path) as journal:
        for entry in (strange, ours):
            journal.write_entry(entry, WHAT)
        journal.set_aside(strange, "")
        assert (list(journal.open_entries), journal.unreadable) == ([ours], 1)
        journal.mark_done(ours)
    with opened(tmp_path) as journal:
        assert journal.open_entries == {strange: WHAT}
