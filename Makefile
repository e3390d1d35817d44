# `make demo` shows the whole thing, `make test` proves it. Both install what they need into .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: protos protodeps
protodeps: $(VENV)/installed
	@SP=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])'); \
	mkdir -p .protodeps/google; ln -sfn $$SP/google/api .protodeps/google/api; ln -sfn $$SP/google/rpc .protodeps/google/rpc

protos: protodeps  ## regenerate the stubs and the descriptor set from protos/
	@rm -rf build/stubs && mkdir -p build/stubs protos/python/prisma
	@$(RUN) $(BIN)/python -m grpc_tools.protoc -I protos -I .protodeps --python_out=build/stubs --pyi_out=build/stubs \
	  --grpc_python_out=build/stubs --mypy_grpc_out=quiet:build/stubs \
	  --descriptor_set_out=build/stubs/prisma/prisma.binpb --include_imports --include_source_info \
	  $$(cd protos && find prisma -name '*.proto' | sort)
	@rm -rf build/stubs.old && mv protos/python/prisma build/stubs.old && mv build/stubs/prisma protos/python/prisma
