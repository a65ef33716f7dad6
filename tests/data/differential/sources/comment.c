/** \param nonsense not there */
int documented(int real);
int documented(int real) { return real; }
