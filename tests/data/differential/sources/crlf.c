int crlf_one;
int crlf_two;
