# make run            the server in practice mode, on this machine only
# make test           all tests that need nothing but Python
# make check          formatter, linter, types, import contract
# make test-peers     tests against other programs (tests/peers/fetch_peers.sh gets them)
# make test-scarce    disks that are full or slow, clocks that are set (root, or unshare -rm; libfaketime, strace)
# make test-packaging the plugin is found however the package was installed
# make internet       domains set up on a made-up internet: mail both ways, each record broken in turn, signed zones (a minute)
# make bench          benchmarks
# make hostile        strangers who mean it harm, at full scale, and how long a failed login takes
# make soak           kill -9 under load, a thousand times; soak-short is fifty
# make fuzz           ten million inputs for everything that reads what others wrote; fuzz-short is a minute of it
# make clean          removes the virtual environment and caches, never mail or state
#
# Another Python: make run PYTHON=python3.12

PYTHON ?= python3
VENV   ?= .venv
CONFIG ?= etc/mailserver.toml
BIN    := $(VENV)/bin
# An environment of its own: the fuzzer instruments what it imports.
FUZZ_VENV ?= .cache/fuzz-venv
# The TLS scanner brings an old OpenSSL.
SSLYZE := .cache/sslyze

# With it every start would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check test-peers test-scarce test-packaging internet bench soak soak-short hostile fuzz fuzz-short clean
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	$(BIN)/twistd -n --pidfile= mailserver --config $(CONFIG)

test: $(VENV)/.installed-test
	$(BIN)/pytest

check: $(VENV)/.installed-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-peers: $(VENV)/.installed-test $(SSLYZE)/.installed
	$(BIN)/pytest --override-ini="addopts=-ra --strict-markers --strict-config" tests/peers

test-scarce: $(VENV)/.installed-test
	$(BIN)/pytest --override-ini="addopts=-ra --strict-markers --strict-config" tests/scarce

test-packaging: $(VENV)/.installed-check
	$(BIN)/pytest --override-ini="addopts=-ra --strict-markers --strict-config" tests/packaging

internet: $(VENV)/.installed-test
	$(BIN)/pytest --override-ini="addopts=-ra --strict-markers --strict-config" tests/internet

bench: $(VENV)/.installed-test
	$(BIN)/python -m bench.run

hostile: $(VENV)/.installed-test
	MAILSERVER_HOSTILE=full $(BIN)/pytest -s tests/hostile tests/hostile/measure_login_timing.py

soak: $(VENV)/.installed-test
	$(BIN)/python -m tests.soak.kill_rounds --rounds 1000

soak-short: $(VENV)/.installed-test
	$(BIN)/python -m tests.soak.kill_rounds --rounds 50

fuzz: $(FUZZ_VENV)/.installed
	$(FUZZ_VENV)/bin/python -m tests.fuzz.run

fuzz-short: $(FUZZ_VENV)/.installed
	$(FUZZ_VENV)/bin/python -m tests.fuzz.run --short

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .cache

# The virtual environment is made when it is missing, and brought up to date when the dependencies change.

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "mailserver needs Python 3.11 or newer; name one with: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "The venv module of $(PYTHON) is missing. On Debian and Ubuntu: sudo apt install $(notdir $(PYTHON))-venv"; \
	  echo "(for the system's own Python that is: sudo apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(FUZZ_VENV)/.installed: tests/fuzz/requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m venv $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/pip install --quiet --disable-pip-version-check -e . -r tests/fuzz/requirements.txt
	@touch $@

$(SSLYZE)/.installed: tests/peers/sslyze-requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m venv $(SSLYZE)
	$(SSLYZE)/bin/pip install --quiet --disable-pip-version-check -r tests/peers/sslyze-requirements.txt
	@touch $@

# The larger installations hold the smaller ones.
$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-check: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,check]'
	@touch $(VENV)/.installed $(VENV)/.installed-test $@
