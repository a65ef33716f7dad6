# HarfBuzz 8.4: the 53 sources of the library itself (no subsetter, none of the
# parts for other systems or libraries) as a shared library, and
# harfbuzz_check.cc, a program that shapes text with it. Its templates make some
# files cost ten seconds each: this is the one to show a gain with, and too big
# for every test run. See common.mk.

# Found whatever the path to this makefile is; $(dir) alone stops at spaces.
sp := $(subst ,, )
HERE := $(subst |,\ ,$(dir $(subst $(sp),|,$(strip $(MAKEFILE_LIST)))))
include $(HERE)common.mk

SOURCES := hb-aat-layout hb-aat-map hb-blob hb-buffer hb-buffer-serialize \
	hb-buffer-verify hb-common hb-draw hb-face-builder hb-face \
	hb-fallback-shape hb-font hb-map hb-number hb-ot-cff1-table \
	hb-ot-cff2-table hb-ot-color hb-ot-face hb-ot-font hb-ot-layout \
	hb-ot-map hb-ot-math hb-ot-meta hb-ot-metrics hb-ot-name \
	hb-ot-shape-fallback hb-ot-shape-normalize hb-ot-shape \
	hb-ot-shaper-arabic hb-ot-shaper-default hb-ot-shaper-hangul \
	hb-ot-shaper-hebrew hb-ot-shaper-indic-table hb-ot-shaper-indic \
	hb-ot-shaper-khmer hb-ot-shaper-myanmar hb-ot-shaper-syllabic \
	hb-ot-shaper-thai hb-ot-shaper-use hb-ot-shaper-vowel-constraints \
	hb-ot-tag hb-ot-var hb-outline hb-paint-extents hb-paint hb-set \
	hb-shape-plan hb-shape hb-shaper hb-static hb-style hb-ucd hb-unicode
SOURCES := $(addsuffix .cc,$(SOURCES))

COMPILE = $(CXX) -std=c++17 $(OPT) -fPIC -fno-exceptions -fno-rtti \
	-fno-threadsafe-statics -fvisibility-inlines-hidden -pthread \
	-DHAVE_PTHREAD -DHAVE_STDBOOL_H -DHAVE_UNISTD_H -DHAVE_SYS_MMAN_H \
	-DHAVE_MMAP -DHAVE_SYSCONF -I"$(SRC)/src" $(CPPFLAGS) $(CXXFLAGS) -MMD -MP

$(foreach f,$(SOURCES),$(eval $(call compile,$(f),$(S)/src/$(f),$$(COMPILE))))
$(eval $(call compile,harfbuzz_check.cc,$(HERE)harfbuzz_check.cc,$$(COMPILE)))

all: $(O)/libharfbuzz.so.0 $(O)/harfbuzz_check
$(O)/libharfbuzz.so.0: $(call objects,$(SOURCES))
	$(CXX) -shared -pthread -Wl,-soname,libharfbuzz.so.0 $(LDFLAGS) -o "$@" \
		$(call quoted,$(SOURCES))
$(O)/harfbuzz_check: $(call objects,harfbuzz_check.cc) $(O)/libharfbuzz.so.0
	$(CXX) $(LDFLAGS) -o "$@" $(call quoted,harfbuzz_check.cc) \
		"$(OUT)/libharfbuzz.so.0" -Wl,-rpath,'$$ORIGIN'

check:
	"$(OUT)/harfbuzz_check" "$(SRC)/perf/fonts/Roboto-Regular.ttf"
