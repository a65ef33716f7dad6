#include "../inc/h.h"
int sub_b(int x) { return helper(x) * 2; }
