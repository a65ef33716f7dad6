// Boost.MPL without its ready-made headers: all of them by iteration, for longer sequences than usual.
#define BOOST_MPL_CFG_NO_PREPROCESSED_HEADERS
#define BOOST_MPL_LIMIT_VECTOR_SIZE 40
#define BOOST_MPL_LIMIT_LIST_SIZE 40
#define BOOST_MPL_LIMIT_MAP_SIZE 40
#include <boost/mpl/at.hpp>
#include <boost/mpl/bind.hpp>
#include <boost/mpl/fold.hpp>
#include <boost/mpl/lambda.hpp>
#include <boost/mpl/list.hpp>
#include <boost/mpl/map.hpp>
#include <boost/mpl/plus.hpp>
#include <boost/mpl/size.hpp>
#include <boost/mpl/sizeof.hpp>
#include <boost/mpl/transform.hpp>
#include <boost/mpl/vector.hpp>

namespace mpl = boost::mpl;
typedef mpl::vector<char, short, int, long, float, double, mpl::int_<3>> types;
typedef mpl::fold<types, mpl::int_<0>, mpl::plus<mpl::_1, mpl::sizeof_<mpl::_2>>>::type total;
typedef mpl::map<mpl::pair<int, char>, mpl::pair<long, short>> sizes;

int sum() { return total::value + sizeof(mpl::at<sizes, long>::type) + mpl::size<mpl::list<int, char, int>>::value; }
