const char *umlaut = "äöü€";
int prix_élevé;
