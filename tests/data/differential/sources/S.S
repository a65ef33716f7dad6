#include "sys/sys.h"
    .text
    .globl asm_symbol
asm_symbol:
    ret
