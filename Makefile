.DEFAULT_GOAL := help
.PHONY: help setup run demo test check bench faults simulate lock clean
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do command -v $$p && break; done)
PYTHON := $(or $(PYTHON),python3)
BIN := .venv/bin
SOURCES := $(wildcard services shared deploy tests)

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile
setup: ## make this machine ready: .venv, Kafka, Valkey (implied by the others)
	@command -v "$(PYTHON)" >/dev/null || { echo "No python3 is on PATH; install Python 3.11 or newer and run make again."; exit 1; }
	@"$(PYTHON)" deploy/local/bootstrap.py
run: setup ## start everything, print where it is, stay until Ctrl-C
	@$(BIN)/jingyi run
demo: setup ## play one joint response from the call to its closing
	@$(BIN)/jingyi demo
test: setup ## the whole suite, against real Kafka and Valkey
	@$(BIN)/python -m pytest $(ARGS)
check: setup ## ruff, format, mypy --strict
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy $(SOURCES)
bench: setup ## performance beside the bare pipeline; writes bench.json
	@$(BIN)/jingyi bench
faults: setup ## the fault suite on real processes, up to 25 min; writes docs/reliability-report.md; ONLY=F1,F3 SEED=
	@$(BIN)/python -m tests.faults $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED))
simulate: setup ## every service in one virtual-time loop, SEEDS= schedules of faults; SEED= tells one in full
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000) --keep)
lock: setup ## pin every dependency again, with hashes
	@$(BIN)/python -m deploy.local.lock
clean: ## remove what set-up and runs have made, data included
	@rm -rf .venv .jingyi jingyi.egg-info
