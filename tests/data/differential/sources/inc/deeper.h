#define DEEPER 7
