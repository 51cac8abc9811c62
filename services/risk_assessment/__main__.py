"""Runs risk assessment as a process of its own."""

from services.risk_assessment.service import build
from shared.kernel.process.program import run_service

if __name__ == "__main__":
    run_service(build)
