#define ADD(a, b) ((a) + (b))
#define TWICE(x) ADD(x, x)
int macros(int a, int b) { int c = TWICE(a); return ADD(b, c) * TWICE(b); }
