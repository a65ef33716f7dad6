int sum(int *v, int n) { int s = 0;
#pragma omp parallel for reduction(+:s)
for (int i = 0; i < n; i++) s += v[i];
return s; }
