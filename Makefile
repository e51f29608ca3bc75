# From a fresh clone with git, make and Python 3.11: `make demo` shows the main job, `make test` proves it.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
# Installed first and pinned: a plain `torch` pulls gigabytes of CUDA libraries on Linux. Override for a GPU build.
TORCH  ?= torch==2.13.0
# Without its dependencies: torchvision's wheels load only beside the CUDA build of torch, so with the CPU build timm
# wants a stand-in for torchvision; the rest of what it needs comes with accelerate.
TIMM   ?= timm==1.0.31
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup setup-dev demo test test-long mutation lint bench docs clean

setup: $(VENV)/.core
setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) '$(TORCH)'
	$(PIP) -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) -c constraints.txt -e '.[dev]'
	$(PIP) --no-deps '$(TIMM)'
	touch $@

demo: setup
	$(BIN)/dopant run

test: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not long'

test-long: setup-dev
	$(BIN)/python -m pytest -m long

# Some two thousand small changes to the statistics, one at a time: do the tests notice? About 15 minutes of a free core.
mutation: setup-dev
	$(PIP) -c constraints.txt -e '.[mutation]'
	$(BIN)/mutmut run --max-children 2
	$(BIN)/python tests/mutation/tally.py

lint: setup-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/pyright

bench: setup-dev
	$(BIN)/python benchmarks/loop.py
	$(BIN)/python benchmarks/founding.py
	$(BIN)/python benchmarks/kernel.py
	$(BIN)/python benchmarks/circuits.py --peers dopant

# The site, into site/; open site/index.html. Some twenty seconds.
docs: setup-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist site mutants src/*.egg-info .pytest_cache .ruff_cache .hypothesis
