// Libraries that name what they include by macros: configuration, ABI prefixes, variants and formats.
#include <cassert>

#include <boost/format.hpp>
#include <boost/lexical_cast.hpp>
#include <boost/regex.hpp>
#include <boost/signals2.hpp>
#include <boost/variant.hpp>

struct Length : boost::static_visitor<std::size_t> {
    std::size_t operator()(int value) const { return boost::lexical_cast<std::string>(value).size(); }
    std::size_t operator()(const std::string &text) const { return text.size(); }
};

std::size_t length(const boost::variant<int, std::string> &value) {
    assert(!value.empty());
    return boost::apply_visitor(Length(), value);
}

std::string shown(int number) { return (boost::format("%1$x of %2%") % number % __FILE__).str(); }

bool is_number(const std::string &text) { return boost::regex_match(text, boost::regex("[0-9]+")); }

void emit(boost::signals2::signal<void(int)> &signal) { signal(1); }
