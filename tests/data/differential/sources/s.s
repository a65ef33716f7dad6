    .text
    .globl asm_symbol
asm_symbol:
    ret
