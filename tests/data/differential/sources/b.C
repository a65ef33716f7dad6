#include "inc/h.h"
namespace n {
template <typename T> struct Box { T value; T twice() const { return value + value; } };
struct Base { virtual ~Base() {} virtual int id() const { return 1; } };
struct Derived : Base { int id() const override { return 2; } };
}
int use(const n::Base &b) { n::Box<int> box{b.id()}; if (box.twice() > 9) throw 1; return box.twice() + helper(1); }
n::Derived the_derived;
