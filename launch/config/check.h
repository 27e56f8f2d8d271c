// Which values a key accepts. `words` is for the reference ("1 or more"); problem() is empty for a value that
// is accepted, else says what was expected.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace thinwire::launch {

template <class T>
struct Check {
  std::string words;
  std::function<std::string(const T&)> problem;
};

template <class T>
Check<T> accept_if(std::string words, std::function<bool(const T&)> accepts) {
  return {words, [words, accepts = std::move(accepts)](const T& value) {
            return accepts(value) ? std::string() : "expected " + words;
          }};
}

std::string limit_text(double limit);  // shortest decimal form

template <class T>
Check<T> at_least(double low) {
  return accept_if<T>(limit_text(low) + " or more",
                      [low](const T& value) { return static_cast<double>(value) >= low; });
}

template <class T>
Check<T> above(double low) {
  return accept_if<T>("more than " + limit_text(low),
                      [low](const T& value) { return static_cast<double>(value) > low; });
}

// low <= value <= high
inline Check<double> between(double low, double high) {
  return accept_if<double>(limit_text(low) + " to " + limit_text(high),
                           [low, high](const double& value) { return value >= low && value <= high; });
}

// low <= value < high
inline Check<double> from_to_below(double low, double high) {
  return accept_if<double>(limit_text(low) + " or more, below " + limit_text(high),
                           [low, high](const double& value) { return value >= low && value < high; });
}

// A name out of a registry; the message suggests the nearest.
Check<std::string> one_of(std::vector<std::string> names);

// A text that `parse` takes; the problem is what it throws.
Check<std::string> parsed_by(std::string words, std::function<void(const std::string&)> parse);

}  // namespace thinwire::launch
