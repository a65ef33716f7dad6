__asm__(".include \"s.s\"");
int after_include;
