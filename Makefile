# make launch | run-topo | check | test | fuzz | model | soak | again | recovery | docs | commands | lint | bench | figures | claims | laboratory | reality | p4 | stop | clean. Each sets up what it needs; the second time that is a look.

SCENARIO ?= experiments/scenarios/default.toml
POLICY   ?=
SWITCH   ?=
SEED     ?=
LOSS     ?=
RESULTS  ?= results
ALLREDUCES ?= 100000
SECONDS  ?= 300
MINUTES  ?= 10
ROUNDS   ?= 10
QUICK    ?=
FIGURES  ?=
SCRIPT   ?= experiments/examples/train.py
NPROC    ?= 4
ARGS     ?=

PYTHON   := /usr/bin/python3
VENV     := .venv
BIN      := $(VENV)/bin
UV       := $(BIN)/uv pip install -q --python $(BIN)/python
OFTEN    := torch scipy scapy numpy numba llvmlite google grpc pydantic hypothesis _pytest rich typer click
SUDO     := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Tests of live runs wait a third of their time: three processes of tests keep two processors busy.
TESTING  := $(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))
PACKAGES := mininet iproute2 ethtool iputils-ping procps python3-venv tshark curl

# Byte code is kept, whatever the shell says: without it each of a run's many processes compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup launch run-topo check test fuzz model soak again recovery docs commands lint bench figures claims laboratory reality p4 stop clean

help:
	@grep -E '^# make|^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^# //; s/:.*## /\t/' | expand -t 12

# Debian's mininet lives with the system's Python, so the environment is made from it and sees its packages.
# p4runtime-shell without what it asks for: it pins a protobuf of 2022, and runs with today's (esa/p4runtime.py).
# Packages come by uv, in a fifth of pip's time; by pip where uv does not find them, as behind an index that only pip knows.
# The CPU build of torch: where pip would take another (PyPI's wheel brings CUDA along), uv knows where it is kept.
# Byte code is made on all processors, and of what many processes load; the rest makes its own when it is loaded.
$(VENV)/.ready: pyproject.toml Makefile
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "setup: installing $$missing"; \
		$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@echo "setup: virtual environment in $(VENV)"
	@$(PYTHON) -m venv --system-site-packages $(VENV)
	@echo "setup: Python packages (torch is the largest)"
	@$(BIN)/pip install -q uv || true
	@if $(BIN)/python -c 'import torch, sys; sys.exit(torch.__version__.split("+")[0] != "2.13.0")' 2>/dev/null; then :; \
	elif $(BIN)/pip install --dry-run --no-deps torch==2.13.0 2>/dev/null | grep -q '+cpu'; then \
		$(BIN)/pip install -q --no-compile torch==2.13.0; \
	else \
		$(UV) --torch-backend=cpu torch==2.13.0; \
	fi
	@$(UV) -e '.[dev]' || { echo "setup: uv could not, pip does"; $(BIN)/pip install -q --no-compile -e '.[dev]'; }
	@$(BIN)/pip install -q --no-compile --no-deps p4runtime-shell==0.0.6
	@cd $(VENV)/lib/python3.*/site-packages && \
		../../../bin/python -m compileall -q -j 0 -x '/(tests?|testing|_inductor)/' $(OFTEN) >/dev/null 2>&1 || true
	@touch $@

setup: $(VENV)/.ready ## install what is missing: Debian packages, virtual environment, Python packages

launch: setup ## run a DDP script as several ranks over the switch; SCRIPT=train.py ARGS="..." NPROC=4 POLICY=esa|atp|switchml|ps
	@$(SUDO) $(BIN)/esa launch --nproc '$(NPROC)' $(if $(POLICY),--policy $(POLICY)) $(SCRIPT) $(ARGS)

run-topo: setup ## train two PyTorch jobs through the switch; POLICY=esa,atp,... SWITCH=embedded|bmv2 SCENARIO=file SEED=n LOSS=0.05
	@$(SUDO) $(BIN)/esa run $(SCENARIO) --results $(RESULTS) \
		$(if $(POLICY),--policy $(POLICY)) $(if $(SWITCH),--switch $(SWITCH)) $(if $(SEED),--seed $(SEED)) \
		$(if $(LOSS),--loss $(LOSS))

check: setup ## run the tests that need neither root nor BMv2 and are quick
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m 'not root and not bmv2 and not slow' $(TESTS)

test: setup ## run every test (what a machine lacks is skipped by name)
	@$(SUDO) $(BIN)/python -m pytest -n $(TESTING) --dist loadfile --no-loadscope-reorder $(TESTS)

fuzz: setup ## fuzz switch, worker and PS; SECONDS=300 SEED=n; crashes go to results/fuzz
	@$(BIN)/python -m tests.fuzz --seconds '$(SECONDS)' --seed '$(or $(SEED),1)' --results $(RESULTS)

model: setup ## random schedules of workers, PSs and switch, every invariant after every step; ALLREDUCES=100000 SEED=n
	@$(BIN)/python -m tests.model --all-reduces '$(ALLREDUCES)' $(if $(SEED),--seed '$(SEED)') --results $(RESULTS)

soak: setup ## random scenarios, faults and kills on Mininet; MINUTES=10 SEED=n; failing runs are kept in results
	@$(SUDO) $(BIN)/esa soak --minutes '$(MINUTES)' --seed '$(or $(SEED),1)' --results $(RESULTS)

again: setup ## one script again and again under every policy, with a Ctrl-C in between; ROUNDS=10 SEED=n
	@$(SUDO) $(BIN)/esa again --rounds '$(ROUNDS)' --seed '$(or $(SEED),1)'

recovery: setup ## how long a lost packet and a killed switch, PS, controller, worker hold jobs up
	@$(SUDO) $(BIN)/esa recovery --results $(RESULTS)

docs: setup ## README and docs as a site, in build/docs; what is wrong in them ends it
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs && echo build/docs/index.html

commands: setup ## run every command of README and docs, those that take long too
	@$(SUDO) $(BIN)/python -m tests.docs

lint: setup docs ## ruff, mypy, and the site without a warning
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: setup ## measure ratios side by side, against BMv2 where it is installed
	@$(SUDO) $(BIN)/esa bench --results $(RESULTS)

figures: setup ## every figure and table of the evaluation, in virtual time; QUICK=1 FIGURES="claim map"
	@$(BIN)/esa figures $(FIGURES) $(if $(filter-out 0,$(QUICK)),--quick) --results $(RESULTS)

claims: setup ## what is claimed of ESA against the figures, a line each; QUICK=1
	@$(BIN)/esa claims $(if $(filter-out 0,$(QUICK)),--quick) --results $(RESULTS)

laboratory: setup ## JCT and tail, each layer from scheduler to rows switched off in turn; QUICK=1
	@$(BIN)/esa laboratory $(if $(filter-out 0,$(QUICK)),--quick) --results $(RESULTS)

reality: setup ## the same scenarios on Mininet and in virtual time, mean JCT side by side
	@$(SUDO) $(BIN)/esa reality --results $(RESULTS)

p4: setup ## compile the P4 program (needs p4c) into esa/compiled
	@$(BIN)/python p4src/compile.py

stop: setup ## end what a killed run left behind
	@$(SUDO) $(BIN)/esa stop

clean: ## remove results and caches
	rm -rf $(RESULTS) build/docs .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
