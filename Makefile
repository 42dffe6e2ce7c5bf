# the first Python 3.11 that can make a virtual environment; PYTHON=... names another
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo kernels test check lint types imports test-kafka test-spark kafka kafka-down prove crash-test bench lock clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/installed ## make .venv with the refold command

.venv/installed: requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Refold needs Python 3.11 with ensurepip; name yours with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## real groceries through everything, on the embedded broker; then a page to click on
	$(BIN)/refold demo

# Compiles the learner into its cache on disk: else each process of tests would do so at once, for a minute, and the
# first test in each that needs it would pay.
kernels: setup
	$(BIN)/python -c "import agents.learner, api.lore; agents.learner.compile_kernels(); api.lore.warm()"

test: kernels ## every test that needs no external service
	$(BIN)/python -m pytest -n 2

check: lint types imports test test-kafka prove ## exactly what CI runs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

test-kafka: kernels ## the tests that need a real Apache Kafka (REFOLD_KAFKA, or one started for them: Java 17, Maven)
	$(BIN)/python -m pytest tests/kafka -m kafka -n 3 --dist load

# PySpark is half a gigabyte, so nobody gets it unasked.
test-spark: setup ## the tests of the engine Spark, for which they install PySpark (Java 17)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[spark]' --no-build-isolation
	$(BIN)/python -m pytest tests/ops/train/test_spark.py -m spark

kafka: setup ## start a real Apache Kafka in the background, on port 9092
	$(BIN)/refold kafka up

kafka-down: setup ## stop it
	$(BIN)/refold kafka down

prove: kernels ## prove in under five minutes that tables are the fold of the log, whatever is killed
	$(BIN)/refold prove --quick

crash-test: setup ## the same with every scenario in full: about an hour, as root for the full disk
	$(BIN)/refold prove

bench: setup kafka ## every measurement, on that Kafka
	$(BIN)/refold bench ingest --json
	$(BIN)/refold bench rebuild --json
	$(BIN)/refold bench freshness --json
	$(BIN)/refold bench outcome --json
	$(BIN)/refold bench recovery --json
	$(BIN)/refold bench index --json
	$(BIN)/refold bench serve --json
	$(BIN)/refold bench experiments --json
	$(BIN)/refold bench score --json
	$(BIN)/refold bench learn --json
	$(BIN)/refold bench assign --json
	$(BIN)/refold bench ahead --json

lock: ## write the locked requirements anew (needs uv)
	uv pip compile --quiet --generate-hashes --python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile --quiet --generate-hashes --python-version 3.11 --extra demo --extra train --extra deep --extra remote --group dev pyproject.toml -o requirements-dev.lock

clean: ## remove what was made
	rm -rf .venv .refold dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
