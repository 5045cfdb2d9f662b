# Everything a newcomer or a machine runs. Each target installs what it needs; nothing is installed outside the package
# manager's places and $(TOCSIN_CACHE).

SHELL := /bin/bash
export TOCSIN_CACHE ?= $(HOME)/.cache/tocsin
export CARGO_TARGET_DIR ?= $(TOCSIN_CACHE)/target
export PATH := $(TOCSIN_CACHE)/tools/bin:$(TOCSIN_CACHE)/tools/node_modules/.bin:$(TOCSIN_CACHE)/tools/python/bin:$(PATH)

TOCSIN := $(CARGO_TARGET_DIR)/release/tocsin

.PHONY: help build demo check test sqlx proto-release bench-load bench-latency bench-console bench-skab bench-training bench-streaming bench-disturbance bench-stages bench-harbor bench-drift bench-slow bench-thresholds bench-incidents bench-watchdog bench-archive bench-whatif

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

build: ## the binary, in release mode
	@scripts/setup build
	cargo build --release --locked --workspace --bins
	@echo "built $(TOCSIN)"

demo: build ## two simulated plants, faults injected, pages arriving; ends with ctrl-c (DEMO_ARGS="--once --seed 7")
	@scripts/setup postgres
	$(TOCSIN) demo $(DEMO_ARGS)

check: ## what a developer runs before a commit
	@scripts/setup build postgres check
	cargo fmt --all -- --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo deny --all-features check bans licenses sources
	cargo machete
	cd proto && buf lint && buf breaking --against released.binpb
	scripts/with-postgres scripts/sqlx-prepare --check

test: ## sets up what it needs and runs everything
	@scripts/setup build postgres test
	SQLX_OFFLINE=true scripts/with-postgres cargo nextest run --release --locked --workspace --no-fail-fast

sqlx: ## writes .sqlx anew after a query or the schema has changed
	@scripts/setup build postgres
	scripts/with-postgres scripts/sqlx-prepare

BENCH := $(CARGO_TARGET_DIR)/release/tocsin-bench

bench-load: build ## readings per second at full load of 9,600 sensors, CPU and bytes per reading (BENCH_ARGS="--model conv")
	@scripts/setup postgres
	$(BENCH) load --machines 600 $(BENCH_ARGS)

bench-latency: build ## time to the ack for 2,400 sensors of 128 bins at 1 Hz, ten minutes
	@scripts/setup postgres
	$(BENCH) latency --bins 128 $(BENCH_ARGS)

bench-console: build ## time to each page of the console for 2,400 sensors with a week of readings
	@scripts/setup postgres
	$(BENCH) console $(BENCH_ARGS)

bench-skab: build ## the Skoltech Anomaly Benchmark beside its published rows (BENCH_ARGS="--data FOLDER")
	$(BENCH) skab $(BENCH_ARGS)

bench-training: build ## isolation forest and training beside scikit-learn and PyTorch (BENCH_ARGS="--corpus FILE")
	@scripts/setup test
	$(BENCH) training $(BENCH_ARGS)

bench-streaming: build ## training on 18 million rows of 64 bins from disk: memory, disk, rows per second (BENCH_ARGS="--rows 1800000")
	$(BENCH) streaming $(BENCH_ARGS)

bench-disturbance: build ## other batches' acks while one machine is locked and one batch is poisoned
	@scripts/setup postgres
	$(BENCH) disturbance $(BENCH_ARGS)

bench-stages: build ## CPU time of each stage of a reading's path, alone on one thread
	@scripts/setup postgres
	$(BENCH) stages $(BENCH_ARGS)

bench-harbor: build ## false pages of a healthy simulated fleet, then failures caught in a failing one
	$(BENCH) harbor --days 6 --seeds 5 $(BENCH_ARGS)
	$(BENCH) harbor --failures 28 $(BENCH_ARGS)

bench-drift: build ## drift told from failure, and false pages, over simulated months of benign change
	$(BENCH) drift $(BENCH_ARGS)

bench-slow: build ## slow ramps in a simulated fleet whose baselines follow it: paged, or learned as normal
	$(TOCSIN) simulate --machines 60 --days 110 --interval 600 --seed 1 --out $(TOCSIN_CACHE)/slow.parquet
	for policy in guarded symmetric; do for ramp in "16 --db 12" "1 --db 20"; do \
	  $(TOCSIN) evaluate inject --corpus $(TOCSIN_CACHE)/slow.parquet --bins $$ramp --ramp-days 7,30,90 --step 600 \
	    --recalibrate $$policy $(BENCH_ARGS) || exit 1; done; done

bench-thresholds: build ## time, memory and disk of setting limits over days of readings (BENCH_ARGS="--sensors 2400 --days 7", 44 GB)
	@scripts/setup postgres
	$(BENCH) thresholds $(BENCH_ARGS)

bench-archive: build ## bytes of a reading in the archive, and readings per second there and back (BENCH_ARGS="--sensors 240 --days 2")
	@scripts/setup postgres
	$(BENCH) archive $(BENCH_ARGS)

bench-whatif: build ## time of a what-if over 26 million logged scores, most of them archived; filling them in takes far longer
	@scripts/setup postgres
	$(BENCH) whatif $(BENCH_ARGS)

bench-incidents: build ## incidents and pages under crashes, two replicas and bad receivers, 200,000 steps (BENCH_ARGS="--seed 7")
	@scripts/setup postgres
	$(CARGO_TARGET_DIR)/release/incident-simulation --steps 200000 $(BENCH_ARGS)

bench-watchdog: build ## seconds the heartbeat goes on after ingest, ensemble, pager and Postgres are killed, 18 minutes
	@scripts/setup postgres
	$(BENCH) watchdog $(BENCH_ARGS)

proto-release: ## makes the present contracts the ones that later changes must not break
	@scripts/setup check
	cd proto && buf build -o released.binpb
