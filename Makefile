# One command per wish. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
PY := $(VENV)/bin/python
RUNTIME := $(VENV)/.installed-runtime
DEVELOPMENT := $(VENV)/.installed-development
PACKAGES := ./deploy/packages
# Extra words for pytest, e.g. `make test TESTS="tests/unit -x"`.
TESTS ?=

.PHONY: help install demo up test again pythons lint types format contracts screenshots bench torture soak fuzz audit lock clean

help: ## list the wishes
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r wish text; do printf '  make %-10s %s\n' "$$wish" "$$text"; done

install: $(RUNTIME) ## make .venv with all that the worker needs (PYTHON=… chooses the interpreter)

# The stamps are files of the virtual environment: a changed lock installs again, an unchanged one costs nothing.
$(RUNTIME): requirements.lock deploy/install
	@./deploy/install requirements.lock
	@touch $@

$(DEVELOPMENT): requirements-dev.lock deploy/install
	@./deploy/install requirements-dev.lock
	@touch $@ $(RUNTIME)

demo: install ## the whole flow on this machine: private RabbitMQ, simulator with faults, worker on SQLite
	@if [ -z "$${WORKER__BROKER__URL:-}" ]; then $(PACKAGES) rabbitmq-server; fi
	@$(VENV)/bin/worker demo

up: install ## the same as demo, left running until stopped (Ctrl-C)
	@if [ -z "$${WORKER__BROKER__URL:-}" ]; then $(PACKAGES) rabbitmq-server; fi
	@$(VENV)/bin/worker demo --keep

# They look at the whole machine, or at the clock: nothing may run beside them.
ALONE := tests/integration/test_fresh_machine.py $(wildcard tests/acceptance/test_isolation.py)

test: $(DEVELOPMENT) ## all tests, with private services (TESTS="tests/unit -x" narrows them)
	@$(PY) -m tests.services.machine .run/before-packages.json
	@$(PACKAGES) rabbitmq-server postgresql mariadb-server-core mariadb-client-core libfaketime nodejs npm chromium
	@$(if $(TESTS),$(PY) -m pytest $(TESTS),\
		$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(addprefix --ignore=,$(ALONE)) && $(PY) -m pytest $(ALONE))

# "They pass 20 times in a row": what fails in one of twenty runs is a finding, not bad luck.
TIMES ?= 20

again: $(DEVELOPMENT) ## chosen tests TIMES=20 times in a row, to the first failure (TESTS="tests/faults/test_found.py")
	@$(if $(TESTS),,echo 'say which: make again TESTS="tests/faults/test_found.py"' >&2; exit 2)
	@$(PACKAGES) rabbitmq-server postgresql mariadb-server-core mariadb-client-core libfaketime
	@for run in $$(seq $(TIMES)); do echo "run $$run of $(TIMES)"; $(PY) -m pytest -q -x $(TESTS); done

pythons: $(DEVELOPMENT) ## unit tests on every Python from 3.11 to 3.13 that is found
	@./deploy/each-python tests/unit

lint: $(DEVELOPMENT) ## ruff: rules and format; hadolint and the compose schema: image and compose file
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(VENV)/bin/hadolint --no-color Dockerfile && echo "Dockerfile: no complaint"
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

types: $(DEVELOPMENT) ## mypy, strict
	@$(PY) -m mypy

format: $(DEVELOPMENT) ## put the code in its format
	@$(PY) -m ruff check --fix --exit-zero --quiet .
	@$(PY) -m ruff format .

contracts: install ## code and contracts/ say the same, in both directions
	@$(VENV)/bin/worker contracts check

screenshots: $(DEVELOPMENT) ## pictures of the console's pages into docs/images
	@$(PACKAGES) chromium
	@$(PY) -m tests.browser.town docs/images

bench: $(DEVELOPMENT) ## commands a second and CPU a command, beside the plain worker
	@$(PACKAGES) rabbitmq-server postgresql
	@$(PY) -m tests.bench

# Words for the storm: `make torture SEED=7 MINUTES=5 COMMANDS=5000 STORM="--only kill"`; STORM=--help shows all.
SEED ?= random
MINUTES ?= 2
STORM ?=

torture: $(DEVELOPMENT) ## a seeded storm of faults over the real parts (SEED=… MINUTES=… COMMANDS=…)
	@$(PACKAGES) rabbitmq-server postgresql libfaketime
	@$(PY) -m tests.faults --seed $(SEED) --minutes $(MINUTES) $(if $(COMMANDS),--commands $(COMMANDS)) $(STORM)

soak: $(DEVELOPMENT) ## steady load for MINUTES=60: is memory, files, connections, journal, latency flat?
	@$(PACKAGES) rabbitmq-server postgresql
	@$(PY) -m tests.faults.soak --minutes $(if $(filter file,$(origin MINUTES)),60,$(MINUTES)) $(STORM)

# MINUTES in all, over the three parsers; what is found is kept in .run/fuzz. SEED=… runs the same inputs again.
fuzz: $(DEVELOPMENT) ## bent messages, answers and WSDLs against their parsers (MINUTES=60 SEED=…)
	@$(PY) -m tests.security.fuzzing --minutes $(if $(filter file,$(origin MINUTES)),60,$(MINUTES)) $(if $(filter-out random,$(SEED)),--seed $(SEED))

audit: $(DEVELOPMENT) ## known weaknesses of the pinned packages (ADVISORIES=… names a mirror), licences, hashes
	@$(PY) -m tests.security.dependencies

lock: $(DEVELOPMENT) ## resolve the dependencies again (from where pip is configured to look)
	@./deploy/lock

clean: ## remove what the other wishes made inside this folder
	rm -rf $(VENV) .venv-3.* .run .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
