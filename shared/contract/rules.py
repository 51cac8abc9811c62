"""The reasons an assessment gives: every rule's published id, in words."""

from collections.abc import Mapping

from shared.contract.words import Words

RULE_WORDS: Mapping[str, Words] = {
    "cssrs-screener/1:1": Words("过去一个月希望自己死去或不再醒来", "wish to be dead, past month"),
    "cssrs-screener/1:2": Words("过去一个月有自杀念头", "active thoughts of killing oneself, past month"),
    "cssrs-screener/1:3": Words("想过自杀的方法", "thoughts with a method"),
    "cssrs-screener/1:4": Words("有付诸行动的意向", "some intent to act"),
    "cssrs-screener/1:5": Words("有具体计划并打算实施", "a plan, and the intent to carry it out"),
    "cssrs-screener/1:6_lifetime": Words("一生中有过自杀行为或准备", "suicidal behaviour, ever in life"),
    "cssrs-screener/1:6_3_months": Words("最近三个月内有自杀行为或准备", "suicidal behaviour within three months"),
    "acute-criteria/1:plan_72_hours": Words("计划在72小时内实施", "plans to act within 72 hours"),
    "acute-criteria/1:attempt_2_weeks": Words("最近两周内自杀未遂", "an attempt within the past two weeks"),
    "acute-criteria/1:in_progress": Words("正在实施", "the act is in progress"),
    "cssrs-screener/1:none": Words("所问各项均为否", "every item asked was answered no"),
    "cssrs-screener/1:unfinished": Words("尚未问完，已答各项均为否", "not asked to the end; no positive answer so far"),
    "acute-criteria/1:none": Words("所问各项均为否", "every item asked was answered no"),
    "acute-criteria/1:unfinished": Words("尚未问完，已答各项均为否", "not asked to the end; no positive answer so far"),
}
