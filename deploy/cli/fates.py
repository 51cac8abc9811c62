"""The words for what became of an escalation, and for whose turn it is with each desk."""

from collections.abc import Mapping

from deploy.cli.wording import Words
from shared.contract.audit import Fate, Turn

FATES: Mapping[str, Words] = {
    Fate.UNACCOUNTED: Words("未落实", "UNACCOUNTED"),
    Fate.UNDER_WAY: Words("进行中", "under way"),
    Fate.CLOSED: Words("已结案", "closed"),
    Fate.NOT_NEEDED: Words("评估未要求派人", "nobody needed on site"),
    Fate.WITH_PEOPLE: Words("待人处理", "waits for a person"),
    Fate.STOOD_DOWN: Words("已撤回", "stood down"),
    Fate.ACCEPTED: Words("已签收", "accepted"),
}

TURNS: Mapping[str, Words] = {
    Turn.REQUESTED: Words("已请求", "requested"),
    Turn.TASK: Words("电话任务", "phone task"),
    Turn.DELIVERED: Words("已送达", "delivered"),
    Turn.RINGING: Words("告警中", "ringing"),
    Turn.HELD: Words("有人在打", "being phoned"),
    Turn.REJECTED: Words("已拒绝", "rejected"),
    Turn.ACCEPTED: Words("已签收", "accepted"),
    Turn.SETTLED: Words("已电话告知", "settled by phone"),
    Turn.STOOD_DOWN: Words("已撤回", "stood down"),
    Turn.CLEARED: Words("处置完毕", "cleared"),
}
