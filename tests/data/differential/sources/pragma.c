#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma pack(push, 1)
struct packed { char c; int i; };
#pragma pack(pop)
#pragma GCC optimize ("O1")
#pragma message "told by a pragma"
int quiet(void) { int unused; return sizeof(struct packed); }
