"""How an incident can end: the codes of a closing, in words."""

from collections.abc import Mapping

from shared.contract.terms import Code
from shared.contract.words import Words

# Ours to start from; the field's own list of outcomes is not published (domain notes §7), so cities may ask for more.
OUTCOMES: Mapping[Code, Words] = {
    "safe_at_home": Words("在家，已安全", "safe at home"),
    "handed_to_family": Words("已交由家属看护", "handed over to the family"),
    "hospital": Words("已送医", "taken to hospital"),
    "psychiatric_care": Words("已送精神专科", "taken to psychiatric care"),
    "police_custody": Words("由公安机关保护性约束", "in the care of the police"),
    "refused_help": Words("本人拒绝帮助", "refused help"),
    "not_found": Words("未找到本人", "not found"),
    "deceased": Words("死亡", "deceased"),
    "unfounded": Words("查无此事", "unfounded"),
}
