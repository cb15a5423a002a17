# Every job of this repository, on your machine and in CI. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
TERRAFORM ?= terraform
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
TEMPLATE := {{cookiecutter.project_slug}}
DEMO := .demo
PYTEST_ARGS ?=

.PHONY: help
help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# --- environments: each is made from its lock, again when the lock changed, and not otherwise ---------------------------

.PHONY: setup
setup: $(VENV)/.stamp ## Install the development environment from its lock

$(VENV)/.stamp: .locks/dev.txt .locks/uv.txt shared_lib/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, and $(PYTHON) is " + sys.version.split()[0] + ". Remedy: make PYTHON=python3.13")'
	@echo "Installing the development environment (first time: about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .locks/uv.txt
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes .locks/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e shared_lib
	@touch $@

.venv-%/.stamp: .locks/%.txt | $(VENV)/.stamp
	@echo "Installing the $* environment ..."
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv-$*
	@$(UV) pip sync --quiet --python .venv-$*/bin/python --require-hashes .locks/$*.txt
	@touch $@

.PHONY: emulator
emulator: .venv-emulator/.stamp ## Install the local AWS emulator, in an environment of its own

.PHONY: schema
schema: .venv-terraform/.stamp ## Install the AWS provider's schema that Terraform files are checked against

LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

.PHONY: lock
lock: setup ## Resolve the environments again, within the pins of pyproject.toml
	$(UV) $(LOCK) --group dev shared_lib/pyproject.toml --extra dev -o .locks/dev.txt
	$(UV) $(LOCK) --group emulator -o .locks/emulator.txt
	$(UV) $(LOCK) --group terraform -o .locks/terraform.txt
	printf 'uv==%s\n' "$$($(UV) --version | cut -d' ' -f2)" | $(UV) $(LOCK) --no-annotate - -o .locks/uv.txt
	$(BIN)/python shared_lib/pin_wheel.py --resolve

# --- quality ------------------------------------------------------------------------------------------------------------

.PHONY: format
format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lint
lint: setup ## Check form, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: sunsets
sunsets: setup ## Warn of API endpoints whose support ends soon
	@$(BIN)/python -c 'import datetime as d, qualtrics_etl.qualtrics.registry as r; [print(w) for w in r.sunset_warnings(d.date.today())]'

.PHONY: test
test: setup emulator schema lint sunsets ## Run every check and every test
	$(BIN)/pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

.PHONY: nightly
nightly: ## Run every test, and those too that try each combination (about an hour)
	HYPOTHESIS_PROFILE=nightly $(MAKE) test PYTEST_ARGS="-m 'nightly or not nightly' $(PYTEST_ARGS)"

# --- the library's wheel, as generated repositories get it ---------------------------------------------------------------

.PHONY: wheel
wheel: setup ## Build the library's wheel into the template, and pin it there by hash
	$(BIN)/python shared_lib/pin_wheel.py

# --- demo ---------------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## Generate the example client's repository and run its workflow on this machine
	@rm -rf $(DEMO)/acme-etl && mkdir -p $(DEMO)
	@$(BIN)/cookiecutter --no-input --output-dir $(DEMO) . > $(DEMO)/cookiecutter.log
	@echo "Generated $(DEMO)/acme-etl from the template's default answers. Running its workflow:"
	@$(MAKE) --no-print-directory -C $(DEMO)/acme-etl run FILE=tests/data/contacts.csv VENV=$(CURDIR)/$(DEMO)/venv PYTHON=$(CURDIR)/$(BIN)/python
	@echo
	@echo "Where to look next:"
	@echo "  $(DEMO)/acme-etl/README.md                       the client's repository"
	@echo "  $(DEMO)/acme-etl/services/import_contacts/       a handler: only what is the client's own"
	@echo "  $(DEMO)/acme-etl/.qetl/rejects/                  the rows that were put aside, with reasons"
	@echo "  cd $(DEMO)/acme-etl && make run FILE=your.csv    a file of your own"
	@echo "  cd $(DEMO)/acme-etl && ../venv/bin/qetl simulate --state .qetl/simulator.json"
	@echo "                                                 who would have been mailed, in a browser"

.PHONY: clean
clean: ## Remove what was made, environments too
	rm -rf $(DEMO) build $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
