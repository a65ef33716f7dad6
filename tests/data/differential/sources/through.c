int through(int x) {
    switch (x) {
    case 1:
        x++;
        /* fall through */
    default:
        return x;
    }
}
