# The commands of README and CONTRIBUTING. Needs python3 (3.11 or newer) and make; tools/make_venv.sh brings the rest.
# Given several goals at once, make runs shared ones once: `make check demo test` runs the fast tests one time.
.PHONY: help venv check lint test test-fast test-slow demo house lock long error-table cuts bench bench-report fuzz fuzz-api crash soak simulate nat screenshots clean
.NOTPARALLEL:
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
# Bytecode is kept, whatever the environment wishes: without it each of a thousand processes of the tests compiles anew.
export PYTHONDONTWRITEBYTECODE :=

help:
	@echo 'make demo [DIR=path]  run the main job on this machine: host, owner, disaster, recovery, comparison'
	@echo 'make test             all tests, the slow end-to-end ones included'
	@echo 'make check            the gate of every commit: format, lint, types, layers, fast tests'
	@echo 'make bench [ROW=small] [PEERS=backup-peer,restic-rest] [ROUNDS=3] [SCALE=0.1] [ROOT=DIR] [JSON=FILE] [AGAIN=1]'
	@echo '                      rows: small large vm src thousand quic recovery engine index catalogue scores relay linear all, beside restic and borg where installed'
	@echo 'make bench-report [JSON=FILE]   write what was measured into docs/performance.md'
	@echo 'make fuzz [TARGET=tree] [SECONDS=300]   give the decoders broken bytes, each for some minutes (Linux)'
	@echo 'make fuzz-api [EXAMPLES=100]   ask the agent what its API allows, and what it does not, so often for each route'
	@echo 'make crash [POINTS=300] [SIDE=owner|host] [JOB=backup|prune]   interrupt it at so many points, and examine what is left'
	@echo 'make soak [EXAMPLES=100] [STEPS=30]   any order of backups, forgetting, restores and power cuts'
	@echo 'make soak MINUTES=30 [EVERY=60] [SEED=1] [JSON=FILE]   a backup each minute by real processes, which are killed; all is restored'
	@echo 'make nat              who meets whom directly, behind every pair of NATs of a small internet in the kernel (root)'
	@echo 'make cuts [CUTS=20] [MB=500]   cut the connections of a backup so many times, and say what was sent twice'
	@echo 'make error-table      do E1 to E9 with real processes, and write what they said into docs/errors-seen.md'
	@echo 'make simulate [SEEDS=20] [SCENARIO=sybil,slander] [JSON=build/simulation.json] [PLOTS=docs/plots]   attack the scores, over a year of days'
	@echo 'make crimes | long     every crime of docs/crimes.md by real hosts and owners; that, and all that CI takes samples of'
	@echo 'make screenshots      draw the pictures of docs/screens (tmux)'
	@echo 'make venv | house | lock | clean'

# Made anew when the lock changes, so that nothing left over hides a missing dependency.
$(VENV)/.locked: requirements.lock tools/make_venv.sh
	sh tools/make_venv.sh $(VENV)
	@touch $@

# --no-deps --no-build-isolation: everything, the build backend included, comes from the lock.
$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	$(RUN) pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

venv: $(VENV)/.installed

# Beside mypy, which uses one processor: the tests are compiled, or each worker of pytest would do that for itself.
lint: venv
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	@$(RUN) pytest --collect-only -qq >/dev/null 2>&1 & $(RUN) mypy; failed=$$?; wait; exit $$failed
	$(BIN)/lint-imports

test-fast: venv
	$(RUN) pytest -m 'not slow' -n 4 --dist worksteal

test-slow: venv
	$(RUN) pytest -m 'slow and not long' -n 5 --dist worksteal --durations=60

# Every crime of docs/crimes.md, by a real host or owner: fifteen minutes.
crimes: venv
	$(RUN) pytest tests/e2e/test_crimes.py tests/e2e/test_thefts.py -n 2 --dist worksteal

# All that is marked long: the crimes, and what CI only takes samples of.
long: venv
	$(RUN) pytest -m long -n 2 --dist worksteal

# Real agents in network namespaces: needs root, iproute2, nftables, procps. Three minutes.
nat: venv
	$(RUN) pytest tests/nat -s

check: lint test-fast

test: test-fast test-slow

demo: venv
	$(BIN)/backup-peer demo $(if $(DIR),"$(DIR)")

house: venv
	$(BIN)/python tools/house.py

# The pictures of docs/screens, by the real programs on loopback: needs tmux and bash. A minute.
screenshots: venv
	cd tests && $(CURDIR)/$(RUN) screens.shoot

lock: $(VENV)/.locked
	sh tools/make_lock.sh $(VENV)

bench: venv
	$(BIN)/python bench/run.py $(if $(ROW),--row "$(ROW)") $(if $(PEERS),--peers "$(PEERS)") $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SCALE),--scale $(SCALE)) $(if $(ROOT),--root "$(ROOT)") $(if $(JSON),--json "$(JSON)") $(if $(AGAIN),--again)

bench-report: venv
	$(BIN)/python bench/report.py $(if $(JSON),--json "$(JSON)")

# Beside the virtual environment, not in it: atheris is not in the lock, as it can't be installed everywhere.
$(VENV)/fuzz/.installed: tests/fuzz/requirements.txt | venv
	$(RUN) pip install -qq --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: --upgrade --target $(VENV)/fuzz --requirement $<
	@touch $@

fuzz: $(VENV)/fuzz/.installed
	PYTHONPATH=$(CURDIR)/$(VENV)/fuzz $(BIN)/python tools/fuzz.py $(if $(TARGET),--target "$(TARGET)") $(if $(SECONDS),--seconds "$(SECONDS)")

fuzz-api: venv
	API_EXAMPLES="$(or $(EXAMPLES),100)" $(RUN) pytest tests/control/test_wild.py -m slow --durations=5

crash: venv
	cd tests && $(CURDIR)/$(RUN) crash.run $(if $(POINTS),--points "$(POINTS)") $(if $(SIDE),--side "$(SIDE)") \
		$(if $(JOB),--job "$(JOB)")

soak: venv
ifdef MINUTES
	cd tests && $(CURDIR)/$(RUN) soak.long --minutes "$(MINUTES)" $(if $(EVERY),--every "$(EVERY)") $(if $(SEED),--seed "$(SEED)") \
		$(if $(JSON),--json "$(abspath $(JSON))")
else
	SOAK_EXAMPLES="$(or $(EXAMPLES),100)" SOAK_STEPS="$(or $(STEPS),30)" $(RUN) pytest tests/soak tests/agent/jobs/test_hosts_alone.py --show-capture=no --hypothesis-show-statistics
endif

# Beside the virtual environment as well: who draws nothing needs no matplotlib.
$(VENV)/plots/.installed: bench/simulation/requirements.txt | venv
	$(RUN) pip install -qq --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: --upgrade --target $(VENV)/plots --requirement $<
	@touch $@

cuts: venv
	cd tests && $(CURDIR)/$(RUN) soak.cuts $(or $(CUTS),20) $(or $(MB),500)

# Three minutes of real processes, killed, cut off, filled and set wrong.
error-table: venv
	mkdir -p build && rm -f build/errors-seen.jsonl
	BACKUPPEER_ERRORS_SEEN="$(CURDIR)/build/errors-seen.jsonl" $(RUN) pytest tests/e2e -m seen -n 2 --dist worksteal
	$(BIN)/python tools/errors_seen.py build/errors-seen.jsonl

simulate: venv $(if $(PLOTS),$(VENV)/plots/.installed)
	PYTHONPATH=bench:tools/statements $(RUN) simulation.run $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SCENARIO),--scenario "$(SCENARIO)") \
		$(if $(JSON),--json "$(JSON)")
	$(if $(PLOTS),PYTHONPATH=bench:tools/statements:$(VENV)/plots $(RUN) simulation.plots $(or $(JSON),build/simulation.json) $(PLOTS))

clean:
	rm -rf $(VENV) .fuzz build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache src/*.egg-info
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
