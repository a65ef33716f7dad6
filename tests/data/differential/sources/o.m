#include "inc/h.h"
__attribute__((objc_root_class)) @interface Thing { int size; }
- (int)size;
+ (int)count;
@end
@implementation Thing
- (int)size { return size + helper(size); }
+ (int)count { return 3; }
@end
