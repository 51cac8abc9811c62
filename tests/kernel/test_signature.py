"""Who may speak for a desk: Standard Webhooks signatures, on everything an honest or hostile sender can send."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.responder_adapter.wires.signature import BadSecret, Unsigned, sign, verify

# The vector published with the Standard Webhooks libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
THEN = datetime.fromtimestamp(TIMESTAMP, UTC)


def headers(**changed: str) -> dict[str, str]:
    given = {"webhook-id": ID, "webhook-timestamp": str(TIMESTAMP), "webhook-signature": SIGNATURE}
    return given | {f"webhook-{name}": value for name, value in changed.items()}


def refused(given: dict[str, str], body: bytes = BODY, now: datetime = THEN) -> bool:
    try:
        verify(SECRET, given, body, now)
    except Unsigned:
        return True
    return False


def test_the_published_vector_is_made_and_believed() -> None:
    assert sign(SECRET, ID, TIMESTAMP, BODY) == SIGNATURE
    assert verify(SECRET, headers(), BODY, THEN) == ID


def test_one_good_signature_among_five_is_enough_and_six_are_too_many() -> None:
    other = "v1," + base64.b64encode(b"x" * 32).decode()
    assert not refused(headers(signature=" ".join([other, "v1a,ed25519", "v2,x", other, SIGNATURE])))
    assert refused(headers(signature=" ".join([SIGNATURE, *[other] * 5])))


@pytest.mark.parametrize(
    "signature",
    [
        "",
        " ",
        "v1",
        "v1,",
        "v1,,",
        f"v2,{SIGNATURE[3:]}",
        f"V1,{SIGNATURE[3:]}",
        SIGNATURE[3:],
        f"{SIGNATURE},",
        f"{SIGNATURE}=",
        SIGNATURE[:-1],
        "v1,not base64 at all",
        "v1,é中\u202e\ud800",
        "v1a," + SIGNATURE[3:],
        SIGNATURE.replace(",", ",,"),
        SIGNATURE.lower(),
    ],
)
def test_what_is_not_exactly_the_signature_is_none(signature: str) -> None:
    assert refused(headers(signature=signature))


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "0",
        "-1614265330",
        "+1614265330",
        "1614265330.0",
        "1614265330.5",
        " 1614265330",
        "1e9",
        "NaN",
        "٣",
        "9" * 400,
    ],
)
def test_a_timestamp_is_whole_seconds_in_plain_digits(timestamp: str) -> None:
    assert refused(headers(timestamp=timestamp))


@pytest.mark.parametrize(("seconds", "too_far"), [(300, False), (301, True), (-300, False), (-301, True)])
def test_a_message_counts_for_five_minutes_either_way(seconds: int, too_far: bool) -> None:
    assert refused(headers(), now=THEN + timedelta(seconds=seconds)) is too_far


@pytest.mark.parametrize("webhook_id", ["", "a.b", "a b", "a\nb", "中", "x" * 129])
def test_an_id_is_short_and_plain_so_that_it_cannot_run_into_the_timestamp(webhook_id: str) -> None:
    given = headers(id=webhook_id, signature=sign(SECRET, webhook_id, TIMESTAMP, BODY))
    assert refused(given)


def test_the_end_of_a_body_cannot_be_read_as_part_of_its_head() -> None:
    body = f"{TIMESTAMP}.x".encode()
    shifted = headers(id=f"a.{TIMESTAMP}", signature=sign(SECRET, "a", TIMESTAMP, body))
    assert refused(shifted, b"x")


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_without_one_of_the_three_headers_nobody_has_signed(missing: str) -> None:
    given = headers()
    del given[missing]
    assert refused(given)


def test_another_desks_secret_does_not_sign_for_this_one() -> None:
    other = "whsec_" + base64.b64encode(b"another desk's own secret").decode()
    assert refused(headers(signature=sign(other, ID, TIMESTAMP, BODY)))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%%", "whsec_c2hvcnQ=", "whsec_" + "A" * 100, "whsec_é"])
def test_a_secret_that_is_none_is_our_own_fault_and_says_so(secret: str) -> None:
    with pytest.raises(BadSecret):
        sign(secret, ID, TIMESTAMP, BODY)


@given(st.binary(max_size=200), st.text(max_size=50), st.text(max_size=20), st.text(max_size=120))
def test_nothing_that_anybody_sends_is_believed_or_breaks_it(
    body: bytes, webhook_id: str, timestamp: str, signature: str
) -> None:
    assert refused(headers(id=webhook_id, timestamp=timestamp, signature=signature), body)
    assert refused(headers(signature=signature), body)
    assert refused(headers(id=webhook_id))


@given(st.binary(max_size=300), st.integers(0, 299), st.integers(0, 7))
def test_every_body_that_was_signed_is_believed_and_none_with_a_bit_changed(body: bytes, at: int, bit: int) -> None:
    given = headers(signature=sign(SECRET, ID, TIMESTAMP, body))
    assert verify(SECRET, given, body, THEN) == ID
    if body:
        changed = bytearray(body)
        changed[at % len(body)] ^= 1 << bit
        assert refused(given, bytes(changed))
