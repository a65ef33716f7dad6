const char *bidi = "‮ reversed";
