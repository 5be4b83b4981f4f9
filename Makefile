# Every target sets up what it needs; CI runs these very targets.
PYTHON ?= python3
EXTRAS ?= dev,torch
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed-$(EXTRAS)
comma := ,
ROOMS = ppl guides inference diagnostics operations src tests examples benchmarks

# LOCKED=yes: the versions of locked.txt, with which everything passed.
LOCKED ?=
PINS = $(if $(LOCKED),-c locked.txt)
TORCH = torch==2.13.0

.PHONY: setup demo test test-all test-slow check types notebooks bench wheel lock sbom

setup: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(filter torch,$(subst $(comma), ,$(EXTRAS))),$(BIN)/python -m pip install -q $(TORCH))
	$(BIN)/python -m pip install -q $(PINS) -e ".[$(EXTRAS)]"
	touch $@

demo: setup
	$(BIN)/elboroom demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The slow ones alone; those that have not begun within so many seconds are skipped, and named.
WITHIN ?= inf
test-slow: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow -rs --within $(WITHIN)

check: setup types
	$(BIN)/ruff format --check $(ROOMS)
	$(BIN)/ruff check $(ROOMS)
	$(BIN)/python -m pytest tests/test_rooms.py

# Types are checked on an installed copy, where the rooms have their public import names.
types: setup
	copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	$(BIN)/python -m pip install -q --no-deps --target "$$copy" . && \
	MYPYPATH="$$copy" $(BIN)/mypy -p elboroom --config-file pyproject.toml

notebooks: setup
	$(BIN)/python examples/execute.py examples/*.ipynb

bench: setup
	$(BIN)/python benchmarks/posteriordb.py
	$(BIN)/python benchmarks/posteriordb.py --guides
	$(BIN)/python benchmarks/backends.py
	$(BIN)/python benchmarks/backends.py --parity
	$(BIN)/python benchmarks/language.py
	$(BIN)/python benchmarks/odes.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/figures.py
	$(BIN)/python benchmarks/scaling.py --peers --free
	$(BIN)/python benchmarks/many_groups.py
	$(BIN)/python benchmarks/others.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/hierarchies.py
	$(BIN)/python benchmarks/series.py
	$(BIN)/python benchmarks/modes.py
	$(BIN)/python benchmarks/refine.py
	$(BIN)/python benchmarks/refine.py --gate
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/price.py
	$(BIN)/python benchmarks/resume.py
	$(BIN)/python benchmarks/checks.py
	$(BIN)/python benchmarks/blame.py
	$(BIN)/python benchmarks/real.py
	$(BIN)/python benchmarks/hierarchy.py --r
	$(BIN)/python benchmarks/svi.py --torch
	$(BIN)/python benchmarks/flows.py --peers
	$(BIN)/python benchmarks/flights.py
	$(BIN)/python benchmarks/movielens.py
	$(BIN)/python benchmarks/vae.py
	$(BIN)/python benchmarks/uses.py
	$(BIN)/python benchmarks/abuse.py
	$(BIN)/python benchmarks/canary.py
	$(BIN)/python benchmarks/stream.py coin line --updates 20
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/serve.py --repeats 2

# Resolves again for every supported Python; needs uv, and an index where it looks for one.
lock:
	echo "$(TORCH)" | uv pip compile pyproject.toml --all-extras --universal --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --upgrade --constraint - --output-file locked.txt

sbom: setup
	.ci/supply

wheel: setup
	rm -rf build dist
	$(BIN)/python -m build -q --wheel
