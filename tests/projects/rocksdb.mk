# RocksDB 8.10: the 315 sources of its library, with the options that its package has for Linux. No program is linked. A source
# costs some seconds even at -O0: EVERY=30 takes only each thirtieth. See common.mk.

# Found whatever the path to this makefile is; $(dir) alone stops at spaces.
sp := $(subst ,, )
HERE := $(subst |,\ ,$(dir $(subst $(sp),|,$(strip $(MAKEFILE_LIST)))))
include $(HERE)common.mk

EVERY = 1
# The one that a build makes lies beside the tree.
SOURCES := $(shell grep -v build_version.cc "$(SRC)/rocksdb_lib_sources.txt" | awk 'NR % $(EVERY) == 0')

# Two pairs of sources have the same name in different directories.
objects = $(foreach f,$(1),$(O)/$(subst /,-,$(basename $(f))).o)

COMPILE = $(CXX) -std=c++17 $(OPT) -I"$(SRC)/rocksdb/include" -I"$(SRC)/rocksdb" \
	-I"$(SRC)/rocksdb/third-party/gtest-1.8.1/fused-src" -DNDEBUG -DOS_LINUX -DROCKSDB_PLATFORM_POSIX \
	-DROCKSDB_LIB_IO_POSIX -DROCKSDB_SUPPORT_THREAD_LOCAL $(CPPFLAGS) $(CXXFLAGS) -MMD -MP

$(foreach f,$(SOURCES),$(eval $(call compile,$(f),$(S)/rocksdb/$(f),$$(COMPILE))))

all: objects
