#include "inc/h.h"
#include <stddef.h>
#ifndef BIAS
#define BIAS 3
#endif
struct pair { int first; size_t second; };
static int square(int x) { return x * x; }
int shared_counter;
const char *where(void) { return __FILE__; }
int work(struct pair *p, int n) {
    for (int i = 0; i < n; i++) {
        p->first += square(i) + helper(i);
        p->second ^= (size_t)i;
    }
    shared_counter += n;
    return p->first + BIAS;
}
