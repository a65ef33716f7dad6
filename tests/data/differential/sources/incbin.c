__asm__(".section .rodata\n.globl blob\nblob:\n.incbin \"data.bin\"\n.text\n");
int after_blob;
