# make run: the demo from nothing to a table. make compare, make test, make lint, make bench, make report: what they say.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= 2
READY := $(VENV)/ready
DEV := $(VENV)/ready-dev
# One line a stage on the terminal; Snakemake's own log has the rest.
RUN := PYTHONPATH=workflow/logger $(BIN)/snakemake --cores $(CORES) --logger stages
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation

.PHONY: help run compare test test-long faults lint bench report lock-check
help:
	@echo "make run     draw demo100, train and evaluate its hierarchical classifier, print the result"
	@echo "make compare every head at every setting on demo100, as results/pareto.svg and a table, and the one to take"
	@echo "make test    run the tests, all but those that take long"
	@echo "make test-long  run those"
	@echo "make faults  every fault of docs/reliability.md, which it writes; takes hours"
	@echo "make lint    ruff, snakefmt and snakemake --lint"
	@echo "make bench   training and embedding against the study's pipeline, and demo100 against a linear model"
	@echo "make report  write report.zip of the last run"
	@echo "Each sets up $(VENV) from requirements.lock on its first call (about 6 GB)."

# The first line installs what the second one builds with: treehead, and a package that has no wheel.
$(READY): requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $$(grep ^setuptools== requirements.lock)
	$(INSTALL) -r requirements.lock --editable .
	@touch $@

$(DEV): requirements-dev.lock $(READY)
	$(INSTALL) -r requirements-dev.lock
	@touch $@

run: $(READY)
	$(RUN)
	$(BIN)/python -m treehead show results/hierarchy100/metrics.json

compare: $(READY)
	$(RUN) -- results/pareto.svg results/chosen.json
	$(BIN)/python -m treehead show results/chosen.json results/pareto.csv

report: run
	$(BIN)/snakemake --report report.zip

test: $(DEV)
	$(BIN)/python -m pytest

test-long: $(DEV)
	$(BIN)/python -m pytest -m long

# --interruptions=5 --mutations=100 in FAULTS takes minutes.
faults: $(DEV)
	rm -f .pytest_cache/faults.xml
	-$(BIN)/python -m pytest -m "fault or instrument" -o "norecursedirs=.*" --junitxml=.pytest_cache/faults.xml $(FAULTS)
	$(BIN)/python tests/reliability.py .pytest_cache/faults.xml

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check .
	@# The one lint that we leave asks for conda or a container in each rule; the lock file is our environment.
	$(BIN)/snakemake -n --quiet
	! $(BIN)/snakemake --lint 2>&1 | grep '^    \* ' | grep -v 'Specify a conda environment or container'

bench: $(DEV)
	$(BIN)/python -m benchmarks.train
	$(BIN)/python -m benchmarks.embed
	$(BIN)/snakemake --cores $(CORES) --quiet all resources/datasets/demo100/train.npy
	$(BIN)/python -m benchmarks.pixels

# Whether each pin has a wheel for each platform; uv asks the package index, and downloads none.
lock-check: $(DEV)
	for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do \
		MACOSX_DEPLOYMENT_TARGET=14.0 $(BIN)/uv pip install --quiet --dry-run --no-deps \
			--python $(BIN)/python --python-version 3.11 --python-platform $$platform \
			--target $(VENV)/none --only-binary :all: --no-binary connection-pool \
			-r requirements.lock -r requirements-dev.lock || exit 1; \
		echo "$$platform: each pin can be installed"; \
	done
