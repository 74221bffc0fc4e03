# One command per duty, the same for people and for CI.
# Needs git, make, gcc and Python 3.11 to 3.13; makes its own .venv from requirements.lock.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] <= (3,13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint bench bench-footage bench-queue bench-labelling bench-training bench-input bench-export bench-trace bench-serving bench-tracker clean setup lock

demo: $(READY)
	@$(BIN)/cityforge demo

# Two processes at a time: TESTERS=0 runs one test after the other.
TESTERS ?= 2
test: $(READY)
	@$(BIN)/python -m pytest -n $(TESTERS) $(ARGS)

lint: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@cd serving/client && ../../$(BIN)/mypy

bench: $(READY)
	@$(BIN)/python tests/benchmarks/figures.py $(ARGS)

bench-footage: $(READY)
	@$(BIN)/python tests/benchmarks/footage_figures.py $(ARGS)

bench-queue: $(READY)
	@$(BIN)/python tests/benchmarks/queue_figures.py $(ARGS)

bench-labelling: $(READY)
	@CITYFORGE_LARGE=20000 $(BIN)/python -m pytest -s tests/labeling/studio/test_push_large.py \
		tests/labeling/studio/test_pull_large.py $(ARGS)

bench-input: $(READY)
	@$(BIN)/python tests/benchmarks/input_figures.py $(ARGS)

bench-training: $(READY)
	@$(BIN)/python tests/benchmarks/training_figures.py $(ARGS)

bench-trace: $(READY)
	@$(BIN)/python tests/benchmarks/trace_figures.py $(ARGS)

bench-export: $(READY)
	@$(BIN)/python tests/benchmarks/export_figures.py $(ARGS)

bench-serving: $(READY)
	@$(BIN)/python tests/benchmarks/serving_figures.py $(ARGS)

bench-tracker: $(READY)
	@$(BIN)/python tests/benchmarks/tracker_figures.py $(ARGS)

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 to 3.13, found none: install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) -V) (about 7 GB of disk, once)"
	@$(PYTHON) -c 'import shutil,sys; free=shutil.disk_usage(".").free/1e9; sys.exit(f"expected 9 GB of free disk, found {free:.1f} GB: free some" if free < 9 else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)

# Write requirements.lock again from pyproject.toml (after a change of dependencies).
lock: $(READY)
	@$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --universal --python-version 3.11 \
		--no-emit-index-url --no-header --quiet -o requirements.lock
	@sed '/--hash/d; /^ *#/d; s/ \\$$//' requirements.lock > $(VENV)/pins.txt
	@$(BIN)/uv pip compile platform/cityforge/labeling/studio/requirements.in --generate-hashes \
		--universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate --quiet \
		-o platform/cityforge/labeling/studio/requirements.txt
	@$(BIN)/uv pip compile serving/requirements.in -c $(VENV)/pins.txt --universal --python-version 3.11 \
		--no-emit-index-url --no-header --no-annotate --quiet -o serving/requirements.txt

# .cityforge stays: it holds the registry, with every approval.
clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
