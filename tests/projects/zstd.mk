# Zstandard 1.5: 30 C sources and one assembler file, built as position
# independent code into a shared library, and zstd_check.c, a program that uses
# it. Dependency files in CMake's way: -MD -MQ -MF. See common.mk.

# Found whatever the path to this makefile is; $(dir) alone stops at spaces.
sp := $(subst ,, )
HERE := $(subst |,\ ,$(dir $(subst $(sp),|,$(strip $(MAKEFILE_LIST)))))
include $(HERE)common.mk

SOURCES := $(addprefix common/,debug.c entropy_common.c error_private.c \
	fse_decompress.c pool.c threading.c xxhash.c zstd_common.c) \
	$(addprefix compress/,fse_compress.c hist.c huf_compress.c \
	zstd_compress.c zstd_compress_literals.c zstd_compress_sequences.c \
	zstd_compress_superblock.c zstd_double_fast.c zstd_fast.c zstd_lazy.c \
	zstd_ldm.c zstd_opt.c zstd_preSplit.c zstdmt_compress.c) \
	$(addprefix decompress/,huf_decompress.c huf_decompress_amd64.S \
	zstd_ddict.c zstd_decompress.c zstd_decompress_block.c) \
	$(addprefix dictBuilder/,cover.c divsufsort.c fastcover.c zdict.c)

COMPILE = $(CC) -DXXH_NAMESPACE=ZSTD_ -DZSTD_MULTITHREAD -DZSTD_LEGACY_SUPPORT=0 \
	-I"$(SRC)/lib" $(CPPFLAGS) $(OPT) -fPIC -fvisibility=hidden -pthread \
	-Wall -Wextra -Wundef $(CFLAGS) -MD -MQ "$@" -MF "$(@:.o=.d)"

$(foreach f,$(SOURCES),$(eval $(call compile,$(f),$(S)/lib/$(f),$$(COMPILE))))
$(eval $(call compile,zstd_check.c,$(HERE)zstd_check.c,$$(COMPILE)))

all: $(O)/libzstd.so.1 $(O)/zstd_check
$(O)/libzstd.so.1: $(call objects,$(SOURCES))
	$(CC) -shared -pthread -Wl,-soname,libzstd.so.1 $(LDFLAGS) -o "$@" \
		$(call quoted,$(SOURCES))
$(O)/zstd_check: $(call objects,zstd_check.c) $(O)/libzstd.so.1
	$(CC) $(LDFLAGS) -o "$@" $(call quoted,zstd_check.c) \
		"$(OUT)/libzstd.so.1" -Wl,-rpath,'$$ORIGIN'

check:
	"$(OUT)/zstd_check" "$(SRC)/lib/compress/zstd_compress.c"
