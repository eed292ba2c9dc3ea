# make reproduce   everything, from nothing: install, run every paper at smoke, build the site
# make test        every check
# make lab         JupyterLab with the kernel ready
# make sync        write every generated file
# make help        the rest
SHELL := /bin/bash
PAPERS ?=
PROFILE ?= smoke
CORES ?= 0
SEED ?= 0
export PAPER_KIT_ROOT := $(CURDIR)
export PYTHONWARNINGS ?= ignore::FutureWarning
# a list of fonts of its own: one that another installation left behind makes Matplotlib warn in every picture
export MPLCONFIGDIR ?= $(CURDIR)/.venv/share/matplotlib
BIN := .venv/bin
READY := .venv/.ready
READY_DEV := .venv/.ready-dev
INPUTS := settings.ini setup.py pyproject.toml constraints.txt $(wildcard locks/*.txt)

.DEFAULT_GOAL := help
.PHONY: help install reproduce test test-fast lab sync site status clean

help:
	@echo "make reproduce [PAPERS=\"deepsdf unicorn\"] [PROFILE=smoke|cpu|gpu] [CORES=2]   run the papers, build the site"
	@echo "make test        every check (installs what it needs, Chromium included)"
	@echo "make test-fast   the checks that need neither a browser nor a run"
	@echo "make lab         JupyterLab on the notebooks"
	@echo "make site        build the site from what is published"
	@echo "make status      what is published, fresh or stale"
	@echo "make sync        write every generated file"
	@echo "make clean       remove runs and built pages (stages too)"

$(READY): $(INPUTS) scripts/install.sh
	@bash scripts/install.sh "" && touch $@

$(READY_DEV): $(INPUTS) scripts/install.sh
	@bash scripts/install.sh dev,samples,cluster,registration,oracles && touch $(READY) $@

install: $(READY)

reproduce: $(READY)
	@$(BIN)/paper-kit reproduce $(PAPERS) --profile $(PROFILE) --cores $(CORES) --seed $(SEED)

site: $(READY)
	@$(BIN)/paper-kit site

status: $(READY)
	@$(BIN)/paper-kit status

lab: $(READY)
	@$(BIN)/python -m paper_kit.kit.machine $(BIN)/jupyter lab --notebook-dir=$(CURDIR) nbs/index.ipynb

sync: $(READY)
	@$(BIN)/paper-kit sync

test: $(READY_DEV)
	@bash scripts/system.sh
	@bash scripts/test.sh

test-fast: $(READY_DEV)
	@$(BIN)/python -m pytest tests -n 2 -m "not browser and not slow"

clean:
	rm -rf runs site-src _site
