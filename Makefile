# `make` alone lists what there is. Python is the machine's `python3` (3.11 to 3.13), or PYTHON=...

PYTHON ?= python3
SECONDS ?= 60
SEEDS ?= 100000
JOBS ?= 3
FUZZ_SECONDS ?= 600
UV ?= $(firstword $(wildcard .venv/bin/uv) uv)
BIN := .venv/bin
INSTALLED := .venv/.installed
# A file's tests run in one process, since they may share a part; each process has real parts of its own. Many tests wait
# more than they compute: one process more than two cores.
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --durations 15
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint bench bench-peers bench-soak bench-report soak chaos soak-chaos fuzz up down check-compose lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	  "Penstock needs Python 3.11 to 3.13, and this one is %d.%d: say make PYTHON=python3.13" % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

install: $(INSTALLED) ## Make .venv and install what is locked (the other targets do it when needed)

demo: $(INSTALLED) ## Run all of it on embedded parts for SECONDS (60), then prove the numbers
	$(BIN)/penstock demo --seconds $(SECONDS)

test: $(INSTALLED) ## Run the tests but the slow ones; a real part that is missing is skipped
	$(PYTEST) -m "not slow"

test-all: $(INSTALLED) ## Run all tests; PENSTOCK_REQUIRE=kafka,registry,postgres makes a missing part fail
	$(PYTEST)

lint: $(INSTALLED) ## Check style, types and contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy -p infra
	$(BIN)/penstock schemas check

bench: $(INSTALLED) ## Measure the stages on a real broker, beside a stock Faust app; latency, restart, memory, idle cost
	$(BIN)/python -m bench

bench-peers: $(INSTALLED) ## Measure Penstock beside its peers, under an hour; OPTIONS="--events 200000" for less
	$(BIN)/python -m bench.peers $(OPTIONS)

bench-soak: $(INSTALLED) ## Measure memory over half an hour, and the cost of an event by size
	$(BIN)/python -m bench.size_cost; first=$$?; $(BIN)/python -m bench.soak && exit $$first

bench-report: $(INSTALLED) ## Write the tables and the plot of the docs, out of bench/results/*.json
	$(BIN)/penstock-bench report --write

soak: $(INSTALLED) ## Run SEEDS (100000) simulated schedules; the first one that is wrong is made small
	$(BIN)/python -m simulation --seeds $(SEEDS)

chaos: $(INSTALLED) ## Hurt real parts and processes under load, prove the numbers after each fault (SEED=N plays one again)
	$(BIN)/python -m chaos $(if $(SEED),--seed $(SEED))

soak-chaos: $(INSTALLED) ## The same for an hour, all faults of processes at once
	$(BIN)/python -m chaos --minutes 60 $(if $(SEED),--seed $(SEED))

fuzz: $(INSTALLED) ## Throw bytes at the decoder with Atheris for FUZZ_SECONDS (600); the first wrong answer ends it
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz.decoder $(FUZZ_SECONDS)

up: ## Start the compose stack and wait until all of it is healthy
	docker compose up --build --wait

down: ## Stop the compose stack; its volumes stay
	docker compose down

check-compose: $(INSTALLED) ## Prove the compose stack from nothing: views, restart, dashboards, an alert for each stage that is killed
	$(BIN)/python -m infra.check_compose

lock: ## Lock the dependencies of pyproject.toml and of the peers' environments again (needs uv)
	$(LOCK) --output-file requirements/runtime.txt pyproject.toml
	$(LOCK) --output-file requirements/dev.txt --extra dev --constraint requirements/runtime.txt pyproject.toml
	$(LOCK) --output-file requirements/bench-quix.txt requirements/bench-quix.in
	$(LOCK) --output-file requirements/bench-bytewax.txt requirements/bench-bytewax.in
	$(LOCK) --output-file requirements/fuzz.txt --extra fuzz --extra dev --constraint requirements/dev.txt pyproject.toml

clean: ## Remove what make made
	rm -rf .venv build runs *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
