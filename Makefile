# The whole routine of this project. Each target does its own set-up.

CARGO ?= cargo
PREFIX ?= /usr/local

.PHONY: all build demo demo-pump test test-static test-pump-projects lint fuzz attack bench static dist reproducible source deb test-packaging test-fresh install clean

all: build

# The release binary: target/release/distcc
build:
	sh tests/setup.sh build
	$(CARGO) build --release --locked

# A server on this machine, a C and a C++ project through it, watched and compared
demo:
	sh tests/setup.sh demo
	$(CARGO) build --release --locked
	sh tests/demo.sh target/release/distcc target/demo

# The same two projects in pump mode: what is sent and what it costs here, beside plain mode
demo-pump:
	sh tests/setup.sh demo
	$(CARGO) build --release --locked
	bash tests/demo-pump.sh target/release/distcc target/demo

# All tests: units, real processes, interoperability with stock distcc, real projects
test:
	sh tests/setup.sh test
	$(CARGO) test --locked

# All of HarfBuzz and RocksDB in pump mode, by our server and by stock's, every object compared with a local one: some hours of
# processor time. One source in thirty of RocksDB: make test-pump-projects EVERY=30
EVERY ?= 1
test-pump-projects:
	sh tests/setup.sh test
	DISTCC_PUMP_EVERY=$(EVERY) $(CARGO) test --locked --test projects large_projects -- --ignored --nocapture

# All but real projects with the static binary of this kind of machine instead, as it is deployed
test-static:
	sh tests/setup.sh test
	sh cross/dist.sh $(shell uname -m)
	DISTCC_TEST_BINARY=$(CURDIR)/target/dist/$(shell uname -m)/distcc $(CARGO) test --locked --test tests --test attack --test timing

# What CI insists on besides
lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

# Fuzz one target for a minute: make fuzz TARGET=request (needs cargo-fuzz and nightly)
TARGET ?= request
SECONDS ?= 60
fuzz:
	cd tests/fuzz && $(CARGO) +nightly fuzz run $(TARGET) --fuzz-dir . -- -max_total_time=$(SECONDS)

# Hostile requests for the daemon, and good jobs between them: make attack COUNT=20000
COUNT ?= 1000000
attack:
	sh tests/setup.sh test
	$(CARGO) test --release --locked --test attack -- --count=$(COUNT)

# Numbers, ours beside stock's where there is such a thing: all of them one after the other, twenty minutes; see docs/performance.md. One: make
# bench-lzo. Further words: make bench-builds ONLY="calls line"
#   client        what a job and a local compile cost in the client
#   daemon        what a job costs in the daemon, jobs per second, memory
#   builds        processor time of real builds, many clients on few slots, system calls, a slow line
#   pump          what a job in pump mode costs here
#   include       the include engine beside the preprocessor
#   dense         what a dense encoder would save in pump mode
#   lzo           compressing and expanding, beside the C library
#   instructions  what fixed work takes, beside the accepted counts
BENCHES = client daemon builds pump include dense lzo instructions
ONLY =
.PHONY: $(BENCHES:%=bench-%)

bench:
	for one in $(BENCHES); do $(MAKE) "bench-$$one" || exit; done

$(BENCHES:%=bench-%): bench-%:
	sh tests/setup.sh test $(if $(filter instructions,$*),extra)
	$(CARGO) bench --locked --bench $* $(if $(ONLY),-- $(ONLY))

# One static file for this kind of machine
static:
	sh cross/static.sh

# Archives with a static binary for every kind of machine: target/dist/*.tar.gz. One: make dist-armv7
MACHINES = $(patsubst cross/%.conf,%,$(wildcard cross/*.conf))
dist:
	sh cross/dist.sh

$(MACHINES:%=dist-%): dist-%:
	sh cross/dist.sh $*

# Builds the last commit for one machine in two places, and compares the bytes: make reproducible MACHINE=armv7
MACHINE ?= armv7
reproducible:
	sh cross/reproducible.sh $(MACHINE)

# What packages are built from without a network, and Debian's package: target/package. See cross/packaging/README.md
source:
	sh cross/packaging/source.sh

deb:
	sh cross/packaging/deb.sh

# Builds packages and tries them in fresh systems; two minutes of processor time, as root
test-packaging:
	sh tests/setup.sh packaging
	sh tests/packaging.sh

# The commands of README in a fresh Debian with nothing but this Rust, as root: make test-fresh ONLY="demo dist"
test-fresh:
	sh tests/setup.sh packaging
	sh tests/fresh.sh $(ONLY)

# The program, its names, manual pages and what init systems and shells need: see cross/install.sh
install: build
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" sh cross/install.sh

clean:
	$(CARGO) clean
