# make demo   the whole pipeline on a generated scene, ending with a table and the path of a report
# make test   every test that runs without a GPU and without downloaded weights
# make bench  performance tables, then every benchmark script on generated scenes (an hour and more)
# make lint   style checks      make clean  remove what make made
# make sanitize  the rasterizer's CPU code under the address and undefined-behaviour sanitizers
# make fuzz      damaged files, random calls and kills for as long as COUNT, CALLS and KILLS say; the tests run a few of each
# make test-workflow  the workflow over many scenes, with Snakemake in .venv-workflow (Python 3.11 or newer)
# make pins      the newest versions that the requirements allow: installed, checked by everything, written to constraints.txt
# make lowest    the tests with the lowest versions that the requirements name
# Each is complete on a fresh machine with Python >= 3.10 and a C++17 compiler.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
COUNT ?= 100000
CALLS ?= 10000
KILLS ?= 100
SEED ?= 0
BIN := $(VENV)/bin
RASTERIZER := submodules/diff-gaussian-rasterization
KNN := submodules/simple-knn
NATIVE := $(shell git ls-files '$(RASTERIZER)/*' '$(KNN)/*' 2>/dev/null)

BENCHMARKS := cpu_rasterizer rgb_iteration language_iteration mask_nms autoencoder_fitting lifting query viewer protocols

.PHONY: install demo test test-workflow sanitize bench fuzz pins lowest lint format clean
.DELETE_ON_ERROR:

install: $(VENV)/.native

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.10 or newer is needed. Try: make PYTHON=python3.11 install"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot create virtual environments; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c $(CONSTRAINTS)
	@touch $@

$(VENV)/.requirements: requirements.txt requirements-dev.txt $(CONSTRAINTS) $(VENV)/.python
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt -c $(CONSTRAINTS)
	@touch $@

$(VENV)/.native: $(NATIVE) $(VENV)/.requirements
	$(BIN)/python -m pip install --quiet --build-constraint $(CONSTRAINTS) ./$(RASTERIZER) ./$(KNN)
	@touch $@

demo: install
	$(BIN)/python demo.py

test: install
	$(BIN)/python -m pytest

.venv-workflow/.installed: requirements-workflow.txt
	$(PYTHON) -m venv .venv-workflow
	.venv-workflow/bin/python -m pip install --quiet -r requirements-workflow.txt
	@touch $@

test-workflow: install .venv-workflow/.installed
	SNAKEMAKE=$(CURDIR)/.venv-workflow/bin/snakemake $(BIN)/python -m pytest tests/test_workflow_run.py

sanitize: $(VENV)/.requirements
	PYTHON=$(BIN)/python sh $(RASTERIZER)/tests/sanitize.sh

bench: install
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

fuzz: install
	PYTHONPATH=.:tests $(BIN)/python tests/fuzz/fuzz_readers.py --count $(COUNT) --seed $(SEED)
	$(BIN)/python $(RASTERIZER)/tests/fuzz_calls.py --count $(CALLS) --seed $(SEED)
	FUZZ_CALLS=$(CALLS) PYTHON=$(BIN)/python sh $(RASTERIZER)/tests/sanitize.sh
	PYTHONPATH=.:tests $(BIN)/python tests/fuzz/fuzz_kills.py --kills $(KILLS) --seed $(SEED)

pins:
	rm -rf .venv-pins
	$(MAKE) VENV=.venv-pins CONSTRAINTS=/dev/null install
	.venv-pins/bin/python -m pip install --quiet -r requirements-browser.txt -r requirements-transformers.txt
	.venv-pins/bin/python -m pip freeze --all --exclude diff-gaussian-rasterization --exclude simple-knn >.venv-pins/freeze
	{ sed -n '/^#/p' constraints.txt; sed 's/$$/ ; python_version >= "3.11"/' .venv-pins/freeze; } >.venv-pins/constraints
	$(MAKE) VENV=.venv-pins CONSTRAINTS=/dev/null lint test sanitize
	cp .venv-pins/constraints constraints.txt

lowest:
	sed -n 's/[>~]=/==/p' requirements.txt requirements-dev.txt >.venv-lowest.txt
	$(MAKE) VENV=.venv-lowest CONSTRAINTS=.venv-lowest.txt test

lint: $(VENV)/.requirements
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror

format: $(VENV)/.requirements
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs $(BIN)/clang-format -i

clean:
	rm -rf $(VENV) .venv-pins .venv-lowest .venv-lowest.txt .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
