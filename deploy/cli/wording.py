"""The words for everything that is said on the bus, in Chinese and English; one line for each event type.

In a template `{field}` is the field in words, and a part in [brackets] is left out where a field in it is empty.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shared.contract import callouts, calls, incidents, risk
from shared.contract.event import Event
from shared.contract.outcomes import OUTCOMES
from shared.contract.rules import RULE_WORDS
from shared.contract.shown import shown_text
from shared.contract.terms import Confidence, Rung, Tier
from shared.contract.words import Words as Words

WORDS: Mapping[type[Event], Words] = {
    calls.CallReceived: Words(
        "来电接通 · 坐席 {counsellor} · 口述编号 {spoken}", "call taken by {counsellor}, spoken number {spoken}"
    ),
    calls.PlaceReported: Words("位置更新 · {place}", "place: {place}"),
    calls.BriefRecorded: Words("警情简报已填写（已封存）", "brief recorded (sealed)"),
    calls.ScreeningRecorded: Words("筛查已保存[ · {danger}]", "screening saved[, {danger}]"),
    calls.EscalationRequested: Words(
        "人工升级 F9 · {by}[ · 指定 {desks}]", "escalated by hand (F9) by {by}[: {desks}]"
    ),
    calls.CallEnded: Words("通话结束 · {how}", "call ended: {how}"),
    calls.FollowUpPlanned: Words("随访计划已定 · {follow_ups}", "follow-up planned: {follow_ups}"),
    calls.WatchCleared: Words(
        "台账解除 · 评估未要求派人[ · {rang}]", "ledger cleared: the assessment asks for nobody on site[; {rang}]"
    ),
    calls.RescueAwaited: Words("台账等待签收[ · {desks} 第 {n} 次]", "ledger waits[ for {desks} to accept, order {n}]"),
    calls.DeskConfirmed: Words("台账确认 · {desk} {because}[ · {rang}]", "ledger: {desk} {because}[; {rang}]"),
    calls.AlarmRaised: Words("🔔 人工告警 · 现在拨打 {desks} · {because}", "🔔 ALARM: phone {desks} now, {because}"),
    calls.AlarmSounded: Words(
        "🔔 外呼第 {ring} 次 · 值班链前 {persons} 人 · 拨打 {desks}",
        "🔔 ring {ring} outside, to the first {persons} of the chain: phone {desks}",
    ),
    calls.AlarmPassedOn: Words("外呼第 {ring} 次已送出", "ring {ring} was taken by a channel"),
    calls.AlarmClaimed: Words("我来打 · {by} 正在拨打 {desk}", "{by} is phoning {desk}"),
    calls.AlarmReleased: Words("告警释放 · {desk} · {because}", "claim on {desk} over: {because}"),
    calls.AlarmSettled: Words(
        "告警落实 · {desk} · 警员 {officer} · 编号 {event_no}",
        "alarm settled: {desk} no. {event_no}, officer {officer}",
    ),
    risk.RiskAssessed: Words(
        "风险评估 · {tier} · {reasons}[ · {dispatch_now}]", "risk {tier}: {reasons}[; {dispatch_now}]"
    ),
    incidents.IncidentOpened: Words(
        "联动事件成立[ · {tier}][ · {by} 人工升级] · 请求 {desks}", "incident opened[, {tier}][, by {by}]: {desks}"
    ),
    incidents.IncidentRaised: Words("联动事件升级[ · {tier}] · {reasons}", "incident raised[, {tier}]: {reasons}"),
    incidents.PlaceMoved: Words("事件位置更新 · {place}", "incident place: {place}"),
    incidents.CallOutOrdered: Words(
        "{purpose} {desk}[ · 第 {n} 次][ · {by} 决定][ · {because}]",
        "{purpose} {desk}[, order {n}][, by {by}][: {because}]",
    ),
    incidents.CallOutCancelRequested: Words(
        "请求撤回 {desk} · {reason} · {by}", "{desk} asked to stand down: {reason}, {by}"
    ),
    incidents.LegChanged: Words("处置线 {desk} · {rung}[ · {code}]", "leg {desk}: {rung}[, {code}]"),
    incidents.LegOverdue: Words("⚠ 处置线逾时 · {desk} 仍无“{rung}”", "⚠ {desk} overdue for: {rung}"),
    incidents.CallNoted: Words(
        "调度记下[ · 位置 {place}][ · 线上 {counselling}][ · {follow_up}]",
        "dispatch notes[ place {place}][ counselling {counselling}][ {follow_up}]",
    ),
    incidents.CounsellingChanged: Words("线上疏导 · {state}", "counselling: {state}"),
    incidents.ContactConfirmed: Words("确认见到本人 · {by}", "contact confirmed by {by}"),
    incidents.AbsenceExplained: Words("未见到本人 · {reason} · {by}", "no contact: {reason}, says {by}"),
    incidents.FollowUpNoted: Words("随访计划已登记", "follow-up plan noted"),
    incidents.IncidentClosed: Words("联动事件结案 · {outcome} · {by}", "incident closed: {outcome}, by {by}"),
    callouts.CallOutTaken: Words("开始通知 {desk} · {wire}", "notifying {desk} by {wire}"),
    callouts.CallOutRetried: Words("{desk} 重发 · 第 {attempt} 次", "{desk}: attempt {attempt}, same key"),
    callouts.CallOutFailed: Words(
        "{desk} 第 {attempt} 次未成 · {reason}", "{desk}: attempt {attempt} failed, {reason}"
    ),
    callouts.CallOutUnreachable: Words(
        "⚠ {desk} 送达失败 · {reason} · 请拨打", "⚠ {desk} unreachable: {reason}; phone it"
    ),
    callouts.CallOutHeld: Words("{desk} 暂停自动发送 · {by} 正在打电话", "{desk} held: {by} is phoning"),
    callouts.CallOutReleased: Words("{desk} 恢复自动发送 · {because}", "{desk} released: {because}"),
    callouts.CallOutRecovered: Words("{desk} 存储重建后恢复", "{desk}: recovered after the store was rebuilt"),
    callouts.CallOutInquired: Words("向 {desk} 查询是否已收到", "asking {desk} whether it has the call-out"),
    callouts.CallOutUncertain: Words(
        "⚠ {desk} 是否收到不明 · {reason} · 请拨打", "⚠ {desk} may or may not have it: {reason}; phone it"
    ),
    callouts.CallOutCancelAsked: Words("向 {desk} 请求撤回 · {reason}", "asking {desk} to stand down: {reason}"),
    callouts.CallOutCancelDelivered: Words(
        "{desk} 已知撤回请求[ · {by}]", "{desk} knows of our wish to cancel[, {by}]"
    ),
    callouts.CallOutDelivered: Words("{desk} 已送达", "{desk} delivered"),
    callouts.CallOutShown: Words("{desk} 已显示", "{desk} shown to a dispatcher"),
    callouts.CallOutAccepted: Words(
        "{desk} 已签收[ · 编号 {event_no}][ · 警员 {officer}][ · {by} 电话记录]",
        "{desk} accepted[, no. {event_no}][, officer {officer}][, taken down by {by}]",
    ),
    callouts.CallOutRejected: Words("{desk} 已拒绝 · {code}", "{desk} rejected: {code}"),
    callouts.CallOutAssigned: Words("{desk} 已派单[ · {unit}]", "{desk} assigned[ {unit}]"),
    callouts.CallOutEnRoute: Words("{desk} 已出发", "{desk} en route"),
    callouts.CallOutArrived: Words("{desk} 已到场", "{desk} arrived"),
    callouts.CallOutContactMade: Words("{desk} 见到本人", "{desk} made contact"),
    callouts.CallOutNotFound: Words("{desk} 未找到本人", "{desk} did not find the person"),
    callouts.CallOutTransporting: Words("{desk} 转运中", "{desk} transporting"),
    callouts.CallOutHandedOver: Words("{desk} 已移交", "{desk} handed over"),
    callouts.CallOutCleared: Words("{desk} 处置完毕 · {code}", "{desk} cleared: {code}"),
    callouts.CallOutCancelled: Words("{desk} 已撤回", "{desk} stood down"),
    callouts.ReportDisputed: Words(
        "⚠ {desk} 回执矛盾 · {rung_said}[ · {event_no}][ · {code}]",
        "⚠ {desk} disputed: {rung_said}[ {event_no}][ {code}]",
    ),
}
"""Every event there is; a test holds it to that."""

KINDS: Mapping[str, type[Event]] = {kind.type_name(): kind for kind in WORDS}
"""Event type by the CloudEvents `type` it is sent under."""

TIERS: Mapping[str, Words] = {
    Tier.NONE: Words("无阳性", "none"),
    Tier.LOW: Words("低危", "low"),
    Tier.MODERATE: Words("中危", "moderate"),
    Tier.HIGH: Words("高危", "high"),
    Tier.IMMINENT: Words("正在发生", "IMMINENT"),
}

RUNGS: Mapping[str, Words] = {
    Rung.REQUESTED: Words("已请求", "requested"),
    Rung.DELIVERED: Words("已送达", "delivered"),
    Rung.SHOWN: Words("已显示", "shown"),
    Rung.ACCEPTED: Words("已签收", "accepted"),
    Rung.REJECTED: Words("已拒绝", "rejected"),
    Rung.ASSIGNED: Words("已派单", "assigned"),
    Rung.EN_ROUTE: Words("已出发", "en route"),
    Rung.ARRIVED: Words("已到场", "arrived"),
    Rung.CONTACT: Words("见到本人", "contact"),
    Rung.NOT_FOUND: Words("未找到本人", "not found"),
    Rung.TRANSPORTING: Words("转运中", "transporting"),
    Rung.HANDED_OVER: Words("已移交", "handed over"),
    Rung.CLEARED: Words("处置完毕", "cleared"),
    Rung.CANCELLED: Words("已撤回", "stood down"),
}

CONFIDENCE: Mapping[str, Words] = {
    Confidence.UNKNOWN: Words("不明", "unknown"),
    Confidence.GUESSED: Words("推测", "guessed"),
    Confidence.STATED: Words("来电人自述", "stated by the caller"),
    Confidence.READ_BACK: Words("已复述确认", "read back with the caller"),
}

CODES: Mapping[str, Words] = {
    **RULE_WORDS,
    **OUTCOMES,
    "escalated_by_hand": Words("人工升级", "escalated by hand"),
    "unassessed": Words("评估未到", "no assessment came"),
    "unordered": Words("无人派警", "nobody was called out"),
    "unaccepted": Words("无人签收", "nobody accepted"),
    "recovered": Words("存储重建后不明", "unclear since the store was rebuilt"),
    "store_silent": Words("存储无应答时响起", "the store was silent"),
    "accepted": Words("已签收", "has accepted"),
    "stood_down": Words("我方已撤回", "was stood down by us"),
    "claim_lapsed": Words("超时未落实", "it lapsed"),
    "given_back": Words("未打通", "not reached"),
    "hold_lapsed": Words("超时", "the hold lapsed"),
    "completed": Words("正常结束", "completed"),
    "lost": Words("线路中断", "line lost"),
    "ended": Words("已结束", "ended"),
    "on_line": Words("通话中", "on the line"),
    "absent": Words("无", "none"),
    "act": Words("请求出警/出车", "CALL OUT"),
    "warn": Words("语音预警", "warn by voice"),
    "webhook": Words("系统对接", "its own system"),
    "phone": Words("人工电话", "a person's phone call"),
    "assisted": Words("已救助", "assisted"),
    "transported": Words("已转运", "transported"),
    "wrong_jurisdiction": Words("非本辖区", "wrong jurisdiction"),
    "cannot_locate": Words("无法定位", "cannot locate"),
    "no_unit": Words("无可用警力", "no unit free"),
    "duplicate": Words("重复警情", "duplicate"),
    "too_old": Words("警情过旧", "too old"),
    "playbook": Words("预案", "the playbook"),
    "place_moved": Words("位置已变", "the place moved"),
    "place_corrected": Words("地点已更正", "the place was corrected"),
}
"""Coded words that are written out; any other code stands for itself."""

YES: Mapping[str, Words] = {
    "danger": Words("危险阳性，台账计时开始", "danger positive: the ledger's clocks run"),
    "dispatch_now": Words("立即派人", "people on site now"),
    "follow_up": Words("已有随访计划", "a follow-up plan"),
    "rang": Words("告警解除", "the alarm is over"),
}
"""Fields that are yes or no; a no is left out."""

OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
FIELD = re.compile(r"\{([a-z_]+)\}")


def said(event: Event, spoken: str) -> Words:
    """The event in words; `spoken` is the number people say to each other."""
    pattern = WORDS[type(event)]
    zh, en = {}, {}
    for name, value in event:
        words = worded(name, value, event.city)
        zh[name], en[name] = words.zh, words.en
    zh["spoken"] = en["spoken"] = spoken
    return Words(filled(pattern.zh, zh), filled(pattern.en, en))


def filled(template: str, fields: Mapping[str, str]) -> str:
    """The template with its fields; a bracketed part needs all of its fields."""
    kept = OPTIONAL.sub(
        lambda part: part[1] if all(fields.get(name) for name in FIELD.findall(part[1])) else "", template
    )
    return FIELD.sub(lambda field: fields.get(field[1]) or "—", kept)


def worded(name: str, value: Any, home: str) -> Words:
    """One field of an event in words; `home` is the line's city."""
    if value is None or value is False or value == ():
        return Words("", "")
    if value is True:
        return YES.get(name, Words("是", "yes"))
    return IN_WORDS[name](value, home) if name in IN_WORDS else coded(str(value))


def coded(code: str) -> Words:
    """A published code in words, or as it stands."""
    return CODES.get(code, Words(code, code))


def joined(parts: Iterable[Words]) -> Words:
    words = list(parts)
    return Words("；".join(word.zh for word in words), "; ".join(word.en for word in words))


def desk(name: str, home: str) -> Words:
    """A desk as people call it: 110, or 110@140100 where it is another city's. Kinds stand for themselves."""
    city, _, kind = name.rpartition("-")
    called = kind if city in {"", home} else f"{kind}@{city}"
    return Words(called, called)


def several(names: Iterable[str], home: str) -> Words:
    called = [desk(name, home).zh for name in names]
    return Words("、".join(called), ", ".join(called))


def contacts(planned: tuple[calls.FollowUp, ...]) -> Words:
    """The dates of a follow-up plan, refusals included."""
    zh = "、".join(f"{one.due:%Y-%m-%d}{'' if one.agreed else '（拒绝）'}" for one in planned)
    refused = sum(not one.agreed for one in planned)
    return Words(zh, f"{len(planned)} contacts" + (f", {refused} refused" if refused else ""))


def number(value: str, home: str) -> Words:
    """A number stands for itself. A warning has no n, and no event number."""
    return Words(shown_text(value), shown_text(value))


IN_WORDS: Mapping[str, Callable[[Any, str], Words]] = {
    "place": lambda place, home: CONFIDENCE[place.confidence],
    "tier": lambda tier, home: TIERS[tier],
    "rung": lambda rung, home: RUNGS[rung],
    "rung_said": lambda rung, home: RUNGS[rung],
    "desk": desk,
    "desks": several,
    "reasons": lambda codes, home: joined(map(coded, codes)),
    "follow_ups": lambda planned, home: contacts(planned),
    "n": lambda n, home: number(str(n or ""), home),
    "event_no": lambda event_no, home: number(event_no.strip("-"), home),
    "officer": number,
    "unit": number,
}
"""How a field is put into words, where it is not a code of the published lists."""
