# Lua 5.4: 32 sources and the small program lua_run.c, linked into a Lua
# interpreter. Dependency files in the short way: -MMD alone, their names left
# to the compiler. See common.mk for how to use it.

# Found whatever the path to this makefile is; $(dir) alone stops at spaces.
sp := $(subst ,, )
HERE := $(subst |,\ ,$(dir $(subst $(sp),|,$(strip $(MAKEFILE_LIST)))))
include $(HERE)common.mk

CORE := lapi lcode lctype ldebug ldo ldump lfunc lgc llex lmem lobject lopcodes \
	lparser lstate lstring ltable ltm lundump lvm lzio
LIB := lauxlib lbaselib lcorolib ldblib linit liolib lmathlib loadlib loslib \
	lstrlib ltablib lutf8lib
SOURCES := $(addsuffix .c,$(CORE) $(LIB))

# Comments that mark a fall-through are lost when gcc preprocesses in a step of
# its own, and it would then warn.
COMPILE = $(CC) -std=gnu99 $(OPT) -Wall -Wextra -Wno-implicit-fallthrough \
	-DLUA_COMPAT_5_3 -DLUA_USE_LINUX -I"$(SRC)" -MMD -MP $(CPPFLAGS) $(CFLAGS)

$(foreach f,$(SOURCES),$(eval $(call compile,$(f),$(S)/$(f),$$(COMPILE))))
$(eval $(call compile,lua_run.c,$(HERE)lua_run.c,$$(COMPILE)))

all: $(O)/lua
$(O)/lua: $(call objects,$(SOURCES) lua_run.c)
	$(CC) $(LDFLAGS) -o "$@" $(call quoted,$(SOURCES) lua_run.c) -Wl,-E -lm -ldl

check:
	"$(OUT)/lua" "$(subst \,,$(HERE))check.lua"
