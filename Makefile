# What the README promises, one line each. Everything that thinks is in infra/ and pyproject.toml.
.DEFAULT_GOAL := help
.PHONY: help setup lock

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## the virtual environment from requirements.lock
	@sh infra/setup/venv.sh

lock: setup ## compile requirements.lock again (hashes, no index addresses)
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --extra embedded pyproject.toml requirements.in -o requirements.lock
