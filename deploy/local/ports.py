"""The ports of the local system: named, checked before anything starts, and free ones on demand."""

import asyncio
import random
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from deploy.local.trouble import Trouble

HOST = "127.0.0.1"
QUIET_RANGE = range(20_000, 32_000)  # below the ports that outgoing connections take


@dataclass(frozen=True)
class Ports:
    valkey: int = 16379
    kafka: int = 19092
    kafka_controller: int = 19093
    hotline_intake: int = 8101
    risk_assessment: int = 8102
    dispatch: int = 8103
    responder_adapter: int = 8104
    auditor: int = 8105
    collector: int = 8130
    desk_110: int = 8110
    desk_120: int = 8120
    channel: int = 8140

    @classmethod
    def free(cls) -> "Ports":
        return cls(*free(len(cls.__dataclass_fields__)))

    @classmethod
    def chosen(cls, environment: Mapping[str, str], options: Mapping[str, int]) -> "Ports":
        """The defaults, overruled by JINGYI_PORT_<NAME>, overruled by `options`."""
        named = {
            name: environment[variable(name)] for name in cls.__dataclass_fields__ if variable(name) in environment
        }
        unknown = set(options) - set(cls.__dataclass_fields__)
        if unknown:
            raise Trouble(
                f"There is no port named {', '.join(sorted(unknown))}; the names are {', '.join(asdict(cls()))}."
            )
        wrong = [
            f"{variable(name)}={value}" for name, value in named.items() if not (value.isascii() and value.isdecimal())
        ]
        if wrong:
            raise Trouble(f"{', '.join(wrong)} is no port number; give a number between 1024 and 65535.")
        return replace(cls(), **{name: int(value) for name, value in named.items()}, **options)

    def check(self) -> None:
        """One sentence for the first port that cannot be had."""
        for name, port in asdict(self).items():
            if not available(port):
                raise Trouble(
                    f"Port {port} for {name} is taken{holder(port)}; end that program, or choose another port "
                    f"with --port {name}=NUMBER or {variable(name)}=NUMBER (or every one with --free-ports)."
                )


def variable(name: str) -> str:
    return f"JINGYI_PORT_{name.upper()}"


def free(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    found = [port for port in random.sample(QUIET_RANGE, min(len(QUIET_RANGE), 20 * count)) if available(port)]
    return found[:count]


def available(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """By which process, where this user may know."""
    import psutil  # here: whoever only needs the numbers may lack it

    try:
        listening = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid]
        process = psutil.Process(listening[0].pid)
        return f" by {process.name()} (process {process.pid})"
    except (psutil.Error, IndexError):
        return ""


async def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
