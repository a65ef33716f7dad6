// Structures described by macros over sequences of tokens, walked by templates.
#include <boost/fusion/adapted/struct/define_struct.hpp>
#include <boost/fusion/algorithm/iteration/fold.hpp>
#include <boost/fusion/include/adapt_struct.hpp>
#include <boost/preprocessor/seq/for_each_i.hpp>
#include <boost/preprocessor/tuple/elem.hpp>

BOOST_FUSION_DEFINE_STRUCT((shop), Item, (int, count)(double, price)(char, mark))

struct Point {
    int x, y;
};
BOOST_FUSION_ADAPT_STRUCT(Point, (int, x)(int, y))

struct Add {
    template <class T> double operator()(double sum, const T &value) const { return sum + value; }
};

double sum(const shop::Item &item, const Point &point) {
    return boost::fusion::fold(item, 0.0, Add()) + boost::fusion::fold(point, 0.0, Add());
}

#define ROWS ((1, one))((2, two))((3, three))((5, five))((8, eight))
#define ROW(r, data, at, row) \
    int BOOST_PP_CAT(row_, BOOST_PP_TUPLE_ELEM(2, 1, row))() { return data + at + BOOST_PP_TUPLE_ELEM(2, 0, row); }
BOOST_PP_SEQ_FOR_EACH_I(ROW, 100, ROWS)
