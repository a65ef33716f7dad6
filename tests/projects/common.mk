# What the projects' makefiles share. Each is used from any directory as
#
#   make -f .../lua.mk SRC=DEST/lua OUT=some/dir CC="distcc gcc" -j4 [all|check]
#
# SRC   the folder that fetch.sh laid out; it is only read
# OUT   where everything that is built goes; it is made if need be
# OPT   optimisation and debug flags
# CFLAGS, CXXFLAGS, CPPFLAGS, LDFLAGS   more flags; empty unless given
#
# Paths may have spaces. Compile lines hold SRC and OUT just as given and the
# directory is the caller's, so two builds that differ only in OUT must agree
# byte for byte in every object.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

$(if $(SRC),,$(error SRC=DIR must name the sources that fetch.sh laid out))
$(if $(OUT),,$(error OUT=DIR must name the directory to build in))

CC = gcc
CXX = g++
OPT = -O1 -g

# The same paths with their spaces escaped, for use in rules.
S := $(subst $(sp),\ ,$(SRC))
O := $(subst $(sp),\ ,$(OUT))

.PHONY: all check clean objects
all:
check: all

$(O):
	mkdir -p "$@"

clean:
	rm -rf "$(OUT)"

# $(call objects,FILES): FILES' objects, escaped, to be prerequisites.
objects = $(foreach f,$(1),$(O)/$(basename $(notdir $(f))).o)
# $(call quoted,FILES): the same for the shell.
quoted = $(foreach f,$(1),"$(OUT)/$(basename $(notdir $(f))).o")

# $(call compile,FILE,SOURCE,COMMAND): the rule for one source; COMMAND is all of
# the compiler's command line but -c and -o.
define compile
objects: $(call objects,$(1))
$(call objects,$(1)): $(2) | $(O)
	$(3) -c "$$<" -o "$$@"
-include $(patsubst %.o,%.d,$(call objects,$(1)))
endef
