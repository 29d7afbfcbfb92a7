# make        what a newcomer needs: dependencies and the compiled command
# make test   everything that CI runs; `make test T=store/retry` for some test files alone
# make plugin the Velero plugin as one executable
# make cluster-up, demo-cluster, cluster-down   the whole system on this machine: started, shown, ended
# make bench  speed and memory beside restic; `make bench B=--quick` with options
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: all deps build plugin servers lint format test demo cluster-up demo-cluster cluster-down cluster-servers bench clean

# The Node that package.json pins, whatever the machine has.
NODE := node_modules/.bin/node

all: build

deps: node_modules/.package-lock.json

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	touch $@

# tsc leaves the outputs of removed sources behind, and jest would run their tests.
build: deps
	npm run --silent build
	find dist -name '*.test.js' | while read -r test; do \
	  source=$${test#dist/}; [ -e "$${source%.js}.ts" ] || rm -- "$$test"; done

# The Velero plugin as one executable, dist/velero-plugin-datamover; nothing is done while its sources are the same.
plugin: deps
	$(NODE) plugin/build-executable.mjs

# The servers and peers that tests run against: seconds when they are there, some ten minutes the first time.
servers: deps
	$(NODE) e2e/tools/install.ts

lint: deps
	npm run --silent lint

format: deps
	npm run --silent format

test: build lint servers
	npm run --silent test -- $(T)

demo: build
	$(NODE) e2e/tools/install.ts mke2fs
	e2e/demo/run.sh

# Kubernetes, Ceph, MinIO and Velero with our parts, on loopback, in the background (e2e/cluster/).
cluster-servers: build plugin
	$(NODE) e2e/tools/install.ts openssl ceph minio etcd kube-apiserver kube-controller-manager kubectl \
	  snapshot-controller csi-snapshotter csi-provisioner velero helm restic-current $(if $(ZFS),openzfs)

# `make cluster-up ZFS=1`: OpenEBS ZFS, too.
export ZFS
cluster-up: cluster-servers
	$(NODE) --no-warnings dist/e2e/cluster/up.js

demo-cluster: cluster-servers
	$(NODE) --no-warnings dist/e2e/cluster/demo.js

cluster-down: build
	$(NODE) --no-warnings dist/e2e/cluster/down.js

bench: build
	$(NODE) e2e/tools/install.ts restic-current minio
	npm run --silent bench -- $(B)

clean:
	rm -rf dist
