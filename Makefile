# `make repro` and `make test` need only git, make and Python 3.11+; all they install goes to .venv
PYTHON ?= python3
VENV := .venv
# what is installed, by what it is for: the pipeline; sweeps and schedules; everything that tests need
READY := $(VENV)/.ready
PREFECT := $(VENV)/.ready-prefect
DEV := $(VENV)/.ready-dev
# an environment names its folder in many files: in a project that was copied or moved it is still the other's
MOVED := $(shell at=$$(sed -n 's|^command = .* -m venv \(--[^ ]* \)*/|/|p' $(VENV)/pyvenv.cfg 2>/dev/null); \
	[ -z "$$at" ] || [ "$$at/pyvenv.cfg" -ef $(VENV)/pyvenv.cfg ] || echo moved)
INSTALL := .ci/install --editable
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PREFECT_HOME := $(CURDIR)/.prefect
export DVC_NO_ANALYTICS := 1
# stages are processes: with the variable set, as in many containers, each would compile PyTorch anew
export PYTHONDONTWRITEBYTECODE :=
# boards over SSH are tested against a real server, the report's page in a real browser
DEBIAN := openssh-server chromium fonts-dejavu-core postgresql

.DEFAULT_GOAL := help

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

moved:
	@echo "$(VENV) was made for another folder, from which this one was copied or moved; it is made anew"
	@rm -rf $(VENV)

$(READY): pyproject.toml constraints.txt $(MOVED)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4) and "yoloslim needs Python 3.11.4 or newer; set PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	@touch $@

$(PREFECT): $(READY)
	$(INSTALL) '.[prefect]'
	@touch $@

$(DEV): $(READY)
	$(INSTALL) '.[dev]'
	@touch $@ $(PREFECT)

setup: $(READY)  ## make .venv with what the pipeline needs; sweeps, tests and documentation add theirs

repro: $(READY)  ## run the pipeline; only what changed is run
	@python -m yoloslim.orchestration.side_by_side && { python -m pipeline.track || [ $$? = 75 ]; }  # said, and its results are there

test: $(DEV) lint docs  ## lint, types, documentation and all tests, the whole pipeline at a tiny scale included
	OMP_NUM_THREADS=1 python -m pytest --max-worker-restart 0 -n 2 --dist loadfile -m 'not slow'
	OMP_NUM_THREADS=1 python -m pytest --max-worker-restart 0 -n 3 --dist loadfile --no-loadscope-reorder -m slow

docs: $(DEV)  ## build the documentation into site/, strictly
	python -m zensical build --strict --clean

debian-packages:  ## install what tests need besides Python (Debian, as root)
	@dpkg -s $(DEBIAN) >/dev/null 2>&1 || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBIAN))

toolchains: $(DEV)  ## converters of other makers, which some tests need: 1.2 GB under ~/.cache
	yoloslim toolchain install litert
	yoloslim toolchain install rockchip

unit: $(DEV)  ## the quick tests alone
	OMP_NUM_THREADS=1 python -m pytest --max-worker-restart 0 -n 2 --dist loadfile -m 'not slow'

lint: $(DEV)  ## ruff and mypy
	ruff check
	ruff format --check
	mypy

flow: $(PREFECT)  ## run the pipeline as a Prefect flow
	python -m flows.pipeline

sweep: $(PREFECT)  ## find the percent to ship; params.yaml says what is wanted
	@yoloslim sweep

serve: $(PREFECT)  ## run the nightly sweep at the times in params.yaml, until stopped
	@python -m flows.schedule serve

deploy: $(PREFECT)  ## send the nightly sweep to the server of PREFECT_API_URL
	@python -m flows.schedule deploy

track: $(READY)  ## bring MLflow in line with the results, show the table
	@python -m pipeline.track

ui: $(READY)  ## open MLflow on http://127.0.0.1:5000
	@python -m yoloslim.stages.ui

bench: $(READY)  ## measure what the README claims
	python -m benchmarks.pruning

clean:  ## remove results (caches of DVC and MLflow stay)
	rm -rf code data detections models metrics plots report summary .cache site

.PHONY: moved help setup repro test docs debian-packages toolchains unit lint flow sweep serve deploy track ui bench clean
