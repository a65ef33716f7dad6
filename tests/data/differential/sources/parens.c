#define SAME(a, b) (a == b)
int same(int a, int b) {
    if (SAME(a, b))
        return 1;
    return 0;
}
