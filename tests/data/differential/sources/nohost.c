int plain32(int a, long b) { return a + (int)b; }
