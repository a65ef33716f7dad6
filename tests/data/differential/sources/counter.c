int line_number = __LINE__;
int c0 = __COUNTER__, c1 = __COUNTER__;
const char *base = __BASE_FILE__;
