# `make demo` and `make test` do all their set-up. They need Python 3.11 to 3.13 with venv, and git.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow drill fuzz lint clean

demo: .venv/demo.installed
	$(BIN)/python scripts/train.py
	$(BIN)/python scripts/infer.py

test: .venv/test.installed
	$(BIN)/python -m pytest -q -m "not slow" tests/test_export.py
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile --ignore tests/test_export.py

test-slow: .venv/test.installed
	$(BIN)/python -m pytest -q -m slow

drill: .venv/demo.installed
	$(BIN)/python tests/drill.py

fuzz: .venv/demo.installed
	$(BIN)/python tests/fuzz.py

lint: .venv/test.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.venv/demo.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

.venv/test.installed: .venv/demo.installed
	$(BIN)/pip install -q -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf .venv
