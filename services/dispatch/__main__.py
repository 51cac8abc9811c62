"""`python -m services.dispatch` runs the service."""

from services.dispatch.service import build
from shared.kernel.process.program import run_service

if __name__ == "__main__":
    run_service(build)
