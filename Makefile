# Everything runs in .venv, made from the hashed requirements.txt on first use.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE :=
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test check fix drill simulate bench up openapi lock clean

## make demo: a flash crowd fights over a few hundred tickets; then the service stays up
demo: .venv/.ready
	$(BIN)/onsale demo $(ARGS)

## make test: what CI runs
test: check
	$(BIN)/python -m pytest -m "not drill" $(ARGS)

## make check: never edits
check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

## make fix: edits what can be put right mechanically
fix: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make drill: the slow fault drills
drill: .venv/.ready
	$(BIN)/python -m pytest -m drill tests/end_to_end $(ARGS)

## make simulate: many seeds of the simulation and long property tests
simulate: .venv/.ready
	ONSALE_SIMULATE=$${ONSALE_SIMULATE:-2000} $(BIN)/python -m pytest tests/simulation tests/unit/engine/domain/test_model.py $(ARGS)

## make bench: measures this machine
bench: .venv/.ready
	$(BIN)/onsale bench $(ARGS)

up: .venv/.ready
	$(BIN)/onsale up $(ARGS)

## make openapi: writes docs/openapi.json from the application
openapi: .venv/.ready
	$(BIN)/python -m gateway.openapi > docs/openapi.json

## make lock: pins the newest versions that pyproject.toml allows
lock: .venv/.ready
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade -q -o requirements.txt

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
