#pragma once
#pragma GCC warning "told twice"
#if 0
it's not closed
#endif
int money$ = 1;
const char *escape = "\q";
#pragma unknown thing
