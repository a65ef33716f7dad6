#ifndef H_H
#define H_H
#include "deeper.h"
static inline int helper(int x) { return x + DEEPER; }
#endif
