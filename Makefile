# bruno-spice: `make` sets up and does the whole job; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := all
PYTHON ?= python3
VENV := .venv
BRUNO := $(VENV)/bin/bruno
RUN ?= runs/chorales
CARDS := data/calibrated
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.NOTPARALLEL:
.PHONY: all setup ngspice browser calibrate train validate report bench paper docs test chaos fuzz workbench lint format help clean

all: calibrate train validate report ## set up, calibrate, train on Bach chorales, check in SPICE, write the reports (10 to 16 minutes on 2 cores)
	@echo
	@echo "Done. Open reports/calibration.html and $(RUN)/report.html."

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

setup: ngspice $(VENV)/.installed ## the virtual environment and ngspice

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bruno-spice needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 2; }
	@echo "Setting up $(VENV): about 2 minutes the first time"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' || \
	  { echo "Trying without VACASK, the faster simulator, which has no package for every machine"; \
	  $(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[suite]'; }
	@touch $@

ngspice:
	@bash spice_netlists/install_ngspice.sh

calibrate: setup ## run the netlists in ngspice, fit the models, write data/calibrated/*.json
	$(BRUNO) calibrate all --out $(CARDS) --report reports

# Goes on with a run that a Ctrl-C cut short, leaves a finished one as it is, begins anew where the cards' numbers or the
# configuration have changed: their content decides, not their dates.
train: setup $(CARDS)/felif.json $(CARDS)/rram.json ## train the spiking network on Bach chorales with those cards
	$(BRUNO) train --task chorales --out $(RUN) --resume --overwrite

validate: setup $(if $(wildcard $(RUN)/result.json),,train) ## 20 neurons of the trained network back in SPICE, on 10 test pieces
	$(BRUNO) validate $(RUN) --simulator auto

report: setup ## figures and one HTML page: SPICE over model, training, predictions
	$(BRUNO) report $(RUN)

paper: setup ## docs/paper.md and where.md from their result files (RERUN=1 computes them again: hours; QUICK=1 a small version)
	$(BRUNO) paper $(if $(RERUN),--rerun --jobs 2) $(if $(QUICK),--quick --jobs 2)

docs: setup ## the documentation as site/index.html
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "Open site/index.html."

browser:
	@bash tests/install_browser.sh

bench: setup ## speed, accuracy, memory, gradients and their growth on this machine (half an hour on 2 cores)
	$(BRUNO) bench --out reports/bench

test: setup browser ## the whole test suite (10 to 30 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

chaos: setup ## 10,000 simulations over the installed simulators under signals, a full disk and a damaged store: every result as undisturbed
	$(VENV)/bin/python tests/chaos/chaos.py 10000

fuzz: setup ## 20,000 damaged and hostile files of every kind: nothing runs, hangs, breaks or passes for another (10 minutes on 2 cores)
	$(VENV)/bin/python tests/fuzz/fuzz.py 20000

workbench: setup browser ## how fast the workbench answers in a browser; 500 random interactions: no exception, no growing memory (3 to 8 minutes on 2 cores)
	$(VENV)/bin/python tests/workbench/times.py
	$(VENV)/bin/python tests/workbench/randomly.py 500

lint: setup ## ruff (format, lint) and mypy
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/python tests/typed.py

format: setup ## let ruff format and mend what it can
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean: ## remove what was made (environment, cache, runs, reports), keep the cards
	rm -rf $(VENV) .cache runs reports site build *.egg-info .pytest_cache .mypy_cache .ruff_cache
