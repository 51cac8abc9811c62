"""The services as built: who says what, who hears it, and that state is nothing but what was said."""

import inspect
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, get_args, get_type_hints
from uuid import uuid4

import pytest
from pydantic import TypeAdapter

from shared.contract import callouts, calls, incidents, risk
from shared.contract.event import Event
from shared.kernel.clock import now
from shared.kernel.log.router import Handler
from shared.kernel.machine.machine import Machine
from shared.kernel.machine.timers import Timers
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.machine.vault import Vault
from shared.kernel.process.service import Kit, Service
from shared.kernel.process.settings import Settings
from tests.shape.source import ROOT, SERVICES

WORDS = [
    each
    for module in (calls, risk, incidents, callouts)
    for each in vars(module).values()
    if inspect.isclass(each) and issubclass(each, Event) and each.__module__ == module.__name__
]
LANGUAGE = {word for word in WORDS if not word.__subclasses__()}
TELLING = {"answers", "brief", "caller", "phone", "name", "address", "note", "notes", "text", "reason", "detail"}
"""Names of fields that would hold what a caller said."""


class Gathering(Kit):
    """A kit that remembers what is kept with it."""

    def keep(self, machine: Machine[Any], *args: Any, **kwargs: Any) -> Any:
        machines.setdefault(self.name, []).append(machine)
        return super().keep(machine, *args, **kwargs)


machines: dict[str, list[Machine[Any]]] = {}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Service]:
    """Every service, wired to a store that nobody asks."""
    keys = tmp_path_factory.mktemp("built") / "master.keys"
    keys.write_text(f"1 {b64encode(bytes(32)).decode()}\n")
    settings = Settings(cities=ROOT / "deploy" / "cities", master_keys=keys)
    store = ValkeyStore("redis://127.0.0.1:1/0", lambda *_: None)

    def kit(name: str) -> Kit:
        return Gathering(name, settings, store, Vault({1: bytes(32)}, store), Timers(store, now, list), now)

    return {name: import_module(f"services.{name}.service").build(kit(name)) for name in SERVICES}


def test_a_service_calls_itself_what_its_folder_is_called(built: dict[str, Service]) -> None:
    """Else its keys, its consumer group and its spans are found under two names."""
    assert {name: service.name for name, service in built.items()} == {name: name for name in SERVICES}


def test_s6_an_event_names_the_service_that_says_it(built: dict[str, Service]) -> None:
    """Else a receiver takes a forged event for true, or refuses a true one."""
    said = {event.__name__: name for name, service in built.items() for event in service.emits}
    assert {word.__name__: word.service for word in LANGUAGE} == said
    assert {name: service.speaks.service for name, service in built.items()} == {name: name for name in SERVICES}


def test_every_event_that_is_heard_has_exactly_one_emitter(built: dict[str, Service]) -> None:
    """Else somebody waits for a word that nobody says, or two say it and nobody knows whose is true."""
    emitters: Counter[type[Event]] = Counter(event for service in built.values() for event in service.emits)
    heard = {event for service in built.values() for event in (*service.consumes, *service.follows)}
    assert {event.__name__ for event in heard if emitters[event] != 1} == set()
    assert {event.__name__ for event, count in emitters.items() if count > 1} == set()


def test_a_topic_has_one_speaker(built: dict[str, Service]) -> None:
    """Else the order of a case on a topic is the luck of two relays."""
    spoken = {name: {event.topic for event in service.emits} for name, service in built.items()}
    assert spoken == {name: {service.speaks.topic} for name, service in built.items()}
    speakers = Counter(topic for topics in spoken.values() for topic in topics)
    assert {topic for topic, count in speakers.items() if count > 1} == set()


def test_every_word_of_the_language_is_said_by_somebody(built: dict[str, Service]) -> None:
    """Else the contract promises what nobody keeps."""
    said = {event for service in built.values() for event in service.emits}
    assert {event.__name__ for event in LANGUAGE - said} == set()
    assert {event.__name__ for event in said - LANGUAGE} == set()


def test_what_is_learnt_of_a_topic_is_heard_one_way(built: dict[str, Service]) -> None:
    """Else two groups of one service learn one case's facts out of order. Fetching a key ahead learns nothing."""

    def learnt(heard: Mapping[type[Event], Handler]) -> set[str]:
        return {
            event.topic for event, handler in heard.items() if getattr(handler, "__func__", None) != Vault.fetch_key
        }

    both = {name: learnt(service.consumes) & learnt(service.follows) for name, service in built.items()}
    assert {name: topics for name, topics in both.items() if topics} == {}


@pytest.mark.parametrize("service", SERVICES)
def test_a_decision_gives_events_and_only_events_change_a_state(built: dict[str, Service], service: str) -> None:
    """Else a state holds what no event says, and a rebuild from the log loses it."""
    kept = machines[service]
    assert kept
    for machine in kept:
        assert get_type_hints(bare(machine.decide))["return"] == tuple[Event, ...]
        state, event = list(get_type_hints(bare(machine.evolve)).values())[:2]
        assert isinstance(machine.blank, state)
        assert event is Event
        assert len(inspect.signature(bare(machine.evolve)).parameters) == 2


@pytest.mark.parametrize("service", SERVICES)
def test_a_blank_state_is_frozen_and_survives_the_store(built: dict[str, Service], service: str) -> None:
    """Else a handler changes a cached state without an event, or a restart reads another state than was written."""
    for machine in machines[service]:
        adapter = TypeAdapter(type(machine.blank))
        assert adapter.validate_json(adapter.dump_json(machine.blank)) == machine.blank
        with pytest.raises((AttributeError, TypeError)):
            setattr(machine.blank, next(iter(vars(machine.blank))), uuid4())


@pytest.mark.parametrize("event", sorted(LANGUAGE, key=repr))
def test_an_event_holds_no_field_that_could_carry_personal_text_unsealed(event: type[Event]) -> None:
    """Else a name, a number or a note lies plain in Kafka for as long as the law keeps the record."""
    fields = event.model_fields.items()
    texts = {name: field for name, field in fields if str in (field.annotation, *get_args(field.annotation))}
    assert {name for name, field in texts.items() if name in TELLING and not field.metadata} == set()


def bare(function: Callable[..., Any]) -> Callable[..., Any]:
    return bare(function.func) if isinstance(function, partial) else function
