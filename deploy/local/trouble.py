"""What can go wrong on this machine, said in one sentence: what happened, and what to do next."""

import errno


class Trouble(Exception):
    """Its text is the whole message a person sees."""


def explain(error: OSError, doing: str, do: str = "make it yours, or set JINGYI_STATE to a folder that is") -> str:
    """The sentence for an operating system's refusal while `doing` something."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full while {doing}; free about 1 GB and run the same command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        place = error.filename or "A file"
        return f"{place} may not be written while {doing}; {do}."
    return f"{error.strerror or error} while {doing} ({error.filename or 'no file named'}); run the same command again."
