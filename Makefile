# `make` alone lists the targets.

PYTHON ?= python3
PORT   ?= 7860
RUN    ?= runs/quickstart
# Processes that run tests: one more than the cores of a small machine, because tests of servers and pages wait for others.
WORKERS ?= 4

VENV    := .venv
BIN     := $(VENV)/bin
PYTEST  := $(BIN)/python -m pytest --workers $(WORKERS)
INSTALL := $(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo quickstart results test test-fast lint docs links bench bench-metrics bench-gpu clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.all ## from nothing to the page on 127.0.0.1 (PORT=7860), with the models that ship
	$(BIN)/surgvl demo --port $(PORT)

quickstart: $(VENV)/.all ## the whole path on rendered videos, and the table of results (RUN=runs/quickstart)
	$(BIN)/surgvl quickstart --out $(RUN)

results: quickstart ## the results in the README and benchmarks/results/quickstart.md, written anew by that run
	$(BIN)/python benchmarks/readme_table.py --run $(RUN)

test: $(VENV)/.dev ## the whole suite, browser included (WORKERS=4)
	$(PYTEST)

test-fast: $(VENV)/.dev ## what is neither slow nor in a browser, in a minute
	$(PYTEST) --workers 2 -m "not slow and not browser"

lint: $(VENV)/.dev docs ## style, types, who imports whom, and a strict build of the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py

docs: $(VENV)/.dev ## the documentation, built strictly into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

links: $(VENV)/.all ## which addresses of models and data sets are dead (asks all of them)
	$(BIN)/python -m surgvl.commands.links

bench: $(VENV)/.bench bench-metrics ## decoding, metrics, retrieval, loading, training steps and serving, side by side with named peers
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/pretrain_step.py
	$(BIN)/python benchmarks/serving.py

bench-metrics: $(VENV)/.ivtmetrics ## metrics next to scikit-learn, scipy and ivtmetrics: largest difference and speed
	$(BIN)/python benchmarks/metrics.py --peer_python $(VENV)/ivtmetrics/bin/python

bench-gpu: $(VENV)/.dev ## training steps and embedding on a GPU, next to transformers', in eight minutes
	$(BIN)/python benchmarks/gpu.py

clean: ## remove the environment, caches, dist/ and site/; runs/ stays
	rm -rf $(VENV) dist site .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: an environment is made again only when the dependencies change.

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "surgvl needs Python 3.11 or newer, which $(PYTHON) is not: name one that is, as in make PYTHON=python3.12"; \
	  exit 1; } >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv

$(VENV)/.all: pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) --editable ".[all]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) --editable ".[all,serve,docs,dev]"
	@touch $(VENV)/.all $@

$(VENV)/.bench: $(VENV)/.dev
	$(INSTALL) --editable ".[all,serve,docs,dev,bench]"
	@touch $@

# ivtmetrics is right with scikit-learn up to 1.6.0: benchmarks/metrics_peers.py says why.
$(VENV)/.ivtmetrics: $(VENV)/.dev
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/ivtmetrics
	$(BIN)/uv pip install --quiet --python $(VENV)/ivtmetrics/bin/python "ivtmetrics==0.1.5" "scikit-learn==1.5.2"
	@touch $@
