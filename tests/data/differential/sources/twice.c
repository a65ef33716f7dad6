#warning first
#warning second
int twice(void) { int unused; return 0; }
