"""`python -m services.auditor` runs the auditor."""

from services.auditor.service import run

if __name__ == "__main__":
    run()
