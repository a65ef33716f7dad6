#define SYS 1
