# The whole project by name. `make up` and `make test` install what is missing by themselves.
.PHONY: up down test bench lint setup unit
PY := .venv/bin/python

up:
	@scripts/up

down:
	@scripts/down

test:
	@scripts/setup test || { [ $$? -ne 3 ] || echo 'test: the end-to-end tests cannot run here, `make unit` runs the others'; exit 1; }
	@$(MAKE) --no-print-directory lint
	$(PY) -m pytest tests

unit:
	$(PY) -m pytest -m "not e2e" tests/unit tests/contract

bench:
	@scripts/setup test
	$(PY) -m bench

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	PYTHONPATH=src .venv/bin/lint-imports --no-logo
	$(PY) scripts/check_length.py
	npm --prefix web run --silent check

setup:
	@scripts/setup test
