PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin

.PHONY: demo test settings fuzz torture lint types check docs install clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or 3.12 is needed; set PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: install
	$(BIN)/dejavu-engine demo

# a process for each processor and one more, as many tests wait; `pytest` alone runs in one
test: install
	$(BIN)/python -m pytest -n $$($(BIN)/python -c 'import os; print(1 + os.cpu_count())') --dist loadfile

# the tests that compute, under what changes how a processor's libraries sum
settings: install
	$(BIN)/python -m tests.settings $(TESTS)

# random statements against a stock DuckDB, by seed
fuzz: install
	$(BIN)/python -m tests.oracle.fuzz --seed $(or $(SEED),0) --count $(or $(COUNT),3000)

# spoilt videos by the hundred, stores killed and damaged, by seed
torture: install
	$(BIN)/python -m tests.torture.run
	$(BIN)/python -m tests.torture.sql
	$(BIN)/python -m tests.torture.http
	$(BIN)/python -m tests.torture.load
	$(BIN)/python -m tests.torture.files --seed $(or $(SEED),0) --count $(or $(COUNT),600)
	$(BIN)/python -m tests.torture.live --minutes $(or $(MINUTES),10)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

check: lint types test

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

.venv/docs: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
