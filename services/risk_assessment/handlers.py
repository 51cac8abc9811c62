"""What risk assessment does on hearing of a saved screening: open the answers, check them, have them rated."""

from pydantic import StrictBool, TypeAdapter, ValidationError

from services.risk_assessment.assessment import Assess, Assessment
from shared.contract.calls import ScreeningRecorded
from shared.contract.instruments import Answers, UnknownAnswer, check_answers, has_danger, known_answers
from shared.kernel.errors import Malformed
from shared.kernel.machine.keeper import IdempotencyKey, Keeper
from shared.kernel.machine.vault import Vault

ANSWERS: TypeAdapter[dict[str, dict[str, StrictBool]]] = TypeAdapter(dict[str, dict[str, StrictBool]])


async def on_screening_recorded(
    vault: Vault, assessments: Keeper[Assessment], recorded: ScreeningRecorded, cause: IdempotencyKey
) -> None:
    """Have the screening rated. Answers that cannot be read, or that no instrument has, are Malformed."""
    field = f"answers/{recorded.screening}"
    opened = await vault.unseal(recorded.case, field, recorded.answers, city=recorded.city)
    command = Assess(
        case=recorded.case,
        city=recorded.city,
        screening=recorded.screening,
        answers=readable_answers(opened),
        situation=recorded.situation,
    )
    await assessments.learn(command, cause)


def readable_answers(opened: object) -> Answers:
    """The answers, if they are some. Those that mean danger are rated, whatever stands beside them.

    Its errors name what is wrong, never what was answered.
    """
    known, _ = known_answers(opened)
    if has_danger(known):
        return known
    try:
        answers = ANSWERS.validate_python(opened)
        check_answers(answers)
    except ValidationError:
        raise Malformed("answers_unreadable") from None
    except UnknownAnswer as refusal:
        raise Malformed(refusal.code) from None
    return answers
