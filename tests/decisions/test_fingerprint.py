"""A fingerprint tells another body under one key, and only that: neither spelling nor a new master key changes it."""

import os
from uuid import uuid4

import pytest

from shared.kernel.machine.fingerprint import Fingerprints, KeyReused, check_same_body

OLD, NEW = os.urandom(32), os.urandom(32)
ACT = uuid4()
BODY = b'{"a": 1, "b": ["x", true]}'


@pytest.mark.parametrize("same", [BODY, b'{"b":["x",true],"a":1}', b' { "a":1,\n"b":["\\u0078",true]}'])
def test_t13_the_same_body_spelled_otherwise_is_the_same(same: bytes) -> None:
    made = Fingerprints({1: OLD})
    assert made.fingerprint(ACT, same) == made.fingerprint(ACT, BODY)


@pytest.mark.parametrize(
    "other", [b'{"a": 1, "b": ["x", false]}', b'{"a": 1}', b"", b"[" * 60_000, b"\xff", b"1" * 9000]
)
def test_another_body_is_told_whatever_it_is(other: bytes) -> None:
    made = Fingerprints({1: OLD})
    with pytest.raises(KeyReused):
        check_same_body(made.fingerprint(ACT, BODY), made.fingerprint(ACT, other))
    check_same_body(made.fingerprint(ACT, other), made.fingerprint(ACT, other))


def test_s1_a_newer_master_key_changes_nothing_and_a_retired_one_refuses_nobody() -> None:
    before, rotated, after = (Fingerprints(masters) for masters in ({1: OLD}, {1: OLD, 2: NEW}, {2: NEW}))
    with pytest.raises(KeyReused):
        check_same_body(before.fingerprint(ACT, BODY), rotated.fingerprint(ACT, b"other"))
    assert before.fingerprint(ACT, BODY) == rotated.fingerprint(ACT, BODY)
    check_same_body(rotated.fingerprint(ACT, BODY), after.fingerprint(ACT, BODY))


@pytest.mark.parametrize("kept", ["", "*", "0123456789abcdef"])
def test_s1_where_no_keyed_fingerprint_was_kept_any_body_is_the_one_it_had(kept: str) -> None:
    check_same_body(kept, Fingerprints({1: OLD}).fingerprint(ACT, BODY))


def test_s1_equal_bodies_of_two_acts_do_not_look_alike_and_without_the_key_nobody_makes_them() -> None:
    made = Fingerprints({1: OLD}).fingerprint(ACT, BODY)
    assert made != Fingerprints({1: OLD}).fingerprint(uuid4(), BODY)
    assert made != Fingerprints({1: NEW}).fingerprint(ACT, BODY)
