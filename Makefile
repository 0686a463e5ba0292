# What the README promises. Everything that thinks is in infra/ and pyproject.toml.
.DEFAULT_GOAL := help
.PHONY: help setup venv demo test check lint types imports first tests tests-rest stacks ready faults nightly bench format lock down

BOOTSTRAP := sh infra/setup/bootstrap.sh
BIN := .venv/bin
# What waits much beside what works much; on two cores more would only be in each other's way.
TWO := $(MAKE) --no-print-directory --jobs=2

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## make this machine ready: virtual environment, Docker Engine
	@$(BOOTSTRAP)

demo: export DR_STARTED_AT := $(shell date +%s)
demo: ## set up, break a real stack, recover it, report
	@$(BOOTSTRAP)
	@$(BIN)/python -m infra.demo

test: first tests ## set up and run every check and test

first: venv
	@$(TWO) ready check

check: lint types imports ## linter, types, import contracts

venv: ## the virtual environment alone
	@sh infra/setup/venv.sh

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

imports: venv
	$(BIN)/lint-imports --no-logo

# One run a kind of stack: what is not needed any more is gone before the next one starts.
STACKS := tests/e2e tests/lab tests/other
STACK_RUNS := $(STACKS:tests/%=tests-%)

tests: tests-rest stacks ## the tests alone

stacks: ready
	@$(TWO) $(STACK_RUNS)

ready:
	@$(BOOTSTRAP) --browser
	@$(BIN)/python -m infra.images

# These make what they need themselves and wait much: three at once on two cores, by file.
tests-rest: ready
	$(BIN)/pytest --numprocesses=3 --dist=loadfile $(STACKS:%=--ignore=%) --ignore=tests/browser --ignore=tests/faults

# The browser and the kills use the lab of the end-to-end tests.
tests-e2e: ALONG := tests/browser tests/faults
$(STACK_RUNS): tests-%: ready
	$(BIN)/pytest tests/$* $(ALONG)

faults: ready ## run every row of the fault catalogue, and print it
	@$(BIN)/python -m tests.faults.catalogue --write docs/faults.md

nightly: ready ## what is too long for make test: every kill, every row
	@$(BIN)/python -m tests.faults.catalogue --depth nightly --write docs/faults.md

bench: ready ## measure on this machine, and write docs/performance.md
	@$(BIN)/python -m bench.overhead --write docs/performance.md
	@$(BIN)/python -m bench.protection --write docs/performance.md
	@$(BIN)/python -m bench.restore --write docs/performance.md
	@$(BIN)/python -m bench.backup --write docs/performance.md

format: venv ## lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: venv ## compile requirements.lock again (hashes, no index addresses)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --extra embedded pyproject.toml requirements.in -o requirements.lock

down: venv ## remove everything that was made, and nothing else
	@$(BIN)/python -m infra.down
