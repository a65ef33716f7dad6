// Files that include themselves (Boost.Preprocessor's iteration), in one and in two dimensions.
#ifndef BOOST_PP_IS_ITERATING
#include <boost/preprocessor/arithmetic/add.hpp>
#include <boost/preprocessor/arithmetic/mod.hpp>
#include <boost/preprocessor/arithmetic/mul.hpp>
#include <boost/preprocessor/comparison/equal.hpp>
#include <boost/preprocessor/iteration/iterate.hpp>
#include <boost/preprocessor/repetition/enum_params.hpp>
#include <boost/preprocessor/slot/slot.hpp>
#include <boost/preprocessor/stringize.hpp>

#define BOOST_PP_VALUE 7 * 11
#include BOOST_PP_ASSIGN_SLOT(1)

#define BOOST_PP_FILENAME_1 "boost/iterate.cc"
#define BOOST_PP_ITERATION_LIMITS (1, 100)
#include BOOST_PP_ITERATE()

int slot() { return BOOST_PP_SLOT(1); }
#elif BOOST_PP_ITERATION_DEPTH() == 1

template <BOOST_PP_ENUM_PARAMS(BOOST_PP_ITERATION(), class T)>
int BOOST_PP_CAT(count, BOOST_PP_ITERATION())() { return BOOST_PP_ITERATION(); }

#if BOOST_PP_EQUAL(BOOST_PP_MOD(BOOST_PP_ITERATION(), 25), 0)
#define BOOST_PP_FILENAME_2 "boost/iterate.cc"
#define BOOST_PP_ITERATION_LIMITS (1, 20)
#include BOOST_PP_ITERATE()
#endif
#else

int BOOST_PP_CAT(BOOST_PP_CAT(at_, BOOST_PP_RELATIVE_ITERATION(1)), BOOST_PP_CAT(_, BOOST_PP_ITERATION()))() {
    return BOOST_PP_RELATIVE_ITERATION(1) * BOOST_PP_ITERATION();
}
#endif
