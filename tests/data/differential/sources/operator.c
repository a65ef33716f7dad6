_Pragma("GCC warning \"look\"")
#pragma GCC warning "second"
int x;
