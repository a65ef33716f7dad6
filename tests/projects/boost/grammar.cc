// Boost.Spirit and Phoenix without their ready-made headers: thousands of includes, most of them iterations.
#define BOOST_PHOENIX_DONT_USE_PREPROCESSED_FILES
#define BOOST_PROTO_DONT_USE_PREPROCESSED_FILES
#define BOOST_FUSION_DONT_USE_PREPROCESSED_FILES
#define BOOST_MPL_CFG_NO_PREPROCESSED_HEADERS
#include <boost/phoenix.hpp>
#include <boost/spirit/include/qi.hpp>

#include <string>
#include <vector>

namespace qi = boost::spirit::qi;

bool numbers(const std::string &text, std::vector<double> &found) {
    return qi::phrase_parse(text.begin(), text.end(), qi::double_ % ',', qi::space, found);
}
