"""What we say on Kafka is a CloudEvent in binary mode, as its own library reads it."""

from datetime import UTC
from uuid import UUID, uuid4

import httpx
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat

from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import CITY, counted, give, mouth, ready
from tests.kernel.tally.service import Counted, build


async def test_a_record_of_ours_is_a_valid_cloudevent_with_our_extensions(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        await give(producer, case, 3, None, ("ce_drill", b"true"))
        record = (await counted(settings.kafka, case, 3))[0]
    event = from_binary(KafkaMessage(dict(record.headers), record.key, record.value), JSONFormat())
    assert event.get_specversion() == "1.0"
    assert event.get_type() == Counted.type_name()
    assert event.get_source() == "/jingyi/tally"
    assert UUID(event.get_id()).version == 5
    assert event.get_datacontenttype() == "application/json"
    assert (event.get_time() or record).tzinfo == UTC or str(event.get_time()).endswith("+00:00")
    assert {event.get_extension(name) for name in ("partitionkey", "subject")} <= {str(case), None}
    assert event.get_extension("city") == CITY
    assert event.get_extension("drill") == "true"
    assert len({name for name, _ in record.headers}) == len(record.headers)
    data = event.get_data()
    assert isinstance(data, dict)
    assert (data["case"], data["total"]) == (str(case), 3)
