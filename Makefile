# Every target works from a fresh clone: what it needs is made first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := local,openai,tinker,judge,figures,report,datasets,dask,fast
PYTEST := $(BIN)/python -m pytest

.PHONY: install test test-slow test-tinker check format demo docs clean help

help:                ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(VENV)/.installed  ## make .venv and install inoc with the versions CI tested

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]" --group dev
	touch $@

check: install       ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

test: check          ## what CI runs: style, types and the fast tests
	$(PYTEST) -m "not slow" -n 2 --dist loadgroup

test-slow: install   ## the studies with real training
	$(PYTEST) -m slow

test-tinker: install ## the Tinker backend: the real SDK against a contract server
	$(PYTEST) tests/tinker

format: install      ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: install        ## the shipped study, from scoring to outcomes and figures
	$(BIN)/inoc demo --out demo-out

docs: install        ## regenerate the pages made from the code
	$(BIN)/python -m inoc.heuristics.reference docs/heuristics.md

clean:               ## remove what the targets made
	rm -rf $(VENV) demo-out .pytest_cache .ruff_cache build dist
