const char *t = "??=";
