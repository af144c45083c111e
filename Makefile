# Darkroom: two commands. `make run` does everything from nothing to a registered model, `make test` proves it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
export PYTHON ?= python3
PORT ?= 5000
# A test file to each process, as many as processors: half of a test is waiting for servers and imports.
PYTEST = pytest -q -n logical --maxprocesses 4 --dist loadfile
IMAGE ?= localhost/darkroom:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
PIN = uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-annotate --custom-compile-command "make lock"
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# What the tools would otherwise tell their makers.
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export ORT_DISABLE_TELEMETRY := 1

.PHONY: help run test test-all ui lint lock image clean setup data

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

run: setup data  ## set up, fetch the data, run the whole pipeline, show the result
	@darkroom knobs params.yaml
	@mkdir -p .dvc/tmp && touch .dvc/tmp/begun && dvc repro
	@[ outputs/registration.json -nt .dvc/tmp/begun ] || darkroom summary outputs/registration.json  # register shows it, where it ran

test: setup  ## set up and run lint and the fast tests
	@ruff check .
	@ruff format --check .
	@$(PYTEST) -m "not slow"

test-all: setup  ## make test, and what needs minutes: whole runs, kills, containers, servers (as root it installs what they need)
	@infra/tools.sh
	@ruff check .
	@ruff format --check .
	@$(PYTEST)

ui: setup  ## open MLflow's UI on http://127.0.0.1:5000 (PORT=5001 for another port)
	@darkroom ui --port $(PORT)

lint: setup  ## check and format the code
	@ruff check --fix .
	@ruff format .

lock: setup  ## pin every version anew, with hashes, for Python 3.11 to 3.13
	@$(PIN) --upgrade --extra test pyproject.toml -o requirements.lock
	@$(PIN) --constraints requirements.lock pyproject.toml -o infra/image.lock
	@$(PIN) --constraints requirements.lock --group tools -o infra/tools.lock
	@$(PIN) --group kserve -o infra/kserve.lock

image: setup  ## build the container image that all steps run in (IMAGE=name:tag)
	@infra/image.sh $(IMAGE)

clean:  ## remove the environment and all results; data and the tracking store stay
	@rm -rf .venv outputs .pytest_cache .ruff_cache *.egg-info

setup:
	@infra/setup.sh

data: setup
	@infra/data.sh
