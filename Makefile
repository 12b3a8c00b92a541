# `make` alone lists what there is. Everything runs in .venv, which `make setup` makes from uv.lock.

BIN := .venv/bin
STAMP := .venv/.stamp
UNITTEST := $(BIN)/python -m unittest discover -s tests -t .
# In bench/ a leading underscore marks what the scripts share.
BENCHMARKS := $(sort $(filter-out bench/_% bench/peers.py,$(wildcard bench/*.py)))
# More arguments for `make run`, as in `make run ARGS="--batches 3"`.
ARGS :=

# The tests start hundreds of processes: none should compile again what another one has.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test test-long soak test-system check bench bench-peers golden lock

help: ## list these targets
	@echo "emitter: a shop that never closes, written into your lakehouse"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv (needs git, make and some Python 3.12 or newer)

$(STAMP): uv.lock pyproject.toml scripts/bootstrap.sh
	@echo "Making .venv ..."
	@scripts/bootstrap.sh
	@touch $@

run: $(STAMP) ## start the daemon on config/emitter.yaml, in the foreground
	@exec $(BIN)/emitter run -c config/emitter.yaml $(ARGS)

test: $(STAMP) ## all tests that need nothing but Python packages
	@scripts/test-side-by-side.sh "unit/test*.py golden/test*.py contract/test_[k-z]*.py" "simulation/test_[!nt]*.py contract/test_[e-j]*.py" \
		"contract/test_[a-d]*.py" "end_to_end/test*.py simulation/test_[nt]*.py"

test-long: $(STAMP) ## the long ones: crashes, faults and seeds, a share of them chosen by a seed that moves
	@scripts/test-side-by-side.sh "end_to_end/long_kill_*.py contract/long_*.py" \
		"end_to_end/long_[!k]*.py end_to_end/long_kill.py" "simulation/long_*.py"

soak: export SOAK := 1
soak: test-long ## the same with all that there is of them

test-system: $(STAMP) ## against real system components (installs them as root on Debian)
	scripts/install-system.sh
	$(UNITTEST) -p 'system_*.py'

check: $(STAMP) ## lint, format, types, layers, documents against code, lock file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m unittest tests.unit.test_layers tests.unit.test_docs tests.unit.test_lock
	scripts/bootstrap.sh lock-check

bench: $(STAMP) ## every benchmark in bench/, one after the other
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script; done

bench-peers: $(STAMP) ## this beside other generators, which it installs (600 MB, removed again; some need Java)
	$(BIN)/python bench/peers.py

golden: $(STAMP) ## make the golden digests anew (raise the content version first)
	$(BIN)/python -m tests.golden.regenerate

lock: ## resolve the dependencies again and write uv.lock
	scripts/bootstrap.sh lock
