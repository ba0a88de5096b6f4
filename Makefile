# Holdfast. `make help` lists what there is.
SHELL := /bin/bash
NODE := node_modules/.bin/node
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
KEEP ?=
LAB := $(NODE) test/lab/main.ts

.PHONY: help install bench sim model mutants chaos stall build generate verify lint format typecheck test test-unit test-api test-lab test-sanity test-gate demo demo-clean demo-kubectl lab-assets images images-lock test-pods bench-claims clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: node_modules/.installed ## fetch the npm packages (Node 24 among them)

node_modules/.installed: package.json package-lock.json .npmrc
	@command -v npm >/dev/null || { echo 'npm is missing: install Node.js 20 or newer (Debian: apt-get install nodejs npm)'; exit 1; }
	@# not `npm ci`: it insists on lock entries for platforms (macOS, Windows) whose packages a mirror may not carry
	npm install --no-save --ignore-scripts --loglevel=error
	@touch $@

build: install ## bundle the programs into dist/
	$(NODE) build.ts

generate: install ## make the generated files again (types and reference from crds/, CSI types from the CSI specification; needs Go)
	$(NODE) generate.ts
	$(NODE) csi-driver/generate.ts

verify: install ## everything that can be checked without running it: format, lint, types, generated files
	npx prettier --check --log-level warn .
	npx oxlint --type-aware --deny-warnings
	npx tsc --noEmit
	$(NODE) generate.ts --check

lint: install ## lint with types
	npx oxlint --type-aware --deny-warnings

format: install ## format all files
	npx prettier --write --log-level warn .

typecheck: install ## check the types
	npx tsc --noEmit

test: verify test-unit mutants model test-api test-lab ## all tests: about 40 minutes once the lab is built

test-unit: install ## unit tests: seconds, needs neither Go nor QEMU
	npm run -s test:unit

test-api: install ## tests on a real etcd and kube-apiserver (built with Go the first time)
	npm run -s test:api

test-lab: build ## tests on real kernels in QEMU (root; built the first time)
	$(LAB) run -- npm run -s test:lab

test-sanity: build ## csi-sanity against the CSI services: first over fakes, then in the lab (root)
	npm run -s test:api -- test/api/sanity
	HOLDFAST_SANITY=all $(LAB) run --name sanity -- npm run -s test:lab -- test/system/sanity

test-gate: build ## everything about the write gate by itself, on the kernel that HOLDFAST_LAB_KERNEL names (root)
	HOLDFAST_GATE_ALL=1 HOLDFAST_GATE_SHOW=1 $(LAB) run -- npm run -s test:lab -- test/gate/gate-all

test-pods: install ## pods that claim volumes, in VMs with kubelet and containerd, with Holdfast from its chart (root; built the first time)
	$(NODE) test/pods/prepare.ts
	$(LAB) run $(if $(KEEP),--keep --name pods) -- $(NODE) test/pods/main.ts $(if $(KEEP),--keep)

bench-claims: build ## 200 claims at once against a driver that does nothing, and API requests per volume
	$(NODE) test/pods/claims.ts $(ARGS)

demo: build ## the main job on real kernels, told on the terminal; KEEP=1 leaves it running
	$(LAB) run --name demo $(if $(KEEP),--keep) -- $(NODE) test/demo/main.ts $(if $(KEEP),--keep)

bench: build ## throughput through Holdfast's device against mdadm on the same legs, in the lab
	@$(LAB) run --name bench -- $(NODE) test/demo/bench-main.ts $(ARGS)

chaos: build ## random faults on real kernels under verified writers: make chaos SEED=7 ROUNDS=20
	@$(LAB) run --name chaos -- $(NODE) test/chaos/main.ts $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

stall: build ## how long a writer waits when one thing fails, over many repetitions: make stall REPETITIONS=20
	@$(LAB) run --name stall -- $(NODE) test/chaos/stall.ts $(if $(REPETITIONS),--repetitions $(REPETITIONS)) $(ARGS)

sim: install ## random faults on the real programs over simulated machines, in seconds: make sim SEEDS=20000 SEED=7 JOBS=2
	@$(NODE) test/sim/main.ts $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

model: install ## every way in which small simulated worlds can depart from their usual course: make model DEPTH=2 MINUTES=60
	@$(NODE) test/sim/model/main.ts $(if $(DEPTH),--depth $(DEPTH)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

mutants: install ## break each law on purpose and see the simulation catch it
	@$(NODE) test/sim/mutants/main.ts $(ARGS)

demo-clean: install ## end a demo that was kept
	$(LAB) down --name demo

demo-kubectl: install ## kubectl in a kept demo: make demo-kubectl ARGS="get rv"
	@$(LAB) kubectl --name demo $(ARGS)

lab-assets: install ## build what the lab needs, without starting it
	$(LAB) assets

images: install ## the container images as OCI archives, with an SBOM each: make images ARGS="--prefix registry.example/team/"
	@$(NODE) images/main.ts $(ARGS)

images-lock: install ## take the newest Debian packages into the images
	$(NODE) images/lock.ts

clean: ## remove what was built here (not the cache)
	rm -rf dist build
