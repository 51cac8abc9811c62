"""Where each call-out is kept, and the machine that keeps it."""

from functools import partial

from services.responder_adapter.callout import deadline, decide, is_open
from services.responder_adapter.recovery import recovery_command
from services.responder_adapter.state import CallOut, evolve
from shared.contract.city import Cities
from shared.contract.event import Message
from shared.contract.terms import callout_key, desk_city
from shared.kernel.machine.machine import Address, Machine


def machine(cities: Cities) -> Machine[CallOut]:
    """The machine of call-outs under these city packs."""
    return Machine(
        name="callout",
        blank=CallOut(),
        decide=partial(decide, cities),
        evolve=evolve,
        deadline=partial(deadline, cities),
        listed=is_open,
        address=partial(address_of, cities),
        recover=recovery_command,
    )


def address_of(cities: Cities, about: CallOut | Message) -> Address:
    """`case/desk/n`, with its desk's city; with the line's city if the desk's has no pack."""
    desk, n = getattr(about, "desk", ""), getattr(about, "n", 0)
    assert about.case is not None
    home = desk_city(desk)
    return Address(callout_key(about.case, desk, n), home if home in cities else about.city)
