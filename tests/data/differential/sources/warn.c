#include "inc/h.h"
int warns(unsigned u, int i) {
    int unused;
    if (u > i)
        return helper(i);
    return 0;
}
