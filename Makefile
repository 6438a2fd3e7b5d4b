# What a person can do here. Works with GNU Make 3.81 (macOS) and in folders with spaces.

.DEFAULT_GOAL := help
.PHONY: help setup run test chaos restore-drill fuzz bench agents image-test lighthouse firefox lint format shell migrations css css-check clean

# An activated environment of something else must not reach into ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV UV_PROJECT_ENVIRONMENT CONDA_PREFIX DJANGO_SETTINGS_MODULE
# Each process would compile every module anew: seconds for a console, an agent or a run of the tests.
unexport PYTHONDONTWRITEBYTECODE

PY := .venv/bin/python
IN_STORES := $(PY) -m jatevo.local stores
# mypy's Django plugin loads the settings, which insist on secrets.
FOR_CHECKS := JATEVO_SECRET_KEY=only-for-checks JATEVO_MASTER_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
# How many processes share the tests: a number, or half as many again as the machine has cores (tests/workers.py).
WORKERS := auto
# Fault runs measure stores on a disk. Other tests have theirs in memory (tests/memory.py).
ON_DISK := $(or $(TMPDIR),/tmp)
DJADE_FILES = find templates -name '*.html' -print0

help:  ## What can be done here
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup:  ## The Python environment (.venv) with everything for development
	@sh deploy/bin/setup.sh dev

run:  ## The whole console on this machine, with a demo fleet; PORT and JATEVO_HOME choose where
	@sh deploy/bin/run.sh

test: setup  ## The whole test suite on all cores; ARGS="-k name" narrows it, WORKERS=0 uses one process
	@sh deploy/bin/test-tools.sh
	@$(PY) -m pytest -n $(WORKERS) --maxprocesses 8 $(ARGS)

chaos: setup  ## The fault runs: processes killed, migrations applied under load, forged posts, a stepped clock (an hour)
	@sh deploy/bin/test-tools.sh chaos
	@TMPDIR="$(ON_DISK)" $(PY) -m pytest tests/chaos -m chaos $(ARGS)

restore-drill: setup  ## Backup and point-in-time restore with pgBackRest, and ClickHouse rebuilt (minutes); needs apt as root
	@sh deploy/bin/test-tools.sh restore
	@TMPDIR="$(ON_DISK)" $(PY) -m pytest tests/restore -m restore $(ARGS)

fuzz: setup  ## The API as each of its seven callers, with all that schemathesis thinks of (minutes); EXAMPLES and SEED
	@EXAMPLES="$(EXAMPLES)" SEED="$(SEED)" $(PY) -m pytest tests/web/test_openapi.py -m at_length -s $(ARGS)

bench: setup  ## Measure the pages over 10,000 nodes and 30 days (minutes); BENCH_HOME keeps what was seeded
	@PYTHONPATH=.:deploy $(PY) -m bench --home "$(BENCH_HOME)" $(ARGS)

agents: setup  ## A thousand agents from one process on a console of this machine, for ten minutes
	@PYTHONPATH=.:deploy $(PY) -m bench.agents $(ARGS)

image-test: setup  ## Build the image and run compose.yaml's services from it (root, Debian or Ubuntu, 10 minutes); IMAGE_HOME keeps what was built
	@$(PY) -m tests.image $(if $(IMAGE_HOME),--home "$(IMAGE_HOME)") $(ARGS)

lighthouse: deploy/lighthouse/node_modules/.package-lock.json  ## Lighthouse on a console that is up; URL and JATEVO_HOME name it
	npm start --silent --prefix deploy/lighthouse -- --url "$(or $(URL),http://127.0.0.1:8000)" --home "$(abspath $(or $(JATEVO_HOME),.local))" --out "$(abspath build/lighthouse)" $(ARGS)

firefox: deploy/lighthouse/node_modules/.package-lock.json  ## Receipts used in Firefox on a console that is up; URL and JATEVO_HOME name it
	npm run firefox --silent --prefix deploy/lighthouse -- --url "$(or $(URL),http://127.0.0.1:8000)" --home "$(abspath $(or $(JATEVO_HOME),.local))" --out "$(abspath build/firefox)" $(ARGS)

deploy/lighthouse/node_modules/.package-lock.json: deploy/lighthouse/package-lock.json
	npm ci --silent --prefix deploy/lighthouse

lint: setup  ## Every check that reads the code only
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(FOR_CHECKS) $(PY) -m mypy .
	$(PY) -m mypy --config-file onboarding/agent/pyproject.toml onboarding/agent/jatevo_agent onboarding/agent/tests
	PYTHONPATH=. .venv/bin/lint-imports
	$(DJADE_FILES) | xargs -0 .venv/bin/djade --check --target-version 5.2
	$(IN_STORES) --temporary -- sh -c "$(PY) manage.py makemigrations --check --dry-run && PYTHONPATH=.:deploy $(PY) -m migration_checks"
	@if command -v npm >/dev/null 2>&1; then $(MAKE) --no-print-directory css-check; \
	else echo "npm is not installed: whether static/dist is fresh was not checked."; fi

format: setup  ## Put code and templates in order
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	-$(DJADE_FILES) | xargs -0 .venv/bin/djade --target-version 5.2

shell: setup  ## Django's shell on the data of `make run` (which must not be running)
	@$(IN_STORES) -- $(PY) manage.py shell

migrations: setup  ## Write migrations for changed models
	@$(IN_STORES) --temporary -- $(PY) manage.py makemigrations $(ARGS)

css: deploy/css/node_modules/.package-lock.json  ## Build static/dist from deploy/css (needs npm)
	npm run --silent --prefix deploy/css build

css-check: deploy/css/node_modules/.package-lock.json  ## Whether static/dist is what the sources give
	npm run --silent --prefix deploy/css check

deploy/css/node_modules/.package-lock.json: deploy/css/package-lock.json
	npm ci --silent --prefix deploy/css

clean:  ## Remove caches and the environment; the data in .local stay
	rm -rf .venv build/tests .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache deploy/css/node_modules deploy/lighthouse/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
