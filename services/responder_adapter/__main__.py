"""`python -m services.responder_adapter` runs the service."""

from services.responder_adapter.service import build
from shared.kernel.process.program import run_service

if __name__ == "__main__":
    run_service(build)
