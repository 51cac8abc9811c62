"""电话: what to say to a desk that is reached by voice, and what to write down."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.responder_adapter.state import CallOut
from services.responder_adapter.status import CallOutStatus
from shared.contract.city import City
from shared.contract.incidents import Purpose
from shared.contract.shown import shown_text
from shared.contract.terms import Confidence

CONFIDENCE: Mapping[Confidence, str] = {
    Confidence.READ_BACK: "已与来电人复述确认",
    Confidence.STATED: "来电人自述，尚未复述确认",
    Confidence.GUESSED: "推测，请核实",
    Confidence.UNKNOWN: "不明，请协助定位来电号码",
}

FIELDS: Mapping[str, str] = {
    "callback": "来电号码",
    "counsellor_line": "咨询员直线（三方通话）",
    "name": "姓名",
    "sex": "性别",
    "age": "年龄",
    "appearance": "体貌衣着",
    "company": "身边人员",
    "door_code": "门禁",
    "means": "方式",
    "weapon": "凶器",
    "hazards": "现场危险",
    "substance": "服用物质",
    "dose": "剂量",
    "state": "目前状态",
    "approach": "接近方式",
}
"""Fields of the brief in the order they are read out."""


@dataclass(frozen=True)
class ScriptLine:
    """One line of the script: what it is about, and the words."""

    about: str
    words: str


def call_script(
    callout: CallOut, line: City, spoken_number: str, *, brief: Mapping[str, str], place: str | None
) -> tuple[ScriptLine, ...]:
    """The call, line by line: who we are, the number we both say, where, what, how to approach, what to ask for."""
    who = ScriptLine("我方", f"您好，这里是{line.name}12356心理援助热线，我的工号是（请报工号）。")
    number = ScriptLine("联动编号", f"联动编号：{spoken_number}。")
    if callout.status is CallOutStatus.STANDING_DOWN:
        ask = "先前请求处置的事件，现请求撤回。请问能否撤回？请告知警号或工号。"
        return (who, number, *_known_event(callout), ScriptLine("请求撤回", ask))
    where = callout.situation.place
    spot = ScriptLine("地点", f"{place or '详细地址不明'}（{CONFIDENCE[where.confidence]}）。")
    told = tuple(ScriptLine(FIELDS[name], brief[name]) for name in FIELDS if name in brief)
    return (who, number, _request(callout), spot, *told, _ask(callout))


def _known_event(callout: CallOut) -> tuple[ScriptLine, ...]:
    return (ScriptLine("贵方编号", f"贵方事件编号：{shown_text(callout.event_no)}。"),) if callout.event_no else ()


def _request(callout: CallOut) -> ScriptLine:
    if callout.purpose is Purpose.WARN:
        return ScriptLine("预警", "我们正在与一名有自杀危险的来电人通话，地点尚不明确，先向您预警，请做好出动准备。")
    return ScriptLine("请求", "我们正在与一名有自杀危险的来电人通话，咨询员保持在线，请立即派人到场。")


def _ask(callout: CallOut) -> ScriptLine:
    if callout.purpose is Purpose.WARN:
        return ScriptLine("请记录", "请问您的警号或工号？（记下后填入）")
    return ScriptLine("请记录", "请问您的警号或工号？贵方事件编号是多少？（两项都记下后填入，才算已签收）")
