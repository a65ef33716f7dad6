const char *l = "дц";
