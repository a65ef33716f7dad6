#include <sys.h>
#include <limits.h>
int limit = INT_MAX;
_Static_assert(SYS == 1, "found");
