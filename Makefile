# make run: the demo from nothing to a table. make compare, make test, make lint, make bench, make report: what they say.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= 2
READY := $(VENV)/ready

.PHONY: help run compare test lint bench report
help:
	@echo "make run     draw demo100, train and evaluate its hierarchical classifier, print the result"
	@echo "make compare every head at every setting on demo100, as results/pareto.svg and a table"
	@echo "make test    run all tests"
	@echo "make lint    ruff, snakefmt and snakemake --lint"
	@echo "make bench   training and embedding against the study's pipeline, and demo100 against a linear model"
	@echo "make report  write report.zip of the last run"
	@echo "Each sets up $(VENV) from requirements.lock on its first call (about 6 GB)."

$(READY): requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements.lock
	@touch $@

run: $(READY)
	$(BIN)/snakemake --cores $(CORES) --quiet rules host
	$(BIN)/python -m treehead results/hierarchy100/metrics.json

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check .
	@# The one lint that we leave asks for conda or a container in each rule; the lock file is our environment.
	$(BIN)/snakemake -n --quiet all
	! $(BIN)/snakemake --lint 2>&1 | grep '^    \* ' | grep -v 'Specify a conda environment or container'

bench: $(READY)
	$(BIN)/python -m benchmarks.train
	$(BIN)/python -m benchmarks.embed
	$(BIN)/snakemake --cores $(CORES) --quiet all resources/datasets/demo100/train.parquet
	$(BIN)/python -m benchmarks.pixels

compare: $(READY)
	$(BIN)/snakemake --cores $(CORES) --quiet rules host -- results/pareto.svg
	$(BIN)/python -m treehead results/pareto.csv

report: run
	$(BIN)/snakemake --report report.zip
