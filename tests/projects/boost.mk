# Five units on top of Boost 1.74's headers, as Debian has them: iteration by files that include themselves, names of
# headers computed by macros, and libraries made of both with their ready-made headers switched off. grammar.cc (Spirit and
# Phoenix) costs as much as all others. See common.mk.

# Found whatever the path to this makefile is; $(dir) alone stops at spaces.
sp := $(subst ,, )
HERE := $(subst |,\ ,$(dir $(subst $(sp),|,$(strip $(MAKEFILE_LIST)))))
include $(HERE)common.mk

SOURCES := $(addprefix boost/,fusion.cc grammar.cc iterate.cc mpl.cc variant.cc)

COMPILE = $(CXX) -std=c++14 $(OPT) -I"$(subst \$(sp),$(sp),$(HERE))" -I"$(SRC)" $(CPPFLAGS) $(CXXFLAGS) -MMD -MP

$(foreach f,$(SOURCES),$(eval $(call compile,$(f),$(HERE)$(f),$$(COMPILE))))

all: objects
