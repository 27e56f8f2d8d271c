# What people type. Every target that builds runs cmake/setup.sh first, which is quick once the machine is set up.

PRESET ?= release
WERROR ?= OFF
JOBS   ?= $(shell nproc)
BUILD  := build/$(PRESET)
FUZZ_SECONDS ?= 60
SANITIZERS := asan ubsan tsan
# A cross compiler, QEMU and ARM libraries, which make neon installs.
neon_ready := $(and $(shell command -v qemu-aarch64-static),$(wildcard /usr/lib/aarch64-linux-gnu/libhwy.so))

configure = cmake --preset $(1) -DTHINWIRE_WERROR=$(WERROR) --log-level=NOTICE
compile   = $(call configure,$(1)) && cmake --build --preset $(1) -j $(JOBS)
run_tests = ctest --test-dir build/$(1) --output-on-failure --no-tests=error -j $(JOBS)

.NOTPARALLEL:
.PHONY: help setup build program test check sanitize neon fuzz matrix demo bench lint format clean

help:            ## this list
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup:           ## install system packages and LibTorch where missing
	@cmake/setup.sh

build: setup     ## build everything (PRESET=release, debug)
	$(call compile,$(PRESET))

program: setup   ## build the program alone, without the tests
	$(call configure,$(PRESET)) && cmake --build --preset $(PRESET) -j $(JOBS) --target thinwire

check: build     ## the quick tests, for every edit
	$(call run_tests,$(PRESET)) -L quick

test: sanitize $(if $(neon_ready),neon) build  ## all tests; first those without LibTorch under each sanitizer
	@$(if $(neon_ready),,echo "skipped: the kernels for NEON; make neon installs what they need")
	$(call run_tests,$(PRESET))

sanitize: setup  ## the parts without LibTorch under ASan, UBSan and TSan
	$(foreach s,$(SANITIZERS),$(call compile,$(s)) && $(call run_tests,$(s)) -L sanitize &&) true

neon:            ## the kernels for NEON, cross compiled, under QEMU (on x86-64, as root once)
	@cmake/neon.sh
	$(call compile,neon)
	$(call run_tests,neon) -R '^quant_codec_test$$'

fuzz:            ## libFuzzer on every parser of foreign bytes (FUZZ_SECONDS=60 for each)
	@cmake/setup.sh clang libclang-rt-14-dev
	$(call compile,fuzz)
	tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS)

matrix: program  ## every pair of settings that must give the same bits (minutes; goes on where it stopped)
	python3 tests/process/matrix.py $(BUILD)/thinwire --folder build/matrix

demo: program    ## four workers on a slow link, killed half way and resumed
	examples/demo.sh $(BUILD)

bench: program   ## our figures beside those of peers and of the machine
	cmake/peers.sh
	$(BUILD)/thinwire bench train --peers --python build/venv/bin/python
	$(BUILD)/thinwire bench codec --threads 1,2 --peers --python build/venv/bin/python
	$(BUILD)/thinwire bench collective --peers --python build/venv/bin/python

lint: setup      ## clang-format, and clang-tidy on the parts without LibTorch
	git ls-files '*.h' '*.cpp' '*.cu' | xargs clang-format --dry-run -Werror
	$(call configure,lint)
	cmake --build build/lint --target thinwire_generated
	git ls-files 'quant/codec/*.cpp' 'quant/kernel/*.cpp' 'comm/*.cpp' ':!comm/backend/nccl/nccl_library.cpp' | \
	  xargs -r -P $(JOBS) -n 1 clang-tidy -p build/lint --quiet

format: setup    ## rewrite the sources with clang-format
	git ls-files '*.h' '*.cpp' '*.cu' | xargs clang-format -i

clean:           ## remove what was built; the LibTorch wheel stays
	find build -mindepth 1 -maxdepth 1 ! -name venv -exec rm -rf {} +
