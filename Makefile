# Everything runs in .venv, made from the hashed requirements.txt on first use; Locust in .venv-load.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE :=
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test check fix drill simulate bench bench-mail soak load up openapi lock clean

## make demo: a flash crowd fights over a few hundred tickets; then the service stays up
demo: .venv/.ready
	$(BIN)/onsale demo $(ARGS)

## make test: what CI runs; drills of the whole service mostly wait, so the rest runs beside them
test: .venv/.ready .venv-load/.ready
	@.ci/streams $(BIN)/python $(ARGS)

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
	ONSALE_DRILL_IDLE_SECONDS=600 $(BIN)/python -m pytest -m drill tests/end_to_end $(ARGS)

## make simulate: many seeds of the simulation and long property tests
simulate: .venv/.ready
	ONSALE_SIMULATE=$${ONSALE_SIMULATE:-2000} $(BIN)/python -m pytest tests/simulation tests/unit/engine/domain/test_model.py $(ARGS)

## make bench: measures this machine
bench: .venv/.ready
	$(BIN)/onsale bench $(ARGS)

## make bench-mail: how long tickets take to be in the mail, and what sales lose by them
bench-mail: .venv/.ready
	$(BIN)/python -m loadtests.bench.mail $(ARGS)

## make soak: a quarter of an hour at half the peak; the status says whether a process has grown
soak: .venv/.ready
	$(BIN)/python -m loadtests.bench.soak $(ARGS)

## make load: Locust against a service of its own: 1000 users in 30 seconds; the verdict is the status
load: .venv/.ready .venv-load/.ready
	$(BIN)/python -m loadtests.locust $(ARGS)

up: .venv/.ready
	$(BIN)/onsale up $(ARGS)

## make openapi: writes docs/openapi.json from the application
openapi: .venv/.ready
	$(BIN)/python -m gateway.openapi > docs/openapi.json

## make lock: pins the newest versions that pyproject.toml allows
lock: .venv/.ready
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade -q -o requirements.txt
	$(BIN)/uv pip compile --group load --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade -q -o requirements-load.txt

clean:
	rm -rf .venv .venv-load build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Installs what requirements pin ($(2)) into an environment ($(1)), all of it checked by its hash.
# uv takes 5 seconds for what takes pip 90. Where only pip has been told the way to packages, it does it.
define install
	$(BIN)/uv pip install -q --python $(1)/bin/python --link-mode copy --require-hashes $(3) -r $(2) || \
		$(BIN)/python -m pip --python $(1)/bin/python install $(PIP_OPTIONS) --require-hashes $(3) -r $(2)
endef
PIP_OPTIONS := -q --disable-pip-version-check

.venv/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\]$$/p' requirements.txt > .venv/uv.txt
	$(BIN)/python -m pip install $(PIP_OPTIONS) --require-hashes -r .venv/uv.txt
	$(call install,.venv,requirements.txt)
	$(BIN)/python -m pip install $(PIP_OPTIONS) --no-deps --no-build-isolation -e .
	touch $@

.venv-load/.ready: requirements-load.txt | .venv/.ready
	$(PYTHON) -m venv --without-pip .venv-load
	$(call install,.venv-load,requirements-load.txt,--only-binary :all:)
	touch $@
