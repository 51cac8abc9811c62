"""Where each call-out is kept, and the machine that keeps it."""

from functools import partial

from services.responder_adapter.callout import deadline, decide, listed, named
from services.responder_adapter.recovery import wish
from services.responder_adapter.sheet import CallOut, evolve
from shared.contract.city import Cities
from shared.contract.event import Message
from shared.contract.terms import desk_city
from shared.kernel.keeper import Address, Machine


def machine(cities: Cities) -> Machine[CallOut]:
    """The machine of call-outs under these city packs."""
    return Machine(
        name="callout",
        blank=CallOut(),
        decide=partial(decide, cities),
        evolve=evolve,
        deadline=partial(deadline, cities),
        listed=listed,
        address=lambda message: _address(cities, message),
        recover=wish,
    )


def address_of(cities: Cities, callout: CallOut) -> Address:
    """`case/desk/n`, with its desk's city; with the line's city if the desk's has no pack."""
    home = desk_city(callout.desk)
    return Address(callout.key, home if home in cities else callout.city)


def _address(cities: Cities, message: Message) -> Address:
    return address_of(cities, named(CallOut(), message))
