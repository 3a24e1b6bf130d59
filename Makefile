# Every target builds what it needs: a bare machine with Python 3.11 or 3.12 and make is enough.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV := $(or $(shell command -v uv),.uv/bin/uv)
BIN := .venv/bin
GKCMN := $(BIN)/gkcmn-pipe

STORE ?=
INDEX ?=
RUN ?=
DEMO ?= demo
store_flag = $(if $(STORE),--store "$(STORE)")

.PHONY: help install test test-fast lint format features train evaluate ground demo docs bench lock opengl clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/installed ## Build .venv from the locked dependencies

.venv/installed: requirements.lock pyproject.toml
	command -v uv > /dev/null || { $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet uv; }
	$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	$(UV) pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

test: install ## Run the tests, one process per core
	$(BIN)/python -m pytest -n logical --dist loadfile $(ARGS)

test-fast: install ## Run the tests that take no extraction, cluster or rendering
	$(BIN)/python -m pytest -n logical --dist loadfile -m "not slow" $(ARGS)

lint: install ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Put the code in its format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: install ## Write docs/cli.md from the help texts of the commands
	$(BIN)/python tools/docs_cli.py

features: install ## Extract features: make features VIDEOS=clips/ [STORE=place] [ARGS=...]
	@test -n "$(VIDEOS)" || { echo 'Error: make features needs videos; for example: make features VIDEOS=clips/' >&2; exit 2; }
	$(GKCMN) features $(VIDEOS) $(store_flag) $(ARGS)

train: install ## Train: make train [INDEX=file] [STORE=place] [RUN=folder] [ARGS=...]
	$(GKCMN) train $(INDEX) $(store_flag) $(if $(RUN),--out "$(RUN)") $(ARGS)

evaluate: install ## Score a run: make evaluate [RUN=folder] [INDEX=file] [STORE=place] [ARGS=...]
	$(GKCMN) evaluate $(if $(RUN)$(INDEX),$(or $(RUN),runs/latest)) $(INDEX) $(store_flag) $(ARGS)

ground: install ## Find a tube: make ground VIDEO=file QUERY="the man in red" [RUN=folder] [ARGS=...]
	$(GKCMN) ground "$(VIDEO)" "$(QUERY)" $(if $(RUN),--checkpoint "$(RUN)") $(store_flag) $(ARGS)

demo: install opengl ## The whole line on a dozen videos drawn here; results in demo/
	$(GKCMN) synth $(DEMO) --videos 12 --sentences 3 --workers 2
	$(GKCMN) features $(DEMO)/videos --store $(DEMO)/features.zarr
	$(GKCMN) train $(DEMO)/index.parquet --store $(DEMO)/features.zarr --out $(DEMO)/run --config demo.toml
	$(GKCMN) evaluate $(DEMO)/run $(DEMO)/index.parquet --store $(DEMO)/features.zarr
	QUERY=$$($(BIN)/python -c 'import json; print(json.load(open("$(DEMO)/labels/train/0000.json"))[0]["query"])') && \
	$(GKCMN) ground $(DEMO)/videos/train/0000.mp4 "$$QUERY" --checkpoint $(DEMO)/run --store $(DEMO)/features.zarr \
	  --json $(DEMO)/tube.json --overlay $(DEMO)/overlay.mp4
	@echo "videos and labels  $(DEMO)/videos, $(DEMO)/index.parquet"
	@echo "features           $(DEMO)/features.zarr"
	@echo "checkpoint         $(DEMO)/run (losses in log.jsonl, scores in evaluation/scores.json)"
	@echo "a tube             $(DEMO)/tube.json, drawn in $(DEMO)/overlay.mp4"

bench: install ## Measure speed and memory of extraction; ARGS=2 with a video of two hours
	$(BIN)/python -m tests.bench $(ARGS)

opengl:
	@if ! PATH="$$PATH:/sbin:/usr/sbin" ldconfig -p | grep 'libEGL\.so\.1' > /dev/null && command -v apt-get > /dev/null; then \
	  echo "Drawing needs EGL and Mesa: installing libegl1 libgl1-mesa-dri"; \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$as_root apt-get update -qq && $$as_root apt-get install -y -qq libegl1 libgl1-mesa-dri > /dev/null; \
	fi

lock: install ## Resolve requirements.lock anew from pyproject.toml
	$(UV) pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header --quiet -o requirements.lock

clean: ## Remove the environment and the demo
	rm -rf .venv .uv $(DEMO)
