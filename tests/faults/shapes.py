"""The stages that faults share: each start costs 8 s, so faults that leave the others' state alone play on one."""

from deploy.local.desk_behaviour import Behaviour
from tests.faults.programs import BadDesk, Shape
from tests.faults.proxy import Wire

ONE_BROKER = Shape("one broker")
THREE_BROKERS = Shape("three brokers", brokers=3)
WIRED = Shape("spoilt wires", wired=True, compared=False, descriptors=1024)
REPLACED = Shape("store and topics replaced")

TWO_ADAPTERS = BAD_DESKS = Shape(
    "two adapters",
    twin=True,
    bad=(
        BadDesk("901", "refused", wire=Wire.REFUSED),
        BadDesk("902", "blackhole", wire=Wire.BLACKHOLE),
        BadDesk("903", "reset after the request", wire=Wire.RESET_AFTER_REQUEST),
        BadDesk("904", "HTTP 500", behaviour=Behaviour(answer="error")),
        BadDesk("905", "200 after 30 s", behaviour=Behaviour(answer="at_once", slow=30)),
        BadDesk("906", "cut before the reply", wire=Wire.CUT_BEFORE_REPLY),
        BadDesk("907", "half a reply", wire=Wire.HALF_A_REPLY),
        BadDesk("908", "garbage", behaviour=Behaviour(answer="garbage")),
        BadDesk("909", "slow drip", wire=Wire.SLOW_DRIP),
        BadDesk("910", "302", wire=Wire.REDIRECT),
        BadDesk("911", "another secret", knows_secret=False),
        BadDesk("912", "expired certificate", tls="expired"),
        BadDesk("913", "reply in 1-byte slices", wire=Wire.SLICED),
        BadDesk("914", "has it, never accepts", behaviour=Behaviour(answer="silent")),
        BadDesk("915", "valid certificate", tls="valid"),
    ),
)
