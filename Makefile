# Everything that a developer does. On a fresh machine this needs Python 3.11 or newer (with venv), make and git.

.PHONY: demo test lint types docs bench ci clean
.DEFAULT_GOAL := test

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The first interpreter that is new enough; PYTHON=... names another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=

demo: $(INSTALLED)
	$(BIN)/bunter demo $(DEMO_ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/python -m pytest -q docs README.md src tests/test_docs.py

# BENCH_ARGS="--quick", "--only 'get-*'", "--list": benchmarks/suite/suite.py --help says what there is.
bench: $(INSTALLED)
	$(BIN)/python benchmarks/suite/suite.py $(BENCH_ARGS)

ci:
	.ci/run

clean:
	rm -rf $(VENV) .bench build dist

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Bunter needs Python 3.11 or newer with its venv module, and found none;" \
		"install one (Debian: apt install python3 python3-venv), or say make PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
