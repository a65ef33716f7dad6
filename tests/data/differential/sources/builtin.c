const char *file_of_caller(void) { return __builtin_FILE(); }
int line_of_caller(void) { return __builtin_LINE(); }
