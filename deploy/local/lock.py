"""Pins every dependency of pyproject.toml with its hashes into requirements/."""

import subprocess
import sys
import venv
from pathlib import Path

from deploy.local.folders import ROOT, tools

UV = "uv==0.13.9"
EXTRAS = {"dev": ("local", "dev"), "local": ("local",), "runtime": ()}  # the widest first: it constrains the others
OPTIONS = ("--universal", "--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", "--quiet")


def main() -> None:
    uv = resolver()
    for name, extras in EXTRAS.items():
        chosen = [word for extra in extras for word in ("--extra", extra)]
        constraint = ["--constraint", "requirements/dev.txt"] if name != "dev" else []
        target = f"requirements/{name}.txt"
        command = [str(uv), "pip", "compile", *OPTIONS, "--python-version", "3.11", *chosen, *constraint]
        subprocess.run([*command, *sys.argv[1:], "pyproject.toml", "--output-file", target], cwd=ROOT, check=True)
        print(f"{target} is pinned")


def resolver() -> Path:
    home = tools() / "lock"
    if not (home / "bin" / "uv").exists():
        venv.create(home, with_pip=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "--quiet", UV], check=True)
    return home / "bin" / "uv"


if __name__ == "__main__":
    main()
