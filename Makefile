# `make run` and `make test` do all their set-up themselves; Python 3.11 or newer is all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
ARGS ?=

# Byte code is kept where it is first needed, also where the environment says otherwise: imports without it take two to five times
# as long, every time. Compiling all of it here would cost more than the first run needs.
export PYTHONDONTWRITEBYTECODE :=
# As `attune` does: the matrices are small, BLAS's threads would only wait for each other.
export OPENBLAS_NUM_THREADS ?= 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
export BENTOML_DO_NOT_TRACK := True

.PHONY: run test test-postgresql scale slow browsers torture conformance attack soak setup lint bench lock chart beacon clean

run: setup
	$(BIN)/attune up $(ARGS)

# The tests' processes would each compile the kernels for themselves: two do it first.
test: setup
	$(BIN)/python -m models.warm_up folds & $(BIN)/python -m models.warm_up ranker; wait
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Attune needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# What a test of its parts stands in for in every run: whole retrainings of old homes, of real logs, under kills.
slow: setup
	ATTUNE_TEST_SLOW=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m slow $(ARGS)

# The same suite with every home's store in a database of its own on the server of ATTUNE_TEST_POSTGRES_URL, else of the usual port.
# The server makes a thousand databases.
test-postgresql: setup
	ATTUNE_TEST_STORE=postgresql $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# Three services and two workers on a PostgreSQL pair and a Redis: killed, stopped, cut off, restarted, the primary lost. Figures as
# JSON; KILLS=200 for the long run.
scale: setup
	$(BIN)/python -m benchmarks.scale $(KILLS)

# The slow lane: kill -9 of service and worker, hundreds of times.
torture: setup
	ATTUNE_TEST_KILLS=$(or $(KILLS),200) $(BIN)/python -m pytest -s tests/services/test_torture.py

# In browsers, all there is: shop, console and beacon, at every size and in both lights, with kills. Chromium, Firefox and WebKit must
# be there; with ATTUNE_TEST_BROWSERS= what is not is left out by name.
browsers: setup
	ATTUNE_TEST_SLOW=1 ATTUNE_TEST_BROWSERS="$${ATTUNE_TEST_BROWSERS-required}" $(BIN)/python -m pytest -s tests/services/browser tests/services/beacon $(ARGS)

# The slow lane, too: thousands of requests made up by schemathesis, each answer held against /openapi.json.
conformance: setup
	$(BIN)/python -m benchmarks.conformance $(ARGS)

# Attacks on an instance of our own, on loopback; ARGS=--long for the numbers of attackers that the rules were made for.
attack: setup
	$(BIN)/python -m benchmarks.attack $(ARGS)

# An hour of ordinary traffic; memory must not grow.
soak: setup
	$(BIN)/python -m benchmarks.soak $(MINUTES)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

# One compile for all floors: what the floors need from one package must agree. The image of the service takes its own part of
# it. The files name no index.
lock:
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras \
		--no-emit-index-url --no-annotate --no-header --no-emit-package attune -o requirements.lock pyproject.toml
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra services \
		--no-emit-index-url --no-annotate --no-header --no-emit-package attune -c requirements.lock \
		-o requirements.services.lock pyproject.toml
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra scale \
		--no-emit-index-url --no-annotate --no-header --no-emit-package attune -c requirements.lock \
		-o requirements.scale.lock pyproject.toml
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --group chart \
		--no-emit-index-url --no-annotate --no-header -c requirements.lock -o requirements.chart.lock

# The Helm chart, by Helm and by Kubernetes' own schemas; and the alerts, where promtool is there.
chart: setup
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.chart.lock
	$(BIN)/python -m pytest tests/infra/test_chart.py tests/infra/test_monitoring.py $(ARGS)

# The script of the pages, with Node; what is built is committed, and nothing else needs Node.
beacon:
	cd services/beacon/web && npm ci && npm run build

clean:
	rm -rf $(VENV) .attune .pytest_cache .mypy_cache .ruff_cache
