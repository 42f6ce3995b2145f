# Two commands on a fresh machine: make demo, make test. Needs Python 3.11+, make, gcc, g++ and cmake.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= runs/demo
DATA ?=
STUDENT ?= runs/demo/student
TRAINING ?= runs/demo-teacher
START ?=
KINDS ?= classification multilabel ner
NAME ?= demo
STAMP := $(VENV)/.installed
export BENTOML_DO_NOT_TRACK := True

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-search test-browser test-gpu test-transformers5 check format bench demo-teacher clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

install: $(STAMP) ## Create .venv and install the locked set (5 to 10 minutes on 2 cores)

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV). llama-cpp-python is built from source: 4 to 6 minutes on 2 cores."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@echo "torch is there; now the rest (llama-cpp-python compiles, be patient)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP) ## Distil the built-in task with the built-in teacher (at most 5 minutes)
	$(BIN)/evokd demo --out $(OUT)

test: $(STAMP) ## Run the default tests, two at a time (under 5 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP) ## Run the tests marked slow, and only them
	$(BIN)/python -m pytest -m slow --timeout 1800

test-search: $(STAMP) ## Run the property tests on new random inputs; one that fails belongs in an @example
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --hypothesis-profile default \
		-m 'hypothesis and not slow and not gpu and not browser'

test-browser: $(STAMP) ## Run the tests of the service's page (needs chromium on the PATH)
	$(BIN)/python -m pytest -m browser

test-gpu: $(STAMP) ## Run the tests that need CUDA
	$(BIN)/python -m pytest -m gpu

test-transformers5: ## Test the exporter and the tokenizer of students with transformers 5 in .venv-transformers5
	test -x .venv-transformers5/bin/python || $(PYTHON) -m venv .venv-transformers5
	.venv-transformers5/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-transformers5/bin/python -m pip install --quiet --disable-pip-version-check \
		'transformers>=5,<6' onnx onnxruntime pytest pytest-timeout hypothesis pydantic typer rich pyyaml jinja2
	.venv-transformers5/bin/python -m pytest tests/test_exporters.py tests/test_pretrained.py

check: $(STAMP) ## Format, lint, types, import direction
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format and fix what can be fixed
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: $(STAMP) ## Measure training speed and latency (after make demo)
	$(BIN)/python -m benchmarks.train
	$(BIN)/python -m benchmarks.latency --student $(STUDENT)

demo-teacher: $(STAMP) ## Train the embedded teacher anew: make demo-teacher DATA=folder [START=folder] [KINDS=ner NAME=demo-slots] (hours)
	@test -n "$(DATA)" || { echo "give DATA=, the folder of the public data sets (see CONTRIBUTING.md)"; exit 1; }
	$(BIN)/python -m evokd.demo.training.train --data $(DATA) --out $(TRAINING) --kinds $(KINDS) $(if $(START),--start $(START))
	$(BIN)/python -m evokd.demo.training.to_gguf --out $(TRAINING)
	$(BIN)/python -m evokd.demo.training.fitness --data $(DATA) --model $(TRAINING)/teacher.gguf --kinds $(KINDS) --json $(TRAINING)/fitness.json
	$(BIN)/python -m evokd.demo.training.card --data $(DATA) --out $(TRAINING) --name $(NAME)

clean: ## Remove the environment and caches; runs/ stays
	rm -rf $(VENV) .venv-transformers5 build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
