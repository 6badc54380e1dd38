# Every target sets up what it needs first; nothing is installed outside .venv but Debian packages.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo dev test check lint-api bench conformance soak screenshots clean

demo: .venv/.run
	@$(BIN)/kgpud demo

dev: .venv/.run
	@$(BIN)/kgpud dev --state .dev

test: .venv/.test
	@$(BIN)/python -m pytest -n 4 --dist loadfile

check: .venv/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# The API's description, held to the rules of Redocly and Spectral.
lint-api: .venv/.test
	@mkdir -p build
	@$(BIN)/python -m tests.rest.document >build/openapi.json
	@.ci/lint-api $(PYTHON) build/openapi.json

bench: .venv/.test
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench.pods
	@$(BIN)/python -m tests.bench.rest

screenshots: .venv/.test
	@$(BIN)/python -m tests.dashboard.screenshots build/screenshots

# On the cluster that KGPUD_CONFORMANCE_KUBECONFIG leads to; see docs/operator.md.
conformance: .venv/.test
	@$(BIN)/python -m pytest tests/conformance -m 'slow or not slow' --timeout=900

soak: .venv/.test
	@$(BIN)/python -m pytest -m slow --timeout=3600

clean:
	rm -rf .venv .dev build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# To run: the program, bwrap for its local cluster, the clients that the demo drives.
.venv/.run: pyproject.toml
	@.ci/packages openssh-client rsync curl jq
	@.ci/venv $(PYTHON) '.[local]'
	@touch $@

# To test: besides, an sshd to compare with, its own tests, the other clients, busybox for
# bare:latest, and a python3 in /usr for Ansible's modules in a pod.
.venv/.test: pyproject.toml
	@.ci/packages openssh-client openssh-server openssh-tests rsync curl jq sshfs busybox-static \
	  procps putty-tools dropbear-bin lftp git python3 chromium nftables
	@.ci/venv $(PYTHON) '.[test]'
	@touch $@ .venv/.run
