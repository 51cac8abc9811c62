"""What a service is told that does not hold ends it at once, with one sentence that says what to do."""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from deploy.local.process import Process
from shared.kernel.process.settings import Settings, settings_error, surroundings
from tests.kernel.scene import environment, process

SECRET = "a-short-secret"


async def ending(settings: Settings, log: Path, **changed: str) -> tuple[int, str]:
    """How the tally ends with these variables, and the one thing it says."""
    env = environment(settings, **changed)
    started = await Process.start("tally", [sys.executable, "-m", "tests.kernel.tally"], log=log, env=env)
    try:
        code = await started.wait()
    finally:
        await started.stop()
    [line] = log.read_text().splitlines()
    return code, json.loads(line)["error"]


async def test_production_refuses_a_short_token_without_repeating_it(settings: Settings, tmp_path: Path) -> None:
    told = {"JINGYI_ENV": "production", "JINGYI_PEER_TOKENS": json.dumps({"tally": "t" * 32})}
    code, said = await ending(settings, tmp_path / "log", JINGYI_API_TOKEN=SECRET, **told)
    assert code == 2
    assert said == "JINGYI_API_TOKEN must have at least 32 characters outside development."


@pytest.mark.parametrize(
    ("variable", "value"), [("JINGYI_PORT", "many"), ("JINGYI_ENV", "staging"), ("JINGYI_INSTANCE", "a b")]
)
def test_a_variable_that_does_not_hold_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    said = settings_error(refusal.value, "JINGYI_")
    assert variable in said
    assert "\n" not in said


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}\t", "\ufeff{}"])
def test_t8_what_an_editor_leaves_around_a_value_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, around: str, tmp_path: Path
) -> None:
    """Else a service is ready and refuses every act."""
    own = json.dumps({"tally": around.format(SECRET + "-tally")})
    told = {"API_TOKEN": SECRET, "PEER_TOKENS": own, "CITIES": str(tmp_path), "CHANNEL": "json://gateway"}
    for variable, value in told.items():
        monkeypatch.setenv(f"JINGYI_{variable}", around.format(value))
    settings = Settings()
    assert settings.api_token.get_secret_value() == SECRET
    assert settings.peer_token("tally") == SECRET + "-tally"
    assert settings.cities == tmp_path
    assert surroundings()["JINGYI_CHANNEL"] == "json://gateway"


@pytest.mark.parametrize("token", ["two words", "口令", "a\x00b", "a\nb"])
@pytest.mark.parametrize("variable", ["JINGYI_API_TOKEN", "JINGYI_PEER_TOKENS"])
def test_t8_a_token_that_no_header_carries_is_named_and_not_shown(variable: str, token: str) -> None:
    value = token if variable == "JINGYI_API_TOKEN" else {"tally": token}
    told: dict[str, Any] = {variable.removeprefix("JINGYI_").lower(): value}
    with pytest.raises(ValidationError) as refusal:
        Settings(**told)
    said = settings_error(refusal.value, "JINGYI_")
    assert said.startswith(variable)
    assert "\n" not in said
    assert token not in said


@pytest.mark.parametrize("token", ["", "\n", "\ufeff"])
def test_t8_an_empty_token_is_none(token: str) -> None:
    told: dict[str, Any] = {"api_token": token, "peer_tokens": {"tally": "t"}}
    with pytest.raises(ValueError, match="JINGYI_API_TOKEN"):
        Settings(**told).check_tokens("tally")
    with pytest.raises(ValidationError):
        Settings(**(told | {"peer_tokens": {"tally": token}}))


async def test_t8_a_token_that_no_header_carries_ends_the_service(settings: Settings, tmp_path: Path) -> None:
    code, said = await ending(settings, tmp_path / "log", JINGYI_API_TOKEN="two words")
    assert (code, "JINGYI_API_TOKEN" in said, "two words" in said) == (2, True, False)


def test_t8_master_keys_may_come_from_any_editor(settings: Settings, tmp_path: Path) -> None:
    keys = tmp_path / "windows.keys"
    keys.write_bytes(f"\ufeff1 {base64.b64encode(b'k' * 32).decode()}\r\n\r\n".encode())
    assert settings.model_copy(update={"master_keys": keys}).masters == {1: b"k" * 32}


@pytest.mark.parametrize(
    "tokens",
    [
        {"dispatch": "d" * 31, "auditor": "a" * 32},
        {"dispatch": "d" * 32, "auditor": "d" * 32},
        {"dispatch": "s" * 32, "auditor": "a" * 32},
    ],
)
def test_s6_production_demands_a_long_token_of_its_own_for_each_service(tokens: dict[str, str]) -> None:
    """Else one that leaks speaks for another."""
    told: dict[str, Any] = {"env": "production", "api_token": "s" * 32, "peer_tokens": tokens}
    with pytest.raises(ValidationError) as refusal:
        Settings(**told)
    said = settings_error(refusal.value, "JINGYI_")
    assert "JINGYI_PEER_TOKENS" in said
    assert not [token for token in tokens.values() if token in said]
    assert Settings(**(told | {"peer_tokens": {"dispatch": "d" * 32, "auditor": "a" * 32}})).peer_token("dispatch")


def test_s6_peer_tokens_that_are_no_json_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINGYI_PEER_TOKENS", SECRET)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    said = settings_error(refusal.value, "JINGYI_")
    assert (said.startswith("JINGYI_PEER_TOKENS"), SECRET in said) == (True, False)


@pytest.mark.parametrize("doors", ["{}", '{"auditor": "http://auditor"}'])
async def test_d16_production_names_all_that_is_missing(settings: Settings, tmp_path: Path, doors: str) -> None:
    """Else a production that nobody configured takes the tokens that everybody can read here."""
    told = {"JINGYI_ENV": "production", "JINGYI_PEER_TOKENS": "{}", "JINGYI_DOORS": doors}
    code, said = await ending(settings, tmp_path / "log", **told)
    assert code == 2
    assert all(name in said for name in ("JINGYI_API_TOKEN", "JINGYI_PEER_TOKENS", "tally", "openssl rand -hex 32"))
    assert ("auditor" in said) is ("auditor" in doors)


def test_d16_production_is_the_default_and_has_no_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JINGYI_ENV")
    told = Settings()
    assert told.env == "production"
    assert (told.api_token.get_secret_value(), told.peer_tokens) == ("", {})
    with pytest.raises(ValueError, match="JINGYI_API_TOKEN and JINGYI_PEER_TOKENS for dispatch"):
        told.check_tokens("dispatch")


async def test_d16_a_misspelt_variable_is_said(settings: Settings, tmp_path: Path) -> None:
    told = {
        "JINGYI_REDIS_ULR": "x",
        "JINGYI_STATE": str(tmp_path),
        "JINGYI_PORT_KAFKA": "1",
        "JINGYI_HOST": "256.0.0.1",
    }
    env = environment(settings, **told)
    async with process(settings, tmp_path / "log", env) as tally:
        await tally.wait()
    first = json.loads((tmp_path / "log").read_text().splitlines()[0])
    assert (first["event"], first["names"]) == ("unread_variables", ["JINGYI_REDIS_ULR"])


@pytest.mark.parametrize(
    "content", ["", "one", "1 short", "x " + base64.b64encode(b"k" * 32).decode(), "1 " + "k" * 43, "\x00\x01"]
)
def test_a_bad_key_file_is_named_in_one_sentence_that_shows_no_key(
    settings: Settings, tmp_path: Path, content: str
) -> None:
    keys = tmp_path / "bad.keys"
    keys.write_text(content)
    with pytest.raises(ValueError, match=str(keys)) as refusal:
        settings.model_copy(update={"master_keys": keys}).check()
    assert "\n" not in str(refusal.value)
    assert not content.strip() or content.split()[-1] not in str(refusal.value)


def test_two_keys_of_one_version_are_not_one_key(settings: Settings, tmp_path: Path) -> None:
    keys = tmp_path / "two.keys"
    keys.write_text("".join(f"1 {base64.b64encode(os.urandom(32)).decode()}\n" for _ in range(2)))
    with pytest.raises(ValueError, match="two keys"):
        settings.model_copy(update={"master_keys": keys}).check()


@pytest.mark.parametrize("content", ["", "a: [", "code: '140700'", "- 1", "code: 1\nname: x"])
def test_a_bad_city_pack_is_named_in_one_sentence(settings: Settings, tmp_path: Path, content: str) -> None:
    (tmp_path / "140700.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"140700\.yaml") as refusal:
        settings.model_copy(update={"cities": tmp_path}).check()
    assert "\n" not in str(refusal.value)


def test_no_city_pack_at_all_says_where_to_put_one(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JINGYI_CITIES"):
        settings.model_copy(update={"cities": tmp_path / "nowhere"}).check()
