/* zstd_check FILE: compresses FILE in several ways and gets it back each time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zstd.h"

static void fail(const char *what)
{
    fprintf(stderr, "zstd: %s\n", what);
    exit(EXIT_FAILURE);
}

static size_t must(size_t result)
{
    if (ZSTD_isError(result))
        fail(ZSTD_getErrorName(result));
    return result;
}

int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL)
        fail("usage: zstd_check FILE");
    size_t room = 1 << 22, bound = ZSTD_compressBound(room);
    char *text = malloc(room), *packed = malloc(bound), *back = malloc(room);
    if (text == NULL || packed == NULL || back == NULL)
        fail("out of memory");
    size_t size = fread(text, 1, room, file);
    fclose(file);

    static const int levels[] = { -5, 1, 3, 6, 12, 19 };
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        ZSTD_CCtx *ctx = ZSTD_createCCtx();
        must(ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, levels[i]));
        must(ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1));
        must(ZSTD_CCtx_setParameter(ctx, ZSTD_c_nbWorkers, (int)(i % 2)));
        size_t n = must(ZSTD_compress2(ctx, packed, bound, text, size));
        ZSTD_freeCCtx(ctx);
        memset(back, 0, size);
        if (must(ZSTD_decompress(back, room, packed, n)) != size || memcmp(text, back, size))
            fail("got something else back");
        if (n >= size / 2)
            fail("hardly compressed");
        packed[n / 2] ^= 1;
        if (!ZSTD_isError(ZSTD_decompress(back, room, packed, n)))
            fail("did not notice a flipped bit");
    }
    free(text);
    free(packed);
    free(back);
    printf("zstd: ok, %s\n", ZSTD_versionString());
    return 0;
}
