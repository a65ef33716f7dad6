#warning said by the preprocessor
int x;
