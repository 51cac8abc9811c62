"""Runs a program that the kernel kills when its starter dies, even by kill -9: `leash.py STARTER PROGRAM ARGUMENTS`.

What the program writes is for its owner alone.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(starter: int, argv: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != starter:  # it died before the line above
            sys.exit(1)
    os.umask(0o077)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
